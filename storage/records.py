"""The records of the store: frozen dataclasses, each with its Arrow schema beside it."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, TypeVar

import pyarrow as pa

from reelvec.storage.file_marks import FileMark

__all__ = [
    "CAPTION_SCHEMA",
    "VIDEO_SCHEMA",
    "Caption",
    "Outcome",
    "Video",
    "clip_key",
    "records_from_table",
    "records_to_table",
    "window_of",
]


R = TypeVar("R")

_SAME_TIME_SECONDS = 0.0005
"""Times closer than this are one, as they are where frames are chosen."""
_NUMBER = r"\d+(?:\.\d+)?(?:e[+-]?\d+)?"


@dataclass(frozen=True, slots=True)
class Outcome:
    """One planned input of a part and what became of it (a ledger row).

    `key` identifies the input within the artifact and table: a clip_key for frames, a video_id or
    caption_id for tables. `detail` holds the decoder's own words or other facts, as text.
    """

    key: str
    status: str = "ok"
    reason: str = ""
    message: str = ""
    detail: str = ""
    attempts: int = 1


@dataclass(frozen=True, slots=True)
class Video:
    """One video of a corpus. Times are seconds; sizes bytes and pixels.

    A video with status quarantined (missing, unreadable…) stays in the corpus: it counts.
    """

    video_id: str
    path: str  # as read from the corpus, absolute
    split: str = ""  # train, val, test, … ; "" belongs to every split
    content_hash: str = ""  # xxh3-128 of the bytes, hex; "" when they cannot be read
    bytes: int = 0
    mtime_ns: int = 0
    start_seconds: float | None = None  # window [start, end) of the file that is meant
    end_seconds: float | None = None
    status: str = "ok"
    reason: str = ""
    message: str = ""
    container: str = ""
    codec: str = ""
    width: int = 0  # as displayed, rotation applied
    height: int = 0
    rotation: int = 0  # degrees, as stored
    fps_container: float = 0.0  # rational fps as a float, from the container
    frames_from_header: int = 0  # 0: not declared
    frames_counted: int = 0  # visible packets demuxed
    duration_seconds_from_header: float = 0.0
    keyframes: int = 0
    inode: int = 0  # of the file; 0: not known, as in rows of earlier versions
    ctime_ns: int = 0  # when the file or its inode last changed; 0: not known
    packets: str = ""  # what the probe found, as storage.video.kept_probe writes it; "": not kept

    @property
    def mark(self) -> FileMark:
        """The file as it was when it was hashed."""
        return FileMark(self.bytes, self.mtime_ns, self.inode, self.ctime_ns)


@dataclass(frozen=True, slots=True)
class Caption:
    """One caption. `subset` names a part of the captions that is scored apart too ("" for none)."""

    caption_id: str
    video_id: str
    text: str
    subset: str = ""


_ARROW = {
    "str": pa.string(),
    "int": pa.int64(),
    "float": pa.float64(),
    "float | None": pa.float64(),
}


def _schema_of(record: type) -> pa.Schema:
    return pa.schema(
        [
            pa.field(f.name, _ARROW[str(f.type)], "None" in str(f.type))
            for f in dataclasses.fields(record)
        ]
    )


VIDEO_SCHEMA: pa.Schema = _schema_of(Video)
CAPTION_SCHEMA: pa.Schema = _schema_of(Caption)


def records_to_table(records: Iterable[Any], *, schema: pa.Schema) -> pa.Table:
    """Columns from dataclass records, in the order given (one list a column, no row dicts)."""
    rows = list(records)
    return pa.table(
        {name: [getattr(row, name) for row in rows] for name in schema.names}, schema=schema
    )


def records_from_table(table: pa.Table, *, record: type[R]) -> list[R]:
    """Dataclass records from columns, the inverse of `records_to_table`.

    A field that the rows were written without has its default.
    """
    names = [field.name for field in dataclasses.fields(record)]  # type: ignore[arg-type]
    known = [name for name in names if name in table.column_names]
    columns = [table.column(name).to_pylist() for name in known]
    return [
        record(**dict(zip(known, values, strict=True))) for values in zip(*columns, strict=True)
    ]


def clip_key(
    content_hash: str, *, start_seconds: float | None = None, end_seconds: float | None = None
) -> str:
    """The identity of a piece of video: its bytes, and the window when there is one.

    The same bytes under two names are one clip; ``ab12@0-31`` is its first 31 seconds.
    """
    if start_seconds is None and end_seconds is None:
        return content_hash
    end = "" if end_seconds is None else _seconds(end_seconds)
    return f"{content_hash}@{_seconds(start_seconds or 0)}-{end}"


def window_of(key: str) -> tuple[float, float | None]:
    """(start, end) seconds of a `clip_key`; of a whole file (0, None), as of any other name."""
    found = re.search(rf"@({_NUMBER})-({_NUMBER})?$", key)
    if found is None:
        return 0.0, None
    return float(found[1]), float(found[2]) if found[2] else None


def _seconds(time: float) -> str:
    """Six digits where they are near enough; hours into a file they are tenths of a second."""
    short = f"{time:g}"
    return short if abs(float(short) - time) < _SAME_TIME_SECONDS else repr(float(time))
