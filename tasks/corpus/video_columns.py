"""The videos of a corpus as columns: what all plans of a run look at, read once.

Fifty bytes a video. Whole rows are read of the few that are worked on.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import chain
from weakref import WeakKeyDictionary

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from reelvec.storage.arrow_values import column_of
from reelvec.storage.commits.artifact import PartRef, Snapshot
from reelvec.storage.records import VIDEO_SCHEMA, Video, records_from_table
from reelvec.storage.tables import iter_part
from reelvec.tasks.corpus.part_memo import PartMemo

__all__ = ["VideoColumns", "columns_with_marks", "taken", "video_columns"]

_ROWS = 16_384  # of a batch, about
_COLUMNS = (
    "video_id", "content_hash", "split", "start_seconds", "end_seconds", "status", "reason",
    "message",
)  # fmt: skip
_LATER = ("inode", "ctime_ns")
"""Which rows of earlier versions have not."""

Rows = NDArray[np.int64]


class VideoColumns:
    """Rows of the table of videos in force, numbered from 0 in its order."""

    def __init__(self, corpus: Snapshot | None) -> None:
        there = corpus is not None and "videos" in corpus.tables
        self._parts = corpus.parts("videos") if there and corpus else []
        pieces = _kept.of(corpus, "videos", _piece) if self._parts and corpus else []
        self._ends = np.cumsum([piece.num_rows for piece in pieces], dtype=np.int64)
        self._batches = list(_batches(pieces))

    def __len__(self) -> int:
        return int(self._ends[-1]) if len(self._ends) else 0

    def batches(self) -> Iterator[pa.Table]:
        """Columns that tell what a row is of and what became of it, some rows at once."""
        return iter(self._batches)

    def records(self, rows: Rows) -> Iterator[Video]:
        """The whole rows of these numbers, in their order; no part is opened that has none.

        Args:
            rows: int64 [N], ascending.
        """
        cuts = np.searchsorted(rows, self._ends).tolist()
        starts = [0, *self._ends.tolist()]
        for part, start, low, high in zip(self._parts, starts, [0, *cuts], cuts, strict=False):
            if low < high:
                whole = pa.concat_tables(iter_part(part))
                yield from records_from_table(taken(whole, rows[low:high] - start), record=Video)


def taken(table: pa.Table, rows: Rows) -> pa.Table:
    """These rows of a table; nothing is copied of those that follow each other, or of none."""
    if not len(rows):
        return table.slice(0, 0)
    first = int(rows[0])
    if np.array_equal(rows, np.arange(first, first + len(rows))):
        return table.slice(first, len(rows))
    return table.take(column_of(rows))


def _piece(part: PartRef) -> pa.Table:
    rows = pa.concat_tables(iter_part(part, columns=_COLUMNS, batch_rows=_ROWS))
    return _lean(rows.replace_schema_metadata())


def _lean(rows: pa.Table) -> pa.Table:
    """The same rows, a chunk at most `_ROWS`; one that equals the chunk before shares its memory.

    Most have as many rows, of one split, without windows, and all of them ok.
    """
    columns = [
        pa.chunked_array([_shared(name, chunk) for chunk in column.chunks], column.type)
        for name, column in zip(rows.column_names, rows.columns, strict=True)
    ]
    return pa.table(columns, schema=rows.schema)


def _shared(name: str, chunk: pa.Array) -> pa.Array:
    before = _before.get(name)
    if before is not None and chunk.equals(before):
        return before
    _before[name] = chunk
    return chunk


def _batches(pieces: Iterable[pa.Table]) -> Iterator[pa.Table]:
    """Pieces end to end, so many at once that their number does not matter."""
    some: list[pa.Table] = []
    for piece in chain(pieces, [None]):
        if some and (piece is None or sum(one.num_rows for one in some) >= _ROWS):
            yield pa.concat_tables(some)
            some = []
        if piece is not None and piece.num_rows:
            some.append(piece)


def columns_with_marks(corpus: Snapshot | None) -> Iterator[pa.Table]:
    """The batches of `video_columns` with where the files were and what was seen of them.

    What is not known of rows of earlier versions is 0. The parts are opened once for both.
    """
    return _batches(_marked(corpus)) if corpus is not None else iter(())


def _marked(corpus: Snapshot) -> Iterator[pa.Table]:
    for part in corpus.parts("videos"):
        wanted = [*_COLUMNS, "path", "bytes", "mtime_ns"]
        read = iter_part(part, columns=wanted, optional=_LATER, batch_rows=_ROWS)
        rows = pa.concat_tables(read)
        for name in _LATER:
            if name not in rows.column_names:
                unknown = pa.array([0] * rows.num_rows, pa.int64())
                rows = rows.append_column(VIDEO_SCHEMA.field(name), unknown)
        rows = rows.select([*wanted, *_LATER]).replace_schema_metadata()
        _kept.learn(part, _lean(rows.select(_COLUMNS)))
        yield rows


_kept: PartMemo[pa.Table] = PartMemo()
_before: dict[str, pa.Array] = {}
"""By column the chunk that was read last."""
_read: WeakKeyDictionary[Snapshot, VideoColumns] = WeakKeyDictionary()


def video_columns(corpus: Snapshot | None) -> VideoColumns:
    """The columns of a corpus; read once as long as somebody holds the snapshot.

    Args:
        corpus: the snapshot in force; None: nothing yet.
    """
    if corpus is None:
        return VideoColumns(None)
    if corpus not in _read:
        _read[corpus] = VideoColumns(corpus)
    return _read[corpus]
