"""How a Parquet part is written: the settings that decide its bytes, column by column."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

__all__ = ["is_list", "is_vector", "open_parquet"]

_NUMBERS_AT_ONCE = 1 << 16
"""Of a column; the default, 1024, is two vectors, and takes longer."""


def open_parquet(path: Path, schema: pa.Schema) -> pq.ParquetWriter:
    """A writer whose settings decide the bytes: zstd and dictionaries, but none for vectors.

    Compressing vectors would save a twelfth of them, and take twice the time, written and read.
    Pictures (structs) are compressed already.
    """
    fields = [field for field in schema if not is_vector(field.type)]
    plain = [_leaf(field) for field in fields if not pa.types.is_struct(field.type)]
    return pq.ParquetWriter(
        path,
        schema,
        version="2.6",
        compression=dict.fromkeys(plain, "zstd"),
        use_dictionary=[_leaf(field) for field in fields if not _numeric(field.type)],
        write_statistics=plain,
        write_batch_size=_NUMBERS_AT_ONCE,
        store_schema=True,
    )


def _leaf(field: pa.Field) -> str:
    """What Parquet calls the column."""
    name, kind = str(field.name), field.type
    while is_list(kind):
        name, kind = f"{name}.list.element", kind.value_type
    return name


def _numeric(kind: pa.DataType) -> bool:
    while is_list(kind):
        kind = kind.value_type
    return bool(pa.types.is_floating(kind) or pa.types.is_integer(kind))


def is_vector(kind: pa.DataType) -> bool:
    """Whether it is lists of floats, at any depth."""
    leaf = kind
    while is_list(leaf):
        leaf = leaf.value_type
    return is_list(kind) and bool(pa.types.is_floating(leaf))


def is_list(kind: pa.DataType) -> bool:
    """Of any length, or of one."""
    return bool(
        pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)
    )
