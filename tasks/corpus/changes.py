"""Compare listed videos with the corpus table: as columns, and by records those that are due."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from reelvec.storage.arrow_values import column_of, numbers_of
from reelvec.storage.commits.artifact import Snapshot
from reelvec.storage.records import Video
from reelvec.tasks.corpus.listed_columns import ListedColumns
from reelvec.tasks.corpus.video_columns import columns_with_marks, taken, video_columns

__all__ = ["VideoChanges", "video_changes"]


@dataclass(frozen=True)
class VideoChanges:
    """Rows to write in corpus order, and ids of rows in force that are replaced or gone."""

    due: list[Video]
    changed: list[str]
    removed: list[str]
    again: list[str] = field(default_factory=list)
    """Those to be replaced that look as they did, and are done again all the same."""
    gone: list[str] = field(default_factory=list)
    """Those to be replaced that had a file, and have none any more."""

    @property
    def new(self) -> int:
        """How many rows to write replace none."""
        return len(self.due) - len(self.changed)


def video_changes(
    now: ListedColumns, *, snapshot: Snapshot | None, retry: Callable[[Video], bool] | None
) -> VideoChanges:
    """Compare listed videos with the corpus table; opens no video.

    A row that is due has its hash already where the file is as last seen.

    Args:
        now: the videos of now, and their files' marks.
        snapshot: the corpus in force.
        retry: which rows in force are probed once more; None: none.
    """
    found = _Compared(known=np.zeros(len(now.ids), bool))
    for piece in columns_with_marks(snapshot):
        found.compare(piece, now=now, retries=retry is not None)
    moved, again, meant = found.moved, [], dict[int, Video]()
    for row, place, means_other, may_retry in found.undecided(snapshot):
        if may_retry and retry is not None and retry(row):
            moved.append(place)
            again.append(row.video_id)
        elif means_other:
            meant[place] = row
    replaced = np.array(sorted({*moved, *meant}), np.int64)
    places = np.union1d(np.flatnonzero(~found.known), replaced)
    due = [
        _as_meant(meant[place], video) if place in meant else video
        for place, video in zip(places.tolist(), now.records(places), strict=True)
    ]
    changed = [now.ids[place] for place in replaced.tolist()]
    return VideoChanges(due, changed, found.removed, again, found.gone)


@dataclass(slots=True)
class _Compared:
    """What the columns alone say of rows in force; places are those of the listing."""

    known: NDArray[np.bool_]
    """By place, whether a row in force is of it."""
    moved: list[int] = field(default_factory=list)
    """Places whose file is another, or looks so."""
    removed: list[str] = field(default_factory=list)
    gone: list[str] = field(default_factory=list)
    _undecided: list[tuple[int, int, bool, bool]] = field(default_factory=list)
    """Number of the row, place, whether another split or window is meant now, and whether the row
    may be done again: not where its server does not tell of the file."""
    _rows: int = 0

    def compare(self, piece: pa.Table, *, now: ListedColumns, retries: bool) -> None:
        """Compare the next rows in force; with `retries` each that looks as it did is undecided."""
        names = piece.column("video_id")
        found = now.ids.places(names.cast(pa.large_string()).combine_chunks())
        here = np.flatnonzero(found >= 0)
        places = found[here]
        self.known[places] = True
        if len(here) < len(names):
            self.removed += names.take(column_of(np.flatnonzero(found < 0))).to_pylist()
            piece = taken(piece, here)
        other = now.looks_other(piece, places)
        had = numbers_of(piece.column("bytes")) > 0
        self.moved += places[other].tolist()
        lost = other & had & (now.marks[0, places] == 0)
        self.gone += names.take(column_of(here[lost])).to_pylist()
        means_other = now.means_other(piece, places)
        may_retry = ~now.still_holds(piece, places) if retries else np.zeros(len(places), bool)
        chosen = ~other & (means_other | may_retry)
        rows = (here[chosen] + self._rows, places[chosen], means_other[chosen], may_retry[chosen])
        self._undecided += zip(*(column.tolist() for column in rows), strict=True)
        self._rows += len(names)

    def undecided(self, snapshot: Snapshot | None) -> Iterator[tuple[Video, int, bool, bool]]:
        """Whole rows in force that look as they did and may be due; the rest as it is kept."""
        if self._undecided:
            rows = np.array([row for row, *_ in self._undecided], np.int64)
            records = video_columns(snapshot).records(rows)
            for record, (_, place, means, may) in zip(records, self._undecided, strict=True):
                yield record, place, means, may


def _as_meant(row: Video, listed: Video) -> Video:
    """The row with the split and the window of now."""
    names = ("split", "start_seconds", "end_seconds")
    return dataclasses.replace(row, **{name: getattr(listed, name) for name in names})
