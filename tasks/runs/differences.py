"""What two snapshots of tables differ in: rows that are new, gone or changed, and in which columns.

Memory holds one digest of each key of a table and eight bytes a column, and the rows that differ;
never the rows themselves. Values are equal where their xxh3-64 are, a key where its xxh3-128 is.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import xxhash
from numpy.typing import NDArray

from reelvec.storage.commits.artifact import Artifact, Snapshot
from reelvec.storage.digests import DigestSet, digests
from reelvec.storage.errors import MissingArtifactError, StoreError
from reelvec.storage.naming import choose_run, places_of
from reelvec.storage.roots import Root, open_root
from reelvec.storage.tables import iter_tables
from reelvec.tasks.runs.status import full_fingerprint

__all__ = ["ChangedRow", "Difference", "TableDifference", "compare_tables", "diff_tables"]

_AT = "@"
TABLES = ("videos", "captions")


@dataclass(frozen=True, slots=True)
class ChangedRow:
    """A row that differs."""

    table: str
    key: str
    change: str
    """new, gone or changed."""
    columns: tuple[str, ...] = ()
    """Of a changed row, those that differ."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TableDifference:
    """What one table differs in."""

    table: str
    rows: tuple[int, int]
    """In the first and in the second."""
    new: int
    gone: int
    changed: int
    same: int
    only_first: tuple[str, ...] = ()
    """Columns that the second has not; they are not compared."""
    only_second: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """What two snapshots differ in."""

    first: str
    second: str
    """As fingerprint@number."""
    tables: tuple[TableDifference, ...]
    rows: tuple[ChangedRow, ...]
    """Table by table: gone and changed in the first's order, then new in the second's."""

    @property
    def is_same(self) -> bool:
        """Whether every row of the one is in the other."""
        return not self.rows and not any(t.only_first or t.only_second for t in self.tables)


def diff_tables(store: str, first: str, second: str) -> Difference:
    """Compare the tables of two runs or snapshots.

    Args:
        store: its root.
        first: a run's name, its identifier, an alias; with @N the snapshot N of its tables; or the
            first digits of the tables' identity with @N.
        second: the same.

    Raises:
        MissingArtifactError: there is no such run, or gc has removed the snapshot.
    """
    root = open_root(store)
    return compare_tables(_snapshot(root, first), _snapshot(root, second))


def _snapshot(root: Root, words: str) -> Snapshot:
    name, at, number = words.rpartition(_AT)
    if not at:
        chosen = choose_run(root, words)
        place = places_of(root, chosen.record, as_ended=chosen.as_ended)["embeddings"]
        return Artifact.find(root, kind="embeddings", fingerprint=place[0]).at(place[1])
    if not number.isdecimal():
        raise StoreError(f"({words}): after @ stands the number of a snapshot, e.g. {name}@3")
    artifact = Artifact.find(root, kind="embeddings", fingerprint=_fingerprint(root, name))
    try:
        return artifact.at(int(number))
    except MissingArtifactError:
        there = ", ".join(map(str, artifact.numbers())) or "none"
        raise MissingArtifactError(
            f"the tables of ({name}) have no snapshot {number} any more, or never had; there are:"
            f" {there}",
            path=artifact.folder,
        ) from None


def _fingerprint(root: Root, name: str) -> str:
    try:
        record = choose_run(root, name).record
    except MissingArtifactError:
        try:
            return full_fingerprint(root.uri, kind="embeddings", prefix=name)
        except StoreError:
            pass
        raise
    return places_of(root, record, as_ended=True)["embeddings"][0]


def compare_tables(first: Snapshot, second: Snapshot) -> Difference:
    """What two snapshots of embedding tables differ in.

    Raises:
        IntegrityError: a part is not what its receipt promised.
    """
    made = [_compare(first, second, table=table) for table in TABLES]
    return Difference(
        first=f"{first.artifact.fingerprint}{_AT}{first.number}",
        second=f"{second.artifact.fingerprint}{_AT}{second.number}",
        tables=tuple(table for table, _ in made),
        rows=tuple(row for _, rows in made for row in rows),
    )


