"""A table of a snapshot as a sequence of records that are made as they are read, and not kept."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TypeVar, overload

from reelvec.storage.commits.artifact import Snapshot
from reelvec.storage.records import records_from_table
from reelvec.storage.tables import iter_tables

__all__ = ["StoredRows"]

R = TypeVar("R")


class StoredRows(Sequence[R]):
    """Rows in force, part by part; every iteration reads the table again.

    Args:
        snapshot: where they are.
        table: which one.
        record: the dataclass of its rows.
    """

    def __init__(self, snapshot: Snapshot, table: str, *, record: type[R]) -> None:
        self._snapshot = snapshot
        self._table = table
        self._record = record

    def __len__(self) -> int:
        return self._snapshot.rows_of(self._table)

    def __iter__(self) -> Iterator[R]:
        for piece in iter_tables(self._snapshot, self._table):
            yield from records_from_table(piece, record=self._record)

    @overload
    def __getitem__(self, index: int) -> R: ...

    @overload
    def __getitem__(self, index: slice) -> list[R]: ...

    def __getitem__(self, index: int | slice) -> R | list[R]:
        """Reads the whole table: iterate where that matters."""
        return list(self)[index]
