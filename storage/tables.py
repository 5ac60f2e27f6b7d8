"""Parquet parts: deterministic bytes, identity in the schema metadata, superseded rows left out.

The first column of a table is its key (video_id, caption_id), the one ledgers and snapshots name
rows by.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from reelvec.storage.commits.views import PartRef, Snapshot
from reelvec.storage.errors import (
    IdentityError,
    IntegrityError,
    MissingArtifactError,
)
from reelvec.storage.layout import canonical
from reelvec.storage.parquet_writer import open_parquet
from reelvec.storage.places.failures import WRITE_FAILURES, explained
from reelvec.storage.vectors import check_finite

__all__ = [
    "IDENTITY",
    "concat_tables",
    "described",
    "identity_metadata",
    "identity_of",
    "iter_part",
    "iter_tables",
    "read_table",
    "schema_text",
    "write_pieces",
    "write_table",
]

IDENTITY = "reelvec.identity"
"""Schema metadata key under which a table's identity stands as JSON."""

_BATCH_ROWS = 16_384
_SMALL = 1 << 18
"""Bytes; a part of 512 videos of a corpus has a tenth."""


def identity_metadata(identity: Mapping[str, object]) -> dict[str, str]:
    """What `write_table` stores so that readers can refuse tables of another identity."""
    return {IDENTITY: canonical(identity).decode()}


def identity_of(path: Path) -> dict[str, Any] | None:
    """The identity a Parquet file carries; None where it is another file, or damaged there."""
    try:
        text = (pq.read_schema(path).metadata or {}).get(IDENTITY.encode())
        document = json.loads(text) if text else None
    except (OSError, ValueError, pa.ArrowException):
        return None
    return document if isinstance(document, dict) else None


def schema_text(schema: pa.Schema) -> str:
    """Column names and types on one line, for receipts."""
    return ", ".join(f"{field.name}: {field.type}" for field in schema)


def write_table(
    path: Path,
    table: pa.Table,
    *,
    metadata: Mapping[str, str],
    row_group_rows: int = 4096,
) -> None:
    """Writes one Parquet file; the same rows, metadata and pyarrow give the same bytes.

    Args:
        path: a local path, usually `PartWriter.path`.
        table: rows; the first column is the key.
        metadata: added to the schema's own, `identity_metadata(...)` among it.
        row_group_rows: rows a row group, the unit of reading.

    Raises:
        NotFiniteError: a vector in it holds NaN or infinity; nothing is written.
        StoreError: the disk is full or read-only.
    """
    check_finite(table)
    schema = described(table.schema, metadata)
    with explained("write", path=path, only=WRITE_FAILURES), open_parquet(path, schema) as writer:
        writer.write_table(table.cast(schema), row_group_size=row_group_rows)


def write_pieces(
    path: Path, pieces: Iterable[pa.Table], *, metadata: Mapping[str, str]
) -> tuple[int, pa.Schema]:
    """Writes one Parquet file of tables that come one by one, a row group each.

    Args:
        path: a local path, usually `PartWriter.path`.
        pieces: of equal columns, one at least; the first may be empty.
        metadata: added to the schema's own.

    Returns:
        Rows, and the schema without metadata.

    Raises:
        NotFiniteError: a vector holds NaN or infinity.
        StoreError: the disk is full or read-only.
    """
    made = iter(pieces)
    first = next(made)
    schema = described(first.schema, metadata)
    rows = 0
    with explained("write", path=path, only=WRITE_FAILURES), open_parquet(path, schema) as writer:
        for piece in chain([first], made):
            if piece.num_rows:
                check_finite(piece)
                writer.write_table(piece.cast(schema))
                rows += piece.num_rows
    return rows, first.schema


def described(schema: pa.Schema, metadata: Mapping[str, str]) -> pa.Schema:
    """The schema with `metadata` added, in sorted order."""
    own = {key.decode(): value.decode() for key, value in (schema.metadata or {}).items()}
    return schema.with_metadata(dict(sorted((own | dict(metadata)).items())))


