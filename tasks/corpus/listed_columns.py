"""Listed videos as columns, and their files' marks, to compare with those of rows in force."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from reelvec.configs.uris import is_uri
from reelvec.storage.arrow_values import column_of, floats_of, numbers_of, text_scalar, texts_of
from reelvec.storage.corpora.listed_ids import ListedIds
from reelvec.storage.corpora.video_list import VideoList
from reelvec.storage.file_marks import MARK_FIELDS, NO_FILE, FileMark
from reelvec.storage.reasons import NOT_KNOWN
from reelvec.storage.records import Video
from reelvec.tasks.corpus.video_columns import taken

__all__ = ["ListedColumns"]

_MAY_BE_UNKNOWN = ("inode", "ctime_ns")  # 0: not known
_WINDOW = ("start_seconds", "end_seconds")
_ROWS = 65_536  # made into records at once

_ZERO = column_of(np.zeros(1, np.int64))[0].cast(pa.int32())

Places = NDArray[np.int64]


@dataclass(frozen=True)
class ListedColumns:
    """Listed videos as columns, and the marks of their files now."""

    ids: ListedIds
    videos: Sequence[Video]
    texts: pa.Table
    """path, split and reason; of those that are left out all have ""."""
    windows: NDArray[np.float64] | None
    """[2, N], NaN where a window has no such end; None: no video has one."""
    marks: NDArray[np.int64]
    """[4, N], as `FileMark` has them."""

    @classmethod
    def of(cls, listed: Sequence[Video]) -> ListedColumns:
        """Looks at the file of each, which a list of columns has done; an object keeps its mark."""
        if isinstance(listed, VideoList):
            table = listed.table
            windows = None
            if _WINDOW[0] in table.column_names:
                windows = np.stack([floats_of(table.column(name)) for name in _WINDOW])
            marks = np.stack([numbers_of(table.column(name)) for name in MARK_FIELDS])
            ids = ListedIds(table.column("video_id").combine_chunks())
            return cls(ids, listed, table, windows, marks)
        windows = np.array([(v.start_seconds, v.end_seconds) for v in listed], np.float64)
        return cls(
            ListedIds(texts_of([video.video_id for video in listed])),
            listed,
            pa.table({"path": _paths(listed)} | _texts(listed)),
            windows.reshape(-1, 2).T,
            _marks(map(_mark, listed)),
        )

    def records(self, places: Places) -> Iterator[Video]:
        """The videos at these places with the marks of their files."""
        for start in range(0, len(places), _ROWS):
            some = places[start : start + _ROWS]
            if isinstance(self.videos, VideoList):
                videos = self.videos.at(some)
            else:
                videos = [self.videos[place] for place in some.tolist()]
            for video, mark in zip(videos, self.marks.T[some].tolist(), strict=True):
                yield dataclasses.replace(video, **dict(zip(MARK_FIELDS, mark, strict=True)))

    def looks_other(self, piece: pa.Table, places: Places) -> NDArray[np.bool_]:
        """Whether path or file are not those of the rows, bool [N]; see `FileMark.agrees`."""
        other = self._differ(piece, places, "path")
        told = self._reasons(places)
        if told is not None:
            has_one = pc.not_equal(told, text_scalar(""))
            other |= _are_true(has_one) & self._differ(piece, places, "reason")
        for name, marks in zip(MARK_FIELDS, self.marks, strict=True):
            row, now = numbers_of(piece.column(name)), marks[places]
            differs = row != now
            other |= differs & (row != 0) & (now != 0) if name in _MAY_BE_UNKNOWN else differs
        return other & ~self.still_holds(piece, places)

    def still_holds(self, piece: pa.Table, places: Places) -> NDArray[np.bool_]:
        """Whether a file with a mark is listed where it was, and no more told of it, bool [N]."""
        told = self._reasons(places)
        if told is None:
            return np.zeros(len(places), bool)
        silent = _are_true(pc.is_in(told, value_set=texts_of(NOT_KNOWN)))
        had = numbers_of(piece.column("bytes")) > 0
        return silent & had & ~self._differ(piece, places, "path")

    def _reasons(self, places: Places) -> pa.ChunkedArray | None:
        """Why there is no file, as the listing says; None: it says so of none."""
        if "reason" not in self.texts.column_names:
            return None
        return taken(self.texts.select(["reason"]), places).column("reason")

    def means_other(self, piece: pa.Table, places: Places) -> NDArray[np.bool_]:
        """Whether split or window are not those of the rows, bool [N]."""
        other = self._differ(piece, places, "split")
        for number, name in enumerate(_WINDOW):
            row = floats_of(piece.column(name))
            now = self.windows[number, places] if self.windows is not None else np.float64("nan")
            other |= (row != now) & ~(np.isnan(row) & np.isnan(now))
        return other

    def _differ(self, piece: pa.Table, places: Places, name: str) -> NDArray[np.bool_]:
        """Whether a column of texts is not that of the rows."""
        rows = piece.column(name)
        if name in self.texts.column_names:
            here = taken(self.texts.select([name]), places).column(name)
            differ = pc.not_equal(rows.cast(here.type), here)
        else:
            differ = pc.not_equal(pc.binary_length(rows), _ZERO)
        return _are_true(differ)


def _are_true(column: pa.ChunkedArray) -> NDArray[np.bool_]:
    return numbers_of(column.cast(pa.int64())) > 0


def _paths(videos: Iterable[Video]) -> pa.Array:
    paths = [video.path for video in videos]
    try:
        return texts_of(paths)
    except UnicodeEncodeError:  # which equals no path in force
        return pa.array([path.encode(errors="surrogatepass") for path in paths], pa.large_binary())


def _texts(videos: Sequence[Video]) -> dict[str, pa.Array]:
    split, reason = ([getattr(one, name) for one in videos] for name in ("split", "reason"))
    return {"split": texts_of(split), "reason": texts_of(reason)}


def _marks(found: Iterable[tuple[int, ...]]) -> NDArray[np.int64]:
    return np.fromiter(chain.from_iterable(found), np.int64).reshape(-1, len(MARK_FIELDS)).T


def _mark(video: Video) -> tuple[int, ...]:
    """`FileMark.at` as numbers, in a third of the time; of an object that of its listing."""
    if is_uri(video.path):
        return dataclasses.astuple(video.mark)
    try:
        return FileMark.numbers(os.stat(video.path))  # noqa: PTH116 - asked of every file
    except (OSError, ValueError):  # ValueError: a NUL in the name
        return NO_FILE
