"""The k best videos of each text, while tiles of a similarity matrix come by."""

from __future__ import annotations

import numpy as np
import torch

from reelvec.models.ranking.tiles import Meant, Tile
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
        if self._meant is None:
            new = block_topk(tile.scores, k=self._places)
        else:
            best = tile.scores.topk(min(self._places, tile.scores.shape[1]), dim=1)
            new = TopK(best.values, best.indices)
        scores, indices = new.scores, new.indices + tile.video
        if self._kept is not None:
            scores = torch.cat([self._kept.scores, scores], dim=1)
            indices = torch.cat([self._kept.indices, indices], dim=1)
        self._kept = ordered(scores, indices, self._places)

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
        pairs = self._meant.pairs(np.repeat(texts, places), near.indices.numpy().reshape(-1))
        best = ordered(pairs.view(count, places), near.indices, self._k)
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
