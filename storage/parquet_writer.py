"""How a Parquet part is written: the settings that decide its bytes, column by column."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from reelvec.storage.vectors import is_list, is_vector

__all__ = ["open_parquet"]


def open_parquet(path: Path, schema: pa.Schema) -> pq.ParquetWriter:
    """A writer whose settings decide the bytes: zstd and dictionaries, but none for vectors."""
    # compressing these saves a twelfth and takes twice the time; pictures (structs) are compressed
    fields = [f for f in schema if not is_vector(f.type) and not pa.types.is_struct(f.type)]
    leaves = dict(map(_leaf, fields))
    return pq.ParquetWriter(
        path,
        schema,
        version="2.6",
        compression=dict.fromkeys(leaves, "zstd"),
        use_dictionary=[name for name, number in leaves.items() if not number],
        write_statistics=list(leaves),
        write_batch_size=1 << 16,  # numbers; the default, 1024, is two vectors, and slower
    )


def _leaf(field: pa.Field) -> tuple[str, bool]:
    """What Parquet calls the column, and whether it is of numbers."""
    name, kind = str(field.name), field.type
    while is_list(kind):
        name, kind = f"{name}.list.element", kind.value_type
    return name, bool(pa.types.is_floating(kind) or pa.types.is_integer(kind))
