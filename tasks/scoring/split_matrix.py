"""The similarity matrix of a split, tile by tile: it is never whole."""

from __future__ import annotations

from collections.abc import Generator, Iterator

import numpy as np
import torch
from torch import Tensor

from reelvec.models.features import EMBEDDING
from reelvec.models.ranking.exact import Cosines
from reelvec.models.ranking.tiles import Rows, Tile
from reelvec.storage.errors import ReelvecError
from reelvec.tasks.ahead import ahead
from reelvec.tasks.scoring.logits import PAIRS_OF, Scoring, one_thread
from reelvec.tasks.scoring.split_rows import SplitRows

__all__ = ["SplitMatrix", "UnscorableError"]

VIDEO_BLOCK = 1024
"""Videos scored at once, a multiple of PAIRS_OF."""
_SHOWN = 3


class UnscorableError(ReelvecError):
    """Scores that have no rank, or a name nobody knows."""


class SplitMatrix:
    """Scores of all texts with all videos.

    Args:
        texts: T captions.
        videos: V videos.
        owners: [T] video of each caption.
        scoring: the score, and the columns it reads.
        height: texts scored at once.

    Attributes:
        meant: the exact scores where those of the tiles are only near to them: a cosine of finite
            unit vectors. None: tiles hold the scores themselves.
    """

    def __init__(
        self,
        texts: SplitRows,
        videos: SplitRows,
        *,
        owners: Rows,
        scoring: Scoring,
        height: int,
    ) -> None:
        self._texts, self._videos, self._owners = texts, videos, owners
        self._scoring, self._height = scoring, height
        self.meant: Cosines | None = None
        if scoring.cosine_scale is not None:
            sides = (rows.columns[EMBEDDING] for rows in (texts, videos))
            cosines = Cosines(*sides, scale=scoring.cosine_scale)
            self.meant = cosines if cosines.bounded else None

    def __iter__(self) -> Iterator[Tile]:
        """Tiles, by texts, then by videos, each scored while the one before it is looked at.

        Raises:
            UnscorableError: a score is NaN.
        """
        return ahead(self._tiles(), name="scores")

    def _tiles(self) -> Generator[Tile, None, None]:
        for rows in _slices(len(self._texts), self._height):
            for columns in _slices(len(self._videos), VIDEO_BLOCK):
                yield Tile(rows.start, columns.start, self._tile(rows, columns))

    def _tile(self, rows: slice, columns: slice) -> Tensor:
        with one_thread(), torch.inference_mode():  # both are a thread's own
            near = self.meant
            return near.near(rows, columns) if near else self._scores(rows, columns)

    def rows(self) -> Iterator[Tensor]:
        """Blocks of whole rows [t, V] of the scores that are meant.

        Raises:
            UnscorableError: a score is NaN.
        """
        for rows in _slices(len(self._texts), self._height):
            columns = _slices(len(self._videos), VIDEO_BLOCK)
            yield torch.cat([self._scores(rows, some) for some in columns], dim=1)

    def own(self) -> Tensor:
        """Score [T] of each text with its own video: to the bit that of its tile, or `meant`."""
        if self.meant is not None:
            return self.meant.pairs(np.arange(len(self._owners)), self._owners)
        own = torch.empty(len(self._owners))
        for tall in _slices(len(self._texts), self._height):
            for start in range(tall.start, tall.stop, PAIRS_OF):
                stop = min(start + PAIRS_OF, tall.stop)
                first = start  # a text by itself is scored otherwise than the last of a tile is
                if stop - start == 1 and start > tall.start:
                    first = start - PAIRS_OF
                for block in np.unique(self._owners[start:stop] // PAIRS_OF).tolist():
                    self._fill(own, slice(first, stop), block)
        return own

    def _fill(self, own: Tensor, rows: slice, block: int) -> None:
        """Scores of texts whose videos are in a block, as their tile has them."""
        columns = slice(block * PAIRS_OF, min((block + 1) * PAIRS_OF, len(self._videos)))
        owners = self._owners[rows]
        here = np.flatnonzero(owners // PAIRS_OF == block)
        scores = self._scores(rows, columns)
        own[rows.start + here] = scores[here, owners[here] - columns.start]

    def _scores(self, rows: slice, columns: slice) -> Tensor:
        scores = self._scoring.similarity(self._texts.block(rows), self._videos.block(columns))
        if bool(torch.isnan(scores.amax())):
            bad = torch.isnan(scores).nonzero()
            captions, videos = self._texts.ids("caption_id"), self._videos.ids("video_id")
            pairs = [
                f"{captions[rows.start + t]} × {videos[columns.start + v]}"
                for t, v in bad[:_SHOWN].tolist()
            ]
            raise UnscorableError(
                f"{len(bad)} scores are NaN (caption × video: {', '.join(pairs)}); a NaN has no"
                " rank. The model has diverged or a table is damaged: `reelvec verify`, then train"
                " again"
            )
        return scores


def _slices(rows: int, size: int) -> list[slice]:
    return [slice(start, min(start + size, rows)) for start in range(0, rows, size)]
