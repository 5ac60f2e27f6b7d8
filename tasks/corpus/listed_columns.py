"""Listed videos as columns, and their files' marks, to compare with those of rows in force."""

from __future__ import annotations

import dataclasses
import operator
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import chain

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from reelvec.configs.uris import is_uri
from reelvec.storage.corpora.video_list import VideoList
from reelvec.storage.file_marks import FileMark
from reelvec.storage.records import Video

__all__ = ["ListedColumns", "numbers_of"]

_MARK = tuple(field.name for field in dataclasses.fields(FileMark))
_MAY_BE_UNKNOWN = ("inode", "ctime_ns")  # 0: not known
_NO_FILE = (0,) * len(_MARK)


@dataclass(frozen=True)
class ListedColumns:
    """Listed videos as columns, and the marks of their files now."""

    videos: Sequence[Video]
    paths: Sequence[str]
    splits: Sequence[str]
    windows: Sequence[tuple[float | None, float | None]] | None
    """None: no video has one."""
    marks: NDArray[np.int64]
    """[N, 4], as `FileMark` has them."""

    @classmethod
    def of(cls, listed: Sequence[Video]) -> ListedColumns:
        """Looks at the file of each; of an object the mark it was listed with counts."""
        if isinstance(listed, VideoList):
            return cls(listed, listed.paths, listed.splits, None, _marks(map(_seen, listed.paths)))
        windows = [(video.start_seconds, video.end_seconds) for video in listed]
        return cls(
            listed,
            [video.path for video in listed],
            [video.split for video in listed],
            windows if any(window != (None, None) for window in windows) else None,
            _marks(
                dataclasses.astuple(video.mark) if is_uri(video.path) else _seen(video.path)
                for video in listed
            ),
        )

    def as_found(self, place: int) -> Video:
        """The video with the mark of its file."""
        mark = zip(_MARK, self.marks[place].tolist(), strict=True)
        return dataclasses.replace(self.videos[place], **dict(mark))

    def looks_other(self, piece: pa.Table, places: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Whether path or file are not those of the rows, bool [N]; see `FileMark.agrees`."""
        other = _differ(piece.column("path").to_pylist(), self.paths, places)
        for name, now in zip(_MARK, self.marks[places].T, strict=True):
            row = numbers_of(piece, name)
            differs = row != now
            other |= differs & (row != 0) & (now != 0) if name in _MAY_BE_UNKNOWN else differs
        return other

    def means_other(self, piece: pa.Table, places: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Whether split or window are not those of the rows, bool [N]."""
        other = _differ(piece.column("split").to_pylist(), self.splits, places)
        ends = [piece.column(name) for name in ("start_seconds", "end_seconds")]
        if self.windows is not None:
            windows = list(zip(*(column.to_pylist() for column in ends), strict=True))
            return other | _differ(windows, self.windows, places)
        for column in ends:
            if column.null_count < len(column):
                other |= ~np.array([value is None for value in column.to_pylist()], bool)
        return other


def _differ(
    rows: Sequence[object], listed: Sequence[object], places: NDArray[np.int64]
) -> NDArray[np.bool_]:
    here = map(listed.__getitem__, places.tolist())
    return np.fromiter(map(operator.ne, rows, here), bool, len(rows))


def numbers_of(piece: pa.Table, name: str) -> NDArray[np.int64]:
    """A column of int64; without pandas, which `to_numpy` would load where it is installed."""
    chunks = [np.from_dlpack(chunk) for chunk in piece.column(name).chunks]
    return np.concatenate([np.empty(0, np.int64), *chunks])


def _marks(found: Iterable[tuple[int, ...]]) -> NDArray[np.int64]:
    return np.fromiter(chain.from_iterable(found), np.int64).reshape(-1, len(_MARK))


def _seen(path: str) -> tuple[int, ...]:
    """`FileMark.at` as numbers, in a third of the time."""
    try:
        return FileMark.numbers(os.stat(path))  # noqa: PTH116 - asked of every file of a corpus
    except (OSError, ValueError):  # ValueError: a NUL in the name
        return _NO_FILE
