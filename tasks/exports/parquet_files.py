"""Parquet: a file a table, for pandas, Polars, DuckDB and everything else."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from reelvec.storage.parquet_writer import open_parquet
from reelvec.storage.tables import described
from reelvec.tasks.exports.contract import ExportSettings, Target
from reelvec.tasks.exports.source import ExportSource

__all__ = ["EXPORT", "ParquetFiles", "export_metadata"]

EXPORT = "reelvec.export"
"""Key of the schema's metadata under which the facts of the export stand as JSON."""


class ParquetFiles(Target):
    """`videos.parquet` and `captions.parquet`, every column as it is stored."""

    name = "parquet"
    opened_by = "pandas.read_parquet('OUT/videos.parquet'), or SELECT * FROM 'OUT/videos.parquet'"

    def write(self, source: ExportSource, folder: Path, *, settings: ExportSettings) -> None:
        """One pass over each table."""
        del settings
        for table in source.tables:
            schema = described(source.schema(table), export_metadata(source))
            with open_parquet(folder / f"{table}.parquet", schema) as writer:
                for rows in source.rows(table):
                    writer.write_table(rows.cast(schema))


def export_metadata(source: ExportSource) -> Mapping[str, str]:
    """For the schema of a file: whose rows it holds."""
    return {EXPORT: json.dumps(source.facts, sort_keys=True)}
