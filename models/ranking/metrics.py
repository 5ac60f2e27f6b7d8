"""Retrieval metrics from blocks of a similarity matrix, both directions, in bounded memory.

Rank = 1 + number of strictly better candidates + ties by the declared policy; NaN is an error.
The originals count ties as extra queries and drop NaN rows, which moves recall; neither happens
here. Where videos have several captions, the originals differ (specs/clip4clip-clip2video.md 6.3,
specs/xclip-adaclip.md A6 and B6) in whom a video's best caption is ranked against, its rivals:

- ``videos`` (CLIP4Clip, CLIP2Video, X-CLIP): the other videos, each by its best caption. Text to
  video is per caption, with the lower median. With one caption a video this is the transpose.
- ``captions`` (AdaCLIP): all captions of the other videos. The medians are the ordinary ones.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from reelvec.models.ranking.passes import Blocks, Passes
from reelvec.models.ranking.ranks import RankSweep, Rivals, Ties, checked_owners
from reelvec.models.ranking.tiles import Rows

__all__ = [
    "Blocks",
    "DirectionMetrics",
    "MetricOptions",
    "RetrievalMetrics",
    "evaluate_similarity",
    "summarize_both",
    "summarize_ranks",
]

_DRAWN_AT_ONCE = 1 << 15
"""Numbers of some resamples, which stay in a processor's cache."""


@dataclass(frozen=True, slots=True)
class MetricOptions:
    """How ranks are counted and summarised.

    Attributes:
        ties: What a tied candidate adds to a rank: pessimistic 1, mean 1/2, optimistic 0.
        rivals: Videos or captions; see the module's text.
        ks: The k of R@k.
        bootstrap: Resamples of the 95 % interval; 0 for none. Videos are resampled, each with all
            its captions, because captions of one video are not independent.
        seed: Of the resampling.
        keep_bytes: The matrix is kept between the two passes when it is smaller than this; else
            ``blocks`` is called twice.
    """

    ties: Ties = "mean"
    rivals: Rivals = "videos"
    ks: tuple[int, ...] = (1, 5, 10, 50)
    bootstrap: int = 0
    seed: int = 0
    keep_bytes: int = 1 << 28


@dataclass(frozen=True, slots=True)
class DirectionMetrics:
    """Metrics of one direction: recall in percent, ranks from 1."""

    recall: dict[int, float]
    median_rank: float
    mean_rank: float
    queries: int
    intervals: dict[str, tuple[float, float]] = field(default_factory=dict)

    def as_dict(self) -> dict[str, float]:
        """``{"R@1": …, "MdR": …, "MnR": …}``."""
        named = {f"R@{k}": value for k, value in self.recall.items()}
        return {**named, "MdR": self.median_rank, "MnR": self.mean_rank}


@dataclass(frozen=True, slots=True)
class RetrievalMetrics:
    """Both directions, the ranks behind them, and the same for each subset of the captions.

    Attributes:
        t2v: Text to video, over captions.
        v2t: Video to text, over the videos that have captions.
        ranks_t2v: [T] float64, rank of each caption's own video.
        ranks_v2t: [V] float64, rank of each video's own captions; NaN where it has none.
        subsets: Name -> (t2v, v2t) of the queries in it, against the whole gallery.
    """

    t2v: DirectionMetrics
    v2t: DirectionMetrics
    ranks_t2v: NDArray[np.float64]
    ranks_v2t: NDArray[np.float64]
    subsets: dict[str, tuple[DirectionMetrics, DirectionMetrics]] = field(default_factory=dict)


def evaluate_similarity(
    blocks: Blocks,
    *,
    text_to_video: Sequence[int] | NDArray[np.int64],
    n_videos: int,
    options: MetricOptions = MetricOptions(),
    subsets: Sequence[str] | None = None,
) -> RetrievalMetrics:
    """Rank every caption's video and every video's captions.

    Args:
        blocks: Starts a pass over the matrix: consecutive text rows [t, V], any device. A second
            pass is made when the matrix is larger than ``options.keep_bytes``; memory then stays
            at a few blocks, provided that the captions of a video are consecutive.
        text_to_video: [T] column of the video each text describes.
        n_videos: V; videos without captions are candidates but no queries.
        options: Ties, rivals, bootstrap.
        subsets: [T] name of the subset of each caption ("" for none).

    Raises:
        ValueError: NaN in a block (with its texts and videos), wrong shapes or indices.
    """
    owners = checked_owners(text_to_video, n_videos)
    passes = Passes(blocks, owners=owners, n_videos=n_videos, keep_bytes=options.keep_bytes)
    sweep = RankSweep(passes.own_scores(), owners=owners, n_videos=n_videos, rivals=options.rivals)
    for tile in passes:
        sweep.add(tile)
    return summarize_both(
        *sweep.ranks(options.ties), owners=owners, options=options, subsets=subsets
    )


def summarize_both(
    ranks_t2v: NDArray[np.float64],
    ranks_v2t: NDArray[np.float64],
    *,
    owners: Rows,
    options: MetricOptions = MetricOptions(),
    subsets: Sequence[str] | None = None,
) -> RetrievalMetrics:
    """Metrics of the ranks [T] and [V] of both directions; see `evaluate_similarity`."""
    several = bool((np.bincount(owners) > 1).any())

    def both(texts: NDArray[np.bool_]) -> tuple[DirectionMetrics, DirectionMetrics]:
        videos = np.unique(owners[texts])
        lower = options.rivals == "videos" and several
        return (
            summarize_ranks(ranks_t2v[texts], groups=owners[texts], lower=lower, options=options),
            summarize_ranks(ranks_v2t[videos], options=options),
        )

    t2v, v2t = both(np.ones(len(owners), dtype=bool))
    names = np.array([] if subsets is None else list(subsets), dtype=object)
    parts = {str(name): both(names == name) for name in sorted(set(names)) if name}
    return RetrievalMetrics(t2v, v2t, ranks_t2v, ranks_v2t, parts)


