"""What a query costs: scores that need one vector a video against scores that look at the query.

The tables are random vectors of the families' own columns, which costs as much as real ones. Only
blocks of them are held, and scored again and again until as many videos were seen as asked for, so
that memory stays bounded; times are CPU seconds of one thread, so that a busy machine bends the
ratios less than clock time would.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor
from torch.nn import functional

from reelvec.models.clip.architecture import Architecture
from reelvec.models.family import RetrievalModel
from reelvec.models.features import Columns, TextFeatures, VideoFeatures
from reelvec.models.ranking.topk import block_topk
from reelvec.models.registry import build
from reelvec.models.scores import SCORES, ScoreKind

__all__ = ["SearchTime", "TimeOptions", "search_times"]

_TOP = 10
_BLOCK = 4096
_SLOW = 64
"""Videos of a block of what does a forward pass for every pair; the time is scaled up."""
_ROUNDS = 3

Score = Callable[[], Tensor]
"""Logits [1, n] of one query with a block of n videos."""


@dataclass(frozen=True)
class TimeOptions:
    """What is measured.

    Attributes:
        videos: how many are searched, each a row of the table.
        width: numbers of a vector (D).
        frames: frames of a video (F).
        words: tokens of a query (L).
    """

    videos: tuple[int, ...] = (1_000, 10_000, 100_000)
    width: int = 512
    frames: int = 12
    words: int = 32


@dataclass(frozen=True, kw_only=True)
class SearchTime:
    """One score over one number of videos."""

    score: str
    looks_at_query: bool
    """Whether what a video is compared by depends on the query."""
    videos: int
    seconds: float
    """CPU seconds of one query, its ten best among them."""
    times_dot: float
    """How often the time of the dot product over as many videos, in the same run."""
    numbers: int
    """Numbers stored of a video."""
    scaled: bool = False
    """Whether the time was measured on fewer pairs and scaled up."""


@dataclass(frozen=True)
class _Contender:
    """A score: its name, whether it looks at the query, and a block of it."""

    name: str
    looks_at_query: bool
    make: Callable[[TimeOptions, int], tuple[Score, int]]
    """(options, videos of a block) -> the score of a block, and numbers stored of a video."""
    slow: bool = False


def search_times(
    options: TimeOptions, *, told: Callable[[SearchTime], None] = lambda _: None
) -> list[SearchTime]:
    """Time every score over every number of videos.

    Args:
        options: what is measured.
        told: hears of each as it comes; the slowest take minutes.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    found = []
    try:
        with torch.inference_mode(), torch.random.fork_rng(devices=()):
            for videos in options.videos:
                base = 0.0
                for contender in _contenders():
                    torch.manual_seed(0)
                    seconds, numbers, scaled = _measured(contender, options, videos=videos)
                    base = base or seconds
                    found.append(
                        SearchTime(
                            score=contender.name,
                            looks_at_query=contender.looks_at_query,
                            videos=videos,
                            seconds=seconds,
                            times_dot=seconds / base,
                            numbers=numbers,
                            scaled=scaled,
                        )
                    )
                    told(found[-1])
    finally:
        torch.set_num_threads(threads)
    return found


def _measured(
    contender: _Contender, options: TimeOptions, *, videos: int
) -> tuple[float, int, bool]:
    """Seconds of a query, numbers of a video, and whether the seconds were scaled up."""
    block = min(videos, _SLOW if contender.slow else _BLOCK)
    score, numbers = contender.make(options, block)
    passes = 1 if contender.slow else -(-videos // block)
    least = min(_seconds(score, passes) for _ in range(_ROUNDS))
    return least * videos / (passes * block), numbers, contender.slow and videos > block


def _seconds(score: Score, passes: int) -> float:
    """CPU seconds of one query over some passes, the ten best kept."""
    started = time.thread_time()
    best: list[Tensor] = []
    for _ in range(passes):
        found = block_topk(score(), k=_TOP)
        best.append(found.scores)
    block_topk(torch.cat(best, dim=1), k=_TOP)
    return time.thread_time() - started


def _contenders() -> list[_Contender]:
    """Every score there is, the dot product first: it is what the others are compared with."""
    return [
        _Contender(kind.name, kind.looks_at_query, partial(_of_family, kind), slow=kind.slow)
        for kind in SCORES
    ]


def _of_family(kind: ScoreKind, sizes: TimeOptions, videos: int) -> tuple[Score, int]:
    towers = Architecture(  # not used: what they would give is drawn
        embed_dim=sizes.width,
        image_size=64,
        vision_layers=1,
        vision_width=64,
        patch_size=32,
        text_width=sizes.width,
        text_layers=1,
        context_length=max(77, sizes.words, 4 * sizes.frames),
        vocab_size=8,
    )
    model = build(
        kind.family,
        options=kind.options,
        architecture=towers,
        max_words=sizes.words,
        max_frames=sizes.frames,
    ).eval()
    text = TextFeatures(_drawn(model.text_columns, 1))
    video = VideoFeatures(_drawn(model.video_columns, videos))
    numbers = sum(column.size for column in model.video_columns.values())
    return _score(model, text, video), numbers


def _score(model: RetrievalModel, text: TextFeatures, video: VideoFeatures) -> Score:
    """As search scores: one matrix where a score is a dot product."""
    if not model.is_dot_product:
        return lambda: model.similarity(text, video)
    query, vectors = model.text_vectors(text), model.video_vectors(video)
    return lambda: query @ vectors.T


def _drawn(columns: Columns, rows: int) -> dict[str, Tensor]:
    """Unit vectors where the columns hold numbers, ones where they are masks."""
    kinds: dict[str, Callable[..., Tensor]] = {
        "float": _unit,
        "exact": lambda *shape: _unit(*shape).abs(),  # sums of squares are never negative
        "integer": partial(torch.ones, dtype=torch.int64),
    }
    return {name: kinds[column.kind](rows, *column.shape) for name, column in columns.items()}


def _unit(*shape: int) -> Tensor:
    return functional.normalize(torch.randn(*shape), dim=-1)
