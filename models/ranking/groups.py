"""Rows of scores that rank videos' captions: a caption each, or the best of a video's captions."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from reelvec.models.ranking.tiles import Meant, Rows, Tile

__all__ = ["CaptionRows", "GroupMaxima"]


@dataclass(frozen=True)
class CaptionRows:
    """What the rows of a tile are: the captions of row i are texts[starts[i]:starts[i + 1]].

    Attributes:
        videos: [n] the video that each row is about.
        texts: captions, row by row.
        starts: [n].
    """

    videos: Rows
    texts: Rows
    starts: Rows

    @classmethod
    def single(cls, texts: Rows, *, owners: Rows) -> CaptionRows:
        """A caption a row."""
        return cls(owners[texts], texts, np.arange(len(texts)))

    def pairs(self, meant: Meant, rows: Rows, videos: Rows) -> Tensor:
        """The scores that are meant, [n], of rows [n] with videos [n]."""
        sizes = np.diff(self.starts, append=len(self.texts))[rows]
        begins = np.cumsum(sizes) - sizes
        each = np.arange(sizes.sum()) + np.repeat(self.starts[rows] - begins, sizes)
        scores = meant.pairs(self.texts[each], np.repeat(videos, sizes))
        if len(scores) == len(rows):
            return scores
        return torch.from_numpy(np.maximum.reduceat(scores.numpy(), begins))

    def block(self, meant: Meant, videos: slice) -> Tensor:
        """The scores that are meant of all rows with consecutive videos."""
        scores = meant.block(self.texts, videos)
        if len(scores) == len(self.starts):
            return scores
        sizes = np.diff(self.starts, append=len(self.texts))
        return _maxima(scores, np.repeat(np.arange(len(sizes)), sizes), rows=len(sizes))


class GroupMaxima:
    """Maxima over each video's captions, each video once.

    A group that ends in its tile is reduced there; others wait as a row each, so that memory grows
    only with the number of videos whose captions are spread. Tiles of the same texts come together,
    those of earlier texts first.

    Args:
        owners: [T] video of each text.
        described: [V] number of texts of each video.
    """

    def __init__(self, owners: Rows, described: Rows) -> None:
        self._owners, self._described = owners, described
        self._missing = described.copy()
        self._order = np.argsort(owners, kind="stable")
        self._begin = np.cumsum(described) - described
        self._waiting: dict[int, Tensor] = {}
        self._text = -1
        self._videos, self._place = owners[:0], owners[:0]
        self._rows = CaptionRows(owners[:0], owners[:0], owners[:0])

    def of(self, tile: Tile) -> tuple[CaptionRows, Tensor]:
        """The groups that end here, and their maxima [n, v]."""
        if tile.text != self._text:
            self._turn_to(tile)
        maxima = _maxima(tile.scores, self._place, rows=len(self._videos))
        columns = slice(tile.video, tile.video + maxima.shape[1])
        for row, video in enumerate(self._videos.tolist()):
            if video in self._waiting:
                kept = self._waiting[video][columns]
                torch.maximum(kept, maxima[row], out=kept)
                maxima[row] = kept
        done = self._missing[self._videos] == 0
        if not done.all():
            maxima = maxima[torch.as_tensor(done, device=maxima.device)]
        return self._rows, maxima

    def _turn_to(self, tile: Tile) -> None:
        """To the texts of a tile, which is the first of them."""
        for video in self._videos[self._missing[self._videos] == 0].tolist():
            self._waiting.pop(video, None)
        owners = self._owners[tile.text : tile.text + tile.scores.shape[0]]
        self._text = tile.text
        self._videos, self._place = np.unique(owners, return_inverse=True)
        self._missing[self._videos] -= np.bincount(self._place)
        for video in self._videos[self._missing[self._videos] > 0].tolist():
            if video not in self._waiting:
                shape = (len(self._described),)
                self._waiting[video] = tile.scores.new_full(shape, -torch.inf)
        done = self._videos[self._missing[self._videos] == 0]
        sizes = self._described[done]
        starts = np.cumsum(sizes) - sizes
        each = np.arange(sizes.sum()) + np.repeat(self._begin[done] - starts, sizes)
        self._rows = CaptionRows(done, self._order[each], starts)


def _maxima(scores: Tensor, place: Rows, *, rows: int) -> Tensor:
    """Maxima [rows, v] of the rows of scores [t, v] that have the same place [t]."""
    if rows == len(scores):
        return scores[np.argsort(place)]
    where = torch.as_tensor(place, device=scores.device)[:, None].expand_as(scores)
    maxima = scores.new_full((rows, scores.shape[1]), -torch.inf)
    return maxima.scatter_reduce_(0, where, scores, "amax")