def summarize_ranks(
    ranks: NDArray[np.float64],
    *,
    groups: NDArray[np.int64] | None = None,
    lower: bool = False,
    options: MetricOptions = MetricOptions(),
) -> DirectionMetrics:
    """Recall, median and mean of ranks [N] (from 1), with intervals when asked.

    Args:
        ranks: Ranks of the queries.
        groups: [N] what is resampled together (the video of a caption); None: each query.
        lower: The lower middle value for an even number of queries, as torch.median.
        options: ``ks``, ``bootstrap`` and ``seed`` are used.
    """
    if not len(ranks):
        raise ValueError("no queries to rank: the split has no caption whose video has a score")
    recall = {k: 100.0 * float((ranks <= k).mean()) for k in options.ks}
    ordered = np.sort(ranks)
    middle = (len(ordered) - 1) // 2
    median = float(ordered[middle]) if lower else float(np.median(ordered))
    intervals: dict[str, tuple[float, float]] = {}
    if options.bootstrap:
        labels = (
            np.arange(len(ranks)) if groups is None else np.unique(groups, return_inverse=True)[1]
        )
        intervals = _intervals(ranks, labels, lower=lower, options=options)
    return DirectionMetrics(recall, median, float(ranks.mean()), len(ranks), intervals)


def _intervals(
    ranks: NDArray[np.float64],
    labels: NDArray[np.int64],
    *,
    lower: bool,
    options: MetricOptions,
) -> dict[str, tuple[float, float]]:
    """2.5 and 97.5 percentiles over resamples of the groups.

    All sums are of whole or half numbers, exact in float64 whatever their order.
    """
    sorted_ranks = _SortedRanks.of(ranks, labels, ks=options.ks)
    n_groups = len(sorted_ranks.sums)
    rng = np.random.default_rng(options.seed)
    samples = []
    at_once = max(1, _DRAWN_AT_ONCE // n_groups)
    for start in range(0, options.bootstrap, at_once):
        size = min(at_once, options.bootstrap - start)
        drawn = rng.integers(0, n_groups, (size, n_groups)) + n_groups * np.arange(size)[:, None]
        weight = np.bincount(drawn.ravel(), minlength=size * n_groups).reshape(size, n_groups)
        *within, mean, total, before = (weight.astype(np.float64) @ sorted_ranks.sums).T
        low, high = sorted_ranks.middle(weight, total=total, before=before)
        recalls = [100.0 * reached / total for reached in within]
        samples.append(
            np.column_stack([*recalls, mean / total, (low + (low if lower else high)) / 2])
        )
    names = [f"R@{k}" for k in options.ks] + ["MnR", "MdR"]
    bounds = np.percentile(np.concatenate(samples), [2.5, 97.5], axis=0)
    return {name: (float(bounds[0, i]), float(bounds[1, i])) for i, name in enumerate(names)}


@dataclass(frozen=True)
class _SortedRanks:
    """Ranks of N queries in G groups, for resamples that weigh each group.

    The middle of a resample is looked for among the ranks near the middle of all, where all but
    one resample in ten thousand have it; of that one, among all ranks.
    """

    ordered: NDArray[np.float64]  # [N]
    owner: NDArray[np.int64]  # [N] the group of each
    near: slice
    sums: NDArray[np.float64]
    """[G, K + 3]: queries of each group within k, the sum of its ranks, its queries, and those of
    them before `near`."""

    @classmethod
    def of(
        cls, ranks: NDArray[np.float64], labels: NDArray[np.int64], *, ks: Sequence[int]
    ) -> _SortedRanks:
        """Ranks [N] and their groups, numbered from 0."""
        order = np.argsort(ranks, kind="stable")
        ordered, owner = ranks[order], labels[order]
        sizes = np.bincount(owner)
        # four standard deviations of how many queries of a resample stand before the middle
        apart = 2 + int(2 * np.sqrt(np.square(sizes, dtype=np.float64).sum()))
        near = slice(max(0, len(ranks) // 2 - apart), len(ranks) // 2 + apart)
        ends = [*np.searchsorted(ordered, ks, side="right"), len(ranks), near.start]
        *within, total, before = (np.bincount(owner[:end], minlength=len(sizes)) for end in ends)
        summed = np.bincount(owner, weights=ordered)
        sums = np.column_stack([*within, summed, total, before]).astype(np.float64)
        return cls(ordered, owner, near, sums)

    def middle(
        self, weight: NDArray[np.int64], *, total: NDArray[np.float64], before: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        """Lower and upper middle rank [2, R] of resamples with weights [R, G].

        Args:
            weight: of each group.
            total: queries of each resample.
            before: of them before `near`.
        """
        reached = before[:, None] + weight[:, self.owner[self.near]].cumsum(axis=1)
        halves = np.column_stack([(total + 1) // 2, total // 2 + 1])
        found = np.empty(halves.shape)
        for row, half in enumerate(halves):
            if before[row] < half[0] and half[1] <= reached[row, -1]:
                found[row] = self.ordered[self.near][reached[row].searchsorted(half)]
            else:
                found[row] = self.ordered[weight[row, self.owner].cumsum().searchsorted(half)]
        return found.T
