"""Ranks of both directions from one sweep over tiles of a similarity matrix (see `metrics`).

The score of each text with its own video is known first. Every other score is then compared with
the own score of its text and with the best own score of its video, in whatever order tiles come,
and is forgotten: memory grows with the texts and the videos, not with the matrix.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from reelvec.models.ranking.counting import Counter
from reelvec.models.ranking.groups import CaptionRows, GroupMaxima
from reelvec.models.ranking.tiles import Meant, Rows, Tile

__all__ = ["RankSweep", "Rivals", "Ties", "checked_owners"]

Rivals = Literal["videos", "captions"]
Ties = Literal["pessimistic", "optimistic", "mean"]
_TIE_WEIGHT = {"pessimistic": 1.0, "mean": 0.5, "optimistic": 0.0}
_FEW = 32
"""Undecided pairs are scored one by one, if they are fewer than one in so many."""


def checked_owners(text_to_video: Sequence[int] | Rows, n_videos: int) -> Rows:
    owners = np.asarray(text_to_video, dtype=np.int64)
    if owners.ndim != 1 or not len(owners):
        raise ValueError(f"text_to_video has shape {owners.shape}; it must be [T] with T >= 1")
    if owners.min() < 0 or owners.max() >= n_videos:
        raise ValueError(
            f"text_to_video holds {owners.min()}..{owners.max()}; with {n_videos} videos it must "
            f"lie in 0..{n_videos - 1}"
        )
    return owners


class RankSweep:
    """Counts better and equal rivals of every text and every video, tile by tile.

    Args:
        own: [T] score of each text with its own video: the one in its tile, or, with `meant`, the
            one that is meant.
        owners: [T] video of each text.
        n_videos: V.
        rivals: of a video's best caption: the other videos' best ones, or all their captions. With
            several captions a video `videos` takes tiles by their texts (`GroupMaxima`).
        meant: exact scores, where those of the tiles are near to them; None: they are them.
    """

    def __init__(
        self,
        own: Tensor,
        *,
        owners: Rows,
        n_videos: int,
        rivals: Rivals = "videos",
        meant: Meant | None = None,
    ) -> None:
        if rivals not in ("videos", "captions"):
            raise ValueError(f"rivals={rivals!r} is unknown; use videos or captions")
        self._owners, self._meant, self._counter = owners, meant, Counter()
        self._described = np.bincount(owners, minlength=n_videos)
        best = own.new_full((n_videos,), -torch.inf)
        best.scatter_reduce_(0, torch.as_tensor(owners, device=own.device), own, "amax")
        self._texts, self._videos = _Queries.of(own), _Queries.of(best)
        several = rivals == "videos" and bool((self._described > 1).any())
        self._groups = GroupMaxima(owners, self._described) if several else None

    def add(self, tile: Tile) -> None:
        """Compares every score of a tile; each pair of text and video must come once."""
        scores = tile.scores
        texts = slice(tile.text, tile.text + scores.shape[0])
        videos = slice(tile.video, tile.video + scores.shape[1])
        rows = CaptionRows.single(np.arange(texts.start, texts.stop), owners=self._owners)
        self._count(_Part(scores, rows, videos, over=1), self._texts, texts)
        if self._groups is not None:
            rows, scores = self._groups.of(tile)
        self._count(_Part(scores, rows, videos, over=0), self._videos, videos)

    def ranks(self, ties: Ties) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Ranks [T] of each text's video, and [V] of each video's captions (NaN: it has none)."""
        if ties not in _TIE_WEIGHT:
            raise ValueError(f"ties={ties!r} is no policy; use one of {', '.join(_TIE_WEIGHT)}")
        of_texts, of_videos = (
            1 + side.better.cpu().numpy() + _TIE_WEIGHT[ties] * side.equal.cpu().numpy()
            for side in (self._texts, self._videos)
        )
        of_videos[self._described == 0] = np.nan
        return of_texts, of_videos

    def _count(self, part: _Part, side: _Queries, which: slice) -> None:
        own, better, equal = side.own[which], side.better[which], side.equal[which]
        if self._meant is None:
            self._count_exactly(part, own, better, equal)
            return
        low, high = (
            (own.double() + e).to(own.dtype) for e in (-self._meant.error, self._meant.error)
        )
        reached = self._counter.count(part.scores, low, high, over=part.over)
        if int((reached.not_below - reached.above).sum()) * _FEW > part.scores.numel():
            exact = part.rows.block(self._meant, part.videos)
            self._count_exactly(part._replace(scores=exact), own, better, equal)
            return
        better += reached.above
        pairs = self._counter.between().numpy()
        pairs = pairs[part.rows.videos[pairs[:, 0]] != part.videos.start + pairs[:, 1]]
        rows, columns = pairs.T
        scores = part.rows.pairs(self._meant, rows, part.videos.start + columns)
        query = torch.from_numpy(rows if part.over == 1 else columns)
        better.index_add_(0, query, (scores > own[query]).long())
        equal.index_add_(0, query, (scores == own[query]).long())

    def _count_exactly(self, part: _Part, own: Tensor, better: Tensor, equal: Tensor) -> None:
        reached = self._counter.count(part.scores, own, own, over=part.over)
        better += reached.above
        equal += reached.not_below - reached.above
        (rows,) = np.nonzero(
            (part.rows.videos >= part.videos.start) & (part.rows.videos < part.videos.stop)
        )
        at = torch.as_tensor(rows, device=own.device)
        column = torch.as_tensor(part.rows.videos[rows] - part.videos.start, device=own.device)
        mine, query = part.scores[at, column], at if part.over == 1 else column
        better.index_add_(0, query, (mine > own[query]).long(), alpha=-1)  # no rival of itself
        equal.index_add_(0, query, (mine == own[query]).long(), alpha=-1)


class _Part(NamedTuple):
    """Scores [r, v] of rows of captions with consecutive videos."""

    scores: Tensor
    rows: CaptionRows
    videos: slice
    over: int
    """1: the rows ask, for videos; 0: the videos ask, for rows."""


@dataclass(frozen=True)
class _Queries:
    """What is counted of one direction's queries: n texts, or n videos."""

    own: Tensor  # [n], what a rival is compared with
    better: Tensor  # int64 [n]
    equal: Tensor  # int64 [n]

    @classmethod
    def of(cls, own: Tensor) -> _Queries:
        return cls(own, *torch.zeros(2, len(own), dtype=torch.int64, device=own.device))