def _compare(
    first: Snapshot, second: Snapshot, *, table: str
) -> tuple[TableDifference, list[ChangedRow]]:
    columns = _columns(first, table), _columns(second, table)
    key = (columns[0] or columns[1] or ("",))[0]
    common = [name for name in columns[0] if name in columns[1] and name != key]
    keys: list[NDArray[np.uint64]] = []
    contents = [np.zeros((0, len(common)), np.uint64)]
    for ids, values in _digested(second, table, key, common):
        keys.append(digests(ids))
        contents.append(values)
    known, content = DigestSet(keys), np.concatenate(contents)
    seen = np.zeros(len(known), bool)
    differ: list[ChangedRow] = []
    same = 0
    for ids, values in _digested(first, table, key, common):
        places = known.find(digests(ids))
        seen[places[places >= 0]] = True
        for row in np.flatnonzero(places < 0):
            differ.append(ChangedRow(table, ids[row], "gone"))
        there = np.flatnonzero(places >= 0)
        unequal = values[there] != content[places[there]]
        for row, marks in zip(there, unequal, strict=True):
            if marks.any():
                names = tuple(name for name, mark in zip(common, marks, strict=True) if mark)
                differ.append(ChangedRow(table, ids[row], "changed", names))
            else:
                same += 1
    differ += [ChangedRow(table, one, "new") for one in _unseen(second, table, key, seen)]
    counts = {
        what: sum(row.change == what for row in differ) for what in ("new", "gone", "changed")
    }
    difference = TableDifference(
        table=table,
        rows=(same + counts["gone"] + counts["changed"], len(known)),
        same=same,
        only_first=tuple(name for name in columns[0] if columns[1] and name not in columns[1]),
        only_second=tuple(name for name in columns[1] if columns[0] and name not in columns[0]),
        **counts,
    )
    return difference, differ


def _columns(snapshot: Snapshot, table: str) -> tuple[str, ...]:
    """Names of a table's columns, its key first; none: it has no such table."""
    first = next(iter_tables(snapshot, table), None)
    return () if first is None else tuple(first.column_names)


def _digested(
    snapshot: Snapshot, table: str, key: str, columns: Sequence[str]
) -> Iterator[tuple[list[str], NDArray[np.uint64]]]:
    """Keys of some rows, and the digest of each of their values, uint64 [N, C]."""
    for piece in iter_tables(snapshot, table, columns=[key, *columns]) if key else ():
        values = np.empty((piece.num_rows, len(columns)), np.uint64)
        for place, name in enumerate(columns):
            values[:, place] = _digests_of(piece.column(name).combine_chunks())
        yield piece.column(key).to_pylist(), values


def _digests_of(column: pa.Array) -> NDArray[np.uint64]:
    """Of each value: the bytes of vectors, the text of all else."""
    if pa.types.is_fixed_size_list(column.type) and not column.null_count:
        flat = np.ascontiguousarray(column.flatten().to_numpy(zero_copy_only=False))
        rows = flat.reshape(len(column), -1) if len(column) else flat.reshape(0, 1)
        texts: Iterator[bytes] = (row.tobytes() for row in rows)
    else:
        texts = (repr(value).encode() for value in column.to_pylist())
    return np.fromiter(map(xxhash.xxh3_64_intdigest, texts), np.uint64, len(column))


def _unseen(snapshot: Snapshot, table: str, key: str, seen: NDArray[np.bool_]) -> Iterator[str]:
    start = 0
    for piece in iter_tables(snapshot, table, columns=[key]) if not seen.all() else ():
        ids = piece.column(key).to_pylist()
        for row in np.flatnonzero(~seen[start : start + len(ids)]):
            yield ids[row]
        start += len(ids)
