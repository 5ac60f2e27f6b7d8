"""Videos that rows of caption files name again and again, once each."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from reelvec.storage.arrow_values import column_of, numbers_of, text_scalar, texts_of
from reelvec.storage.corpora.own.caption_values import NONE
from reelvec.storage.corpora.own.named_files import Named, NeedsRecordsError

__all__ = ["DistinctVideos"]

_NAMES = ("video_id", "path", "split", "start_seconds", "end_seconds", "place")
_AT_LEAST = 16_384
"""Rows that wait before those that say the same become one: files repeat a video far apart."""

Numbers = NDArray[np.float64]


class DistinctVideos:
    """Columns video_id, path, split, start_seconds, end_seconds and place, as rows add them."""

    def __init__(self) -> None:
        self._pieces: list[pa.Table] = []
        self._waiting = 0
        self._known = 0

    def add(self, named: Named, *, splits: Sequence[str], windows: Numbers) -> None:
        """The videos of some rows.

        Args:
            named: their files.
            splits: "": none is said.
            windows: [2, N]; `NONE` where there is no such time.
        """
        piece = _joined(_table(named.ids, named.paths, named.places, texts_of(splits), windows))
        self._pieces.append(piece)
        self._waiting += piece.num_rows
        if self._waiting > _AT_LEAST + self._known:  # so that each is looked at a few times
            whole = _distinct(pa.concat_tables(self._pieces))
            self._pieces, self._waiting, self._known = [whole], 0, whole.num_rows

    @staticmethod
    def of_files(
        ids: pa.LargeStringArray, paths: pa.LargeStringArray, places: NDArray[np.int64]
    ) -> pa.Table:
        """Columns of files of which no row says anything."""
        blank = texts_of([""] * len(ids))
        return _table(ids, paths, places, blank, np.full((2, len(ids)), NONE))

    def table(self) -> pa.Table:
        """Each video once, in no order; they are given away.

        Raises:
            NeedsRecordsError: rows do not say the same of one, but that some leave out its split.
        """
        none = self.of_files(texts_of([]), texts_of([]), np.empty(0, np.int64))
        whole = pa.concat_tables([none, *self._pieces])
        self._pieces = []
        if pc.count_distinct(whole.column("video_id")).as_py() == whole.num_rows:
            return whole
        whole = _distinct(whole)
        again = _as_the_next(whole, ["video_id"])
        same = _as_the_next(whole, ["video_id", "path", "start_seconds", "end_seconds"])
        blank = numbers_of(pc.equal(whole.column("split"), text_scalar("")).cast(pa.int64())) > 0
        if (again & ~(same & blank)).any():
            raise NeedsRecordsError
        return whole.take(column_of(np.flatnonzero(~again)))  # the last one of a video has a split


def _distinct(table: pa.Table) -> pa.Table:
    """Those that say the same once, in the order of ids and then of splits."""
    keys = [("video_id", "ascending"), ("split", "ascending")]
    return _joined(table.take(pc.sort_indices(table, sort_keys=keys)))


def _joined(table: pa.Table) -> pa.Table:
    """Rows that follow each other and say the same as one."""
    return table.take(column_of(np.flatnonzero(~_as_the_next(table, _NAMES))))


def _as_the_next(table: pa.Table, names: Sequence[str]) -> NDArray[np.bool_]:
    """Which rows have the values of those that follow them, bool [N]."""
    same = np.ones(table.num_rows, bool)
    same[-1:] = False
    for name in names:
        column = table.column(name).combine_chunks()
        equal = pc.equal(column.slice(0, max(len(column) - 1, 0)), column.slice(1))
        same[:-1] &= numbers_of(equal.cast(pa.int64())) > 0
    return same


def _table(
    ids: pa.LargeStringArray,
    paths: pa.LargeStringArray,
    places: NDArray[np.int64],
    splits: pa.LargeStringArray,
    windows: Numbers,
) -> pa.Table:
    columns = [ids, paths, splits, *map(column_of, windows), column_of(places)]
    return pa.table(dict(zip(_NAMES, columns, strict=True)))
