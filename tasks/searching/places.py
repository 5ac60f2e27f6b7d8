"""Where videos and their frames are, looked up by id: memory does not grow with the corpus."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa

from reelvec.storage.commits.artifact import Snapshot
from reelvec.storage.derived import derive
from reelvec.storage.frames.reader import FrameReader
from reelvec.storage.reasons import Status
from reelvec.storage.records import VIDEO_SCHEMA, Video
from reelvec.storage.tables import iter_tables
from reelvec.tasks.searching.sorted_rows import SortedRows, write_sorted

__all__ = ["VideosById", "frames_by_clip"]


class VideosById:
    """The videos of a corpus at one snapshot."""

    def __init__(self, corpus: Snapshot) -> None:
        made = derive(corpus, what="videos", make=lambda folder: _write_videos(corpus, folder))
        self._rows = SortedRows(made.folder / "rows.arrow")
        names = (field.name for field in dataclasses.fields(Video))
        known = [name for name in names if name in self.table.column_names]
        self._columns = {name: self.table.column(name) for name in known}

    def __len__(self) -> int:
        return len(self._rows)

    @property
    def table(self) -> pa.Table:
        """All of them, mapped."""
        return self._rows.table

    def find(self, video_id: str) -> Video | None:
        """The video of this id; None: the corpus has none."""
        row = self._rows.find(video_id)
        return None if row is None else self.at(row)

    def near(self, video_id: str, *, count: int = 1000) -> list[str]:
        """Ids around the place where this one would stand, for a message."""
        place = self._rows.place(video_id)
        rows = range(max(0, place - count), min(len(self), place + count))
        return [self._rows.key(row) for row in rows]

    def at(self, row: int) -> Video:
        """The video in this place, in the order of the ids."""
        return Video(**{name: column[row].as_py() for name, column in self._columns.items()})


def _write_videos(corpus: Snapshot, folder: Path) -> Mapping[str, Any]:
    pieces = [_whole(piece) for piece in iter_tables(corpus, "videos")]
    write_sorted(folder / "rows.arrow", pa.concat_tables([VIDEO_SCHEMA.empty_table(), *pieces]))
    return {}


def _whole(piece: pa.Table) -> pa.Table:
    """With every column of today; what rows of an earlier version lack has its default."""
    defaults = {field.name: field.default for field in dataclasses.fields(Video)}
    columns = [
        piece.column(field.name)
        if field.name in piece.column_names
        else pa.repeat(pa.scalar(defaults[field.name], field.type), piece.num_rows)
        for field in VIDEO_SCHEMA
    ]
    return pa.table(columns, schema=VIDEO_SCHEMA)


def frames_by_clip(frames: Snapshot) -> FrameReader:
    """A reader of the frames of a snapshot that looks its clips up in a file."""
    made = derive(frames, what="clips", make=lambda folder: _write_clips(frames, folder))
    return FrameReader(frames, part_of=_PartOf(SortedRows(made.folder / "rows.arrow")), few=True)


class _PartOf(Mapping[str, int]):
    """clip_key -> number of the part that has its frames."""

    def __init__(self, rows: SortedRows) -> None:
        self._rows = rows

    def __getitem__(self, key: str) -> int:
        row = self._rows.find(key)
        if row is None:
            raise KeyError(key)
        number: int = self._rows.table.column("part")[row].as_py()
        return number

    def __iter__(self) -> Iterator[str]:
        return (self._rows.key(row) for row in range(len(self._rows)))

    def __len__(self) -> int:
        return len(self._rows)


def _write_clips(frames: Snapshot, folder: Path) -> Mapping[str, Any]:
    """The later of two parts with the same clip counts, as in `FrameReader`; part by part."""
    schema = pa.schema([("clip_key", pa.string()), ("part", pa.int32())])
    pieces = [schema.empty_table()]
    for number, part in enumerate(frames.parts("frames")):
        keys = [row.key for row in part.outcomes() if row.status != Status.QUARANTINED]
        parts = pa.repeat(pa.scalar(number, pa.int32()), len(keys))
        pieces.append(pa.table([pa.array(keys, pa.string()), parts], schema=schema))
    write_sorted(folder / "rows.arrow", pa.concat_tables(pieces))
    return {}
