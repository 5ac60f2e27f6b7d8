"""The k best videos of each text, while tiles of a similarity matrix come by."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from reelvec.models.ranking.counting import places_above
from reelvec.models.ranking.tiles import Meant, Rows, Tile
from reelvec.models.ranking.topk import TopK, block_topk, ordered

__all__ = ["RunningTop"]

_SPARE = 3
"""Places kept beyond k where scores are near: what stands behind the last tells who may be left."""
_WIDE = 4096
"""Videos of a block that is scored exactly."""


class RunningTop:
    """Keeps the k best; ties are broken by the lower index, as in `block_topk`.

    Tiles of the same texts come together, by ascending videos; texts ascend as well.

    Args:
        k: places, at least 1; fewer where there are fewer videos.
        n_videos: V.
        meant: exact scores, where those of the tiles are near to them; None: they are them.
    """

    def __init__(self, k: int, *, n_videos: int, meant: Meant | None = None) -> None:
        self._k, self._n_videos, self._meant = k, n_videos, meant
        self._places = k if meant is None else k + _SPARE
        self._text = 0
        self._kept: TopK | None = None
        self._done: list[TopK] = []

    def add(self, tile: Tile) -> None:
        """Takes what is best of a tile."""
        if self._kept is not None and tile.text != self._text:
            self._done.append(self._finished(self._kept))
            self._kept = None
        self._text = tile.text
        self._kept = self._exactly(tile) if self._meant is None else self._nearly(tile)

    def _exactly(self, tile: Tile) -> TopK:
        """The best so far and of the tile."""
        new = block_topk(tile.scores, k=self._places)
        if self._kept is None:
            return TopK(new.scores, new.indices + tile.video)
        scores = torch.cat([self._kept.scores, new.scores], dim=1)
        indices = torch.cat([self._kept.indices, new.indices + tile.video], dim=1)
        return ordered(scores, indices, self._places)

    def _nearly(self, tile: Tile) -> TopK:
        """The same of finite scores that decide no tie: most of a tile is not among the best."""
        kept = self._kept
        if kept is None or kept.scores.shape[1] < self._places:
            new = tile.scores.topk(min(self._places, tile.scores.shape[1]), dim=1)
            scores, indices = new.values, new.indices + tile.video
        else:
            scores, indices = _packed(tile, places_above(tile.scores, kept.scores[:, -1]))
        if kept is None:
            return TopK(scores, indices)
        scores = torch.cat([kept.scores, scores], dim=1)
        best = scores.topk(min(self._places, scores.shape[1]), dim=1)
        indices = torch.cat([kept.indices, indices], dim=1).gather(1, best.indices)
        return TopK(best.values, indices)

    def best(self) -> TopK:
        """Of all texts, [T, k]; to be asked once, behind the last tile."""
        if self._kept is None:
            raise ValueError("no tile was added: there is nothing to choose from")
        parts = [*self._done, self._finished(self._kept)]
        return TopK(
            torch.cat([part.scores for part in parts]), torch.cat([part.indices for part in parts])
        )

    def _finished(self, near: TopK) -> TopK:
        if self._meant is None:
            return near
        count, places = near.indices.shape
        texts = np.arange(self._text, self._text + count)
        scores = torch.full((count, places), -torch.inf)
        sure = min(self._k, places)
        self._fill(scores, near.indices, texts=np.arange(count), places=slice(0, sure))
        if places > sure:  # who stands behind the k best may be one of them
            apart = near.scores[:, sure - 1].double() - near.scores[:, sure].double()
            close = (apart <= 2 * self._meant.error).nonzero().flatten().numpy()
            self._fill(scores, near.indices, texts=close, places=slice(sure, places))
        best = ordered(scores, near.indices, self._k)
        if places == self._n_videos:
            return best
        least = best.scores[:, -1].double()
        unsure = least <= near.scores[:, -1].double() + self._meant.error
        rows = unsure.nonzero().flatten()
        if len(rows):
            exact = RunningTop(self._k, n_videos=self._n_videos)
            for start in range(0, self._n_videos, _WIDE):
                some = slice(start, min(start + _WIDE, self._n_videos))
                exact.add(Tile(0, start, self._meant.block(texts[rows.numpy()], some)))
            again = exact.best()
            best.scores[rows], best.indices[rows] = again.scores, again.indices
        return best

    def _fill(self, scores: Tensor, indices: Tensor, *, texts: Rows, places: slice) -> None:
        """Exact scores of some rows [count, places], in these places."""
        videos = indices[texts, places]
        if self._meant is not None and videos.numel():
            each = np.repeat(self._text + texts, videos.shape[1])
            exact = self._meant.pairs(each, videos.numpy().reshape(-1))
            scores[texts, places] = exact.view(videos.shape)


def _packed(tile: Tile, places: Tensor) -> tuple[Tensor, Tensor]:
    """Scores and videos of these places (row, column), row by row, [t, most in a row].

    Rows with fewer are filled up with scores below all.
    """
    row, column = places.T
    counts = torch.bincount(row, minlength=len(tile.scores))
    nth = torch.arange(len(row)) - (counts.cumsum(0) - counts)[row]
    shape = (len(tile.scores), int(counts.max()))
    scores = tile.scores.new_full(shape, -torch.inf)
    videos = torch.zeros(shape, dtype=torch.int64)
    scores[row, nth] = tile.scores[row, column]
    videos[row, nth] = column + tile.video
    return scores, videos
