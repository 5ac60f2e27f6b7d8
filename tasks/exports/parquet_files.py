"""Parquet: a file a table, for pandas, Polars, DuckDB and everything else."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from reelvec.storage.tables import described
from reelvec.tasks.exports.contract import ExportSettings, Target
from reelvec.tasks.exports.source import ExportSource, is_vector

__all__ = ["EXPORT", "ParquetFiles", "export_metadata", "parquet_writer"]

EXPORT = "reelvec.export"
"""Key of the schema's metadata under which the facts of the export stand as JSON."""

_NUMBERS_AT_ONCE = 1 << 16
"""Of a column; the default, 1024, is two vectors, and takes a third longer."""


class ParquetFiles(Target):
    """`videos.parquet` and `captions.parquet`, every column as it is stored."""

    name = "parquet"
    opened_by = "pandas.read_parquet(OUT/videos.parquet), or SELECT * FROM 'OUT/videos.parquet'"

    def write(self, source: ExportSource, folder: Path, *, settings: ExportSettings) -> None:
        """One pass over each table."""
        del settings
        for table in source.tables:
            schema = described(source.schema(table), export_metadata(source))
            with parquet_writer(folder / f"{table}.parquet", schema) as writer:
                for rows in source.rows(table):
                    writer.write_table(rows.cast(schema))


def export_metadata(source: ExportSource) -> Mapping[str, str]:
    """For the schema of a file: whose rows it holds."""
    return {EXPORT: json.dumps(source.facts, sort_keys=True)}


def parquet_writer(path: Path, schema: pa.Schema, **options: Any) -> pq.ParquetWriter:
    """Text is compressed; vectors are not, which would take time and save little."""
    plain = [field.name for field in schema if not is_vector(field.type)]
    compression = {
        f"{field.name}.list.element" if is_vector(field.type) else field.name: (
            "none" if is_vector(field.type) else "zstd"
        )
        for field in schema
        if not pa.types.is_struct(field.type)
    }
    settings: dict[str, Any] = {
        "compression": compression,
        "use_dictionary": plain,
        "write_statistics": plain,
    }
    settings["write_batch_size"] = _NUMBERS_AT_ONCE
    return pq.ParquetWriter(path, schema, **{**settings, **options})
