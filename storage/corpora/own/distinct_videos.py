"""Videos that rows of caption files name again and again, once each.

Of a file that rows call by its own id nothing is kept but what they say of it, by its place in the
listing: most rows name such a one, and all else is in the listing already.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from reelvec.storage.arrow_values import column_of, mask_of, numbers_of, text_scalar, texts_of
from reelvec.storage.corpora.own.caption_values import NONE
from reelvec.storage.corpora.own.named_files import Named, NeedsRecordsError

__all__ = ["WINDOW", "DistinctVideos"]

WINDOW = ("start_seconds", "end_seconds")
_NAMES = ("video_id", "path", "split", *WINDOW, "place")
_AT_LEAST = 16_384
"""Rows that wait before those that say the same become one: files repeat a video far apart."""

Numbers = NDArray[np.float64]
Places = NDArray[np.int64]


class _FilesByPlace:
    """What rows say of files that they call by their own ids.

    Args:
        listed: files of the listing.
    """

    def __init__(self, listed: int) -> None:
        self.named = np.zeros(listed, bool)
        """By place, whether a row names the file so."""
        self.windows: Numbers | None = None
        """[2, listed], `NONE` where there is no such time; None: no row says any."""
        self._names = {"": 0}
        self._splits: Places | None = None  # numbers of those names

    def add(self, places: Places, *, splits: Sequence[str], windows: Numbers) -> None:
        """Some rows; arguments as those of `DistinctVideos.add`.

        Raises:
            NeedsRecordsError: two do not say the same of a file, but that some leave out its split.
        """
        if self.windows is None and (windows != NONE).any():
            self.windows = np.full((2, len(self.named)), NONE)
        if self.windows is not None:
            new = ~self.named[places]
            self.windows[:, places[new]] = windows[:, new]
            if (self.windows[:, places] != windows).any():
                raise NeedsRecordsError
        if any(splits):
            self._add_splits(places, splits)
        self.named[places] = True

    def splits(self, *, unlisted: str) -> pa.LargeStringArray:
        """The split of each file; `unlisted` where no row says one."""
        numbers = self._splits if self._splits is not None else np.zeros(len(self.named), np.int64)
        return texts_of([unlisted, *list(self._names)[1:]]).take(column_of(numbers))

    def _add_splits(self, places: Places, splits: Sequence[str]) -> None:
        if self._splits is None:
            self._splits = np.zeros(len(self.named), np.int64)
        numbers = [self._names.setdefault(split, len(self._names)) for split in splits]
        said = np.flatnonzero(numbers)
        places, now = places[said], np.array(numbers, np.int64)[said]
        new = self._splits[places] == 0
        self._splits[places[new]] = now[new]
        if (self._splits[places] != now).any():
            raise NeedsRecordsError


class DistinctVideos:
    """Videos as rows add them.

    Args:
        listed: files of the listing.
    """

    def __init__(self, listed: int) -> None:
        self.files = _FilesByPlace(listed)
        self._pieces: list[pa.Table] = []
        self._waiting = 0
        self._known = 0

    def add(self, named: Named, own: Places, *, splits: Sequence[str], windows: Numbers) -> None:
        """The videos of some rows.

        Args:
            named: their files.
            own: place of the file where the row calls it by its own id; -1: another video.
            splits: "": none is said.
            windows: [2, N]; `NONE` where there is no such time.

        Raises:
            NeedsRecordsError: as `_FilesByPlace.add`.
        """
        others = np.flatnonzero(own < 0)
        if not len(others):
            self.files.add(own, splits=splits, windows=windows)
            return
        here = np.flatnonzero(own >= 0)
        chosen = [splits[row] for row in here.tolist()]
        self.files.add(own[here], splits=chosen, windows=windows[:, here])
        chosen = [splits[row] for row in others.tolist()]
        self._add_others(_table(named.at(others), texts_of(chosen), windows[:, others]))

    def others(self) -> pa.Table:
        """Each video that is no file by its own id, in no order; they are given away.

        Columns video_id, path ("" where there is a place), split, start_seconds, end_seconds and
        place.

        Raises:
            NeedsRecordsError: rows do not say the same of one, but that some leave out its split.
        """
        blank = texts_of([])
        none = _table(Named(np.empty(0, np.int64), blank, blank), blank, np.empty((2, 0)))
        whole = pa.concat_tables([none, *self._pieces])
        self._pieces = []
        if pc.count_distinct(whole.column("video_id")).as_py() == whole.num_rows:
            return whole
        whole = _distinct(whole)
        again = _as_the_next(whole, ["video_id"])
        same = _as_the_next(whole, ["video_id", "path", *WINDOW, "place"])
        blank = numbers_of(pc.equal(whole.column("split"), text_scalar("")).cast(pa.int64())) > 0
        if (again & ~(same & blank)).any():
            raise NeedsRecordsError
        return whole.take(column_of(np.flatnonzero(~again)))  # the last one of a video has a split

    def _add_others(self, rows: pa.Table) -> None:
        piece = _joined(rows)
        self._pieces.append(piece)
        self._waiting += piece.num_rows
        if self._waiting > _AT_LEAST + self._known:  # so that each is looked at a few times
            whole = _distinct(pa.concat_tables(self._pieces))
            self._pieces, self._waiting, self._known = [whole], 0, whole.num_rows


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


def _table(named: Named, splits: pa.LargeStringArray, windows: Numbers) -> pa.Table:
    elsewhere = mask_of(named.places < 0)
    paths = pc.if_else(elsewhere, named.paths, text_scalar(""))
    columns = [named.ids, paths, splits, *map(column_of, windows), column_of(named.places)]
    return pa.table(dict(zip(_NAMES, columns, strict=True)))