def read_table(
    snapshot: Snapshot,
    table: str,
    *,
    columns: Sequence[str] | None = None,
    key_column: str | None = None,
    schema: pa.Schema | None = None,
) -> pa.Table:
    """All rows of a table in force, part by part in the order of publication.

    Args:
        snapshot: where from.
        table: which one.
        columns: these only, in this order (None: all).
        key_column: the column superseded keys are looked up in (None: the first).
        schema: what an empty table looks like where the snapshot has no part of it.

    Raises:
        MissingArtifactError: no part of that table, and no schema given.
        IdentityError: parts of different identities.
        IntegrityError: a part is not what its receipt promised.
    """
    pieces = list(iter_tables(snapshot, table, columns=columns, key_column=key_column))
    if pieces:
        return concat_tables(pieces)
    if schema is None:
        raise MissingArtifactError(
            f"{snapshot!r} has no table {table!r}, only {', '.join(snapshot.tables) or 'none'}",
            path=snapshot.artifact.folder,
        )
    empty = schema.empty_table()
    return empty.select(list(columns)) if columns is not None else empty


def iter_tables(
    snapshot: Snapshot,
    table: str,
    *,
    columns: Sequence[str] | None = None,
    key_column: str | None = None,
    batch_rows: int = _BATCH_ROWS,
) -> Iterator[pa.Table]:
    """The same rows in pieces of at most `batch_rows`, so that memory does not grow with them.

    A part without rows in force yields one empty piece, for its schema.
    """
    for part in snapshot.parts(table):
        yield from iter_part(part, columns=columns, key_column=key_column, batch_rows=batch_rows)


def iter_part(
    part: PartRef,
    *,
    columns: Sequence[str] | None = None,
    key_column: str | None = None,
    batch_rows: int = _BATCH_ROWS,
    optional: Collection[str] = (),
) -> Iterator[pa.Table]:
    """Rows of one part in force, in pieces; `optional` columns may be missing in it."""
    path = part.path
    small = part.entry.bytes <= _SMALL  # is read at once and by one thread: two thirds of the time
    try:
        with explained("read", path=path), _opened(path, small=small) as file:
            there = file.schema_arrow.names
            names = [c for c in there if c in optional] if optional else []
            names = [*columns, *names] if columns is not None else there
            key = key_column or there[0]
            wanted = names if key in names or not part.dropped else [*names, key]
            empty = True
            for batch in file.iter_batches(
                batch_size=batch_rows, columns=wanted, use_threads=not small
            ):
                rows = _without(
                    pa.Table.from_batches([batch]), key=key, dropped=part.dropped
                ).select(names)
                if rows.num_rows:
                    empty = False
                    yield rows
            if empty:
                yield file.schema_arrow.empty_table().select(names)
    except pa.ArrowInvalid as error:
        raise IntegrityError(f"{part!r} is no Parquet file ({error})", path=part.part) from error


def _opened(path: Path, *, small: bool) -> pq.ParquetFile:
    if small:
        return pq.ParquetFile(pa.BufferReader(path.read_bytes()))
    return pq.ParquetFile(path, memory_map=True)


def _without(rows: pa.Table, *, key: str, dropped: Collection[str]) -> pa.Table:
    if not dropped:
        return rows
    gone = pc.is_in(rows[key], value_set=pa.array(sorted(dropped), rows.schema.field(key).type))
    return rows.filter(pc.invert(gone))


def concat_tables(tables: Sequence[pa.Table]) -> pa.Table:
    """One table from several of the same identity.

    Raises:
        IdentityError: they were not made in the same way; the message shows both identities.
    """
    first = _identity(tables[0])
    for other in tables[1:]:
        if _identity(other) != first:
            raise IdentityError(
                "these tables were not made in the same way and cannot be combined: "
                f"{first or '(no identity)'} and {_identity(other) or '(no identity)'}; "
                "make both with the same weights, frames and settings"
            )
    return pa.concat_tables(tables)


def _identity(table: pa.Table) -> str:
    text = (table.schema.metadata or {}).get(IDENTITY.encode(), b"")
    return text.decode() if isinstance(text, bytes) else ""
