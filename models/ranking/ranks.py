"""Ranks from one or two passes over blocks of a similarity matrix (see `metrics`)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

__all__ = [
    "Blocks",
    "Passes",
    "Rivals",
    "Ties",
    "checked_owners",
    "text_to_video_ranks",
    "video_to_text_ranks",
]

Blocks = Callable[[], Iterable[Tensor | NDArray[np.floating]]]
"""Starts a pass over the similarity matrix: blocks [t, V] of consecutive texts, all videos."""

Rivals = Literal["videos", "captions"]
Ties = Literal["pessimistic", "optimistic", "mean"]
_TIE_WEIGHT = {"pessimistic": 1.0, "mean": 0.5, "optimistic": 0.0}
_SHOWN = 5


def checked_owners(
    text_to_video: Sequence[int] | NDArray[np.int64], n_videos: int
) -> NDArray[np.int64]:
    owners = np.asarray(text_to_video, dtype=np.int64)
    if owners.ndim != 1 or not len(owners):
        raise ValueError(f"text_to_video has shape {owners.shape}; it must be [T] with T >= 1")
    if owners.min() < 0 or owners.max() >= n_videos:
        raise ValueError(
            f"text_to_video holds {owners.min()}..{owners.max()}; with {n_videos} videos it must "
            f"lie in 0..{n_videos - 1}"
        )
    return owners


class Passes:
    """Checked passes over the matrix; a small matrix is computed once and kept."""

    def __init__(
        self, blocks: Blocks, *, owners: NDArray[np.int64], n_videos: int, keep_bytes: int
    ) -> None:
        self.owners = owners
        self._blocks = blocks
        self._shape = (len(owners), n_videos)
        self._keep_bytes = keep_bytes
        self._kept: list[Tensor] = []
        self._whole = False

    def __iter__(self) -> Iterator[tuple[int, Tensor]]:
        """(first text, block [t, V]) in order.

        Raises:
            ValueError: NaN, or blocks of another shape.
        """
        first, size = 0, 0
        for raw in self._kept if self._whole else self._blocks():
            block = torch.as_tensor(raw).detach()
            if not self._whole:
                self._check(block, first)
                size += block.numel() * block.element_size()
                self._kept = [*self._kept, block] if size <= self._keep_bytes else []
            yield first, block
            first += block.shape[0]
        if first != self._shape[0]:
            raise ValueError(f"the blocks hold {first} texts; text_to_video has {self._shape[0]}")
        self._whole = size <= self._keep_bytes

    def _check(self, block: Tensor, first: int) -> None:
        if block.ndim != 2 or block.shape[1] != self._shape[1]:
            raise ValueError(
                f"a block has shape {tuple(block.shape)}; it must be [t, {self._shape[1]}]"
            )
        if first + block.shape[0] > self._shape[0]:
            raise ValueError(f"the blocks hold more texts than text_to_video ({self._shape[0]})")
        bad = torch.isnan(block)
        if bool(bad.any()):
            texts, videos = (sorted(set(axis.tolist())) for axis in bad.nonzero(as_tuple=True))
            raise ValueError(
                f"NaN similarity in {len(texts)} texts (first: "
                f"{[first + t for t in texts[:_SHOWN]]}) and {len(videos)} videos (first: "
                f"{videos[:_SHOWN]}); a NaN has no rank. A video without "
                "frames or a diverged model makes it: leave the video out, or train again"
            )


def text_to_video_ranks(
    passes: Passes, *, ties: Ties
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Ranks [T] of each text's own video, and the score of that video [T]."""
    owners = passes.owners
    ranks = np.empty(len(owners))
    own = np.empty(len(owners))
    for first, block in passes:
        rows = slice(first, first + block.shape[0])
        columns = torch.as_tensor(owners[rows], device=block.device)[:, None]
        score = block.gather(1, columns)
        better = (block > score).sum(1)
        equal = (block == score).sum(1) - 1  # not the video itself
        ranks[rows] = 1 + _counted(better, equal, ties)
        own[rows] = score[:, 0].double().cpu().numpy()
    return ranks, own


def video_to_text_ranks(
    passes: Passes,
    *,
    own: NDArray[np.float64],
    described: NDArray[np.int64],
    rivals: Rivals,
    ties: Ties,
) -> NDArray[np.float64]:
    """Ranks [V] of each video's best own caption among its rivals; NaN without captions.

    Args:
        passes: The matrix.
        own: [T] score of each text with its own video.
        described: [V] number of captions of each video.
        rivals: The other videos' best captions (videos), or all their captions (captions).
        ties: What an equal rival adds.
    """
    if rivals not in ("videos", "captions"):
        raise ValueError(f"rivals={rivals!r} is unknown; use videos or captions")
    best = np.full(len(described), -np.inf)
    np.maximum.at(best, passes.owners, own)
    better = np.zeros(len(described), dtype=np.int64)
    equal = np.zeros(len(described), dtype=np.int64)
    scored = _captions(passes) if rivals == "captions" else _group_maxima(passes, described)
    for videos, scores in scored:
        target = torch.as_tensor(best, device=scores.device).to(scores.dtype)
        mine = torch.as_tensor(videos, device=scores.device)[:, None]
        rival = torch.ones_like(scores, dtype=torch.bool).scatter_(1, mine, value=False)
        better += ((scores > target) & rival).sum(0).cpu().numpy()
        equal += ((scores == target) & rival).sum(0).cpu().numpy()
    ranks = 1 + _counted(better, equal, ties)
    ranks[described == 0] = np.nan
    return ranks


_Scored = Iterator[tuple[NDArray[np.int64], Tensor]]
"""(videos [n], scores [n, V] of a caption or group of each of them)."""


def _captions(passes: Passes) -> _Scored:
    for first, block in passes:
        yield passes.owners[first : first + block.shape[0]], block


def _group_maxima(passes: Passes, described: NDArray[np.int64]) -> _Scored:
    """Maxima over each video's captions, each video once.

    A group that ends in its block is reduced there; others wait as one row each, so that memory
    grows only with the number of videos whose captions are spread over blocks.
    """
    waiting: dict[int, Tensor] = {}
    missing = described.copy()
    for first, block in passes:
        videos, place = np.unique(
            passes.owners[first : first + block.shape[0]], return_inverse=True
        )
        if len(videos) == block.shape[0]:
            maxima = block[np.argsort(place)]
        else:
            where = torch.as_tensor(place, device=block.device)[:, None].expand_as(block)
            maxima = block.new_full((len(videos), block.shape[1]), -torch.inf)
            maxima.scatter_reduce_(0, where, block, "amax")
        missing[videos] -= np.bincount(place)
        for row, video in enumerate(videos.tolist()):
            if video in waiting:
                torch.maximum(maxima[row], waiting.pop(video), out=maxima[row])
            if missing[video]:
                waiting[video] = maxima[row].clone()
        done = missing[videos] == 0
        if done.any():
            yield videos[done], maxima[torch.as_tensor(done, device=block.device)]


def _counted(
    better: Tensor | NDArray[np.int64], ties: Tensor | NDArray[np.int64], policy: Ties
) -> NDArray[np.float64]:
    if policy not in _TIE_WEIGHT:
        raise ValueError(f"ties={policy!r} is no policy; use one of {', '.join(_TIE_WEIGHT)}")
    counts = [
        np.asarray(c.cpu() if isinstance(c, Tensor) else c, dtype=np.float64)
        for c in (better, ties)
    ]
    return counts[0] + _TIE_WEIGHT[policy] * counts[1]
