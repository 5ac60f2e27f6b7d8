"""LanceDB: a database with a table for each of ours."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa

from reelvec.storage.tables import described
from reelvec.tasks.exports.contract import ExportSettings, Target
from reelvec.tasks.exports.parquet_files import export_metadata
from reelvec.tasks.exports.source import ExportSource

__all__ = ["LanceTables"]


class LanceTables(Target):
    """Tables `videos` and `captions`, every column; their schema's metadata says of what run."""

    name = "lancedb"
    opened_by = 'lancedb.connect("OUT").open_table("videos")'
    package = "lancedb"

    def write(self, source: ExportSource, folder: Path, *, settings: ExportSettings) -> None:
        """Batches go through as they are read."""
        del settings
        import lancedb

        database = lancedb.connect(str(folder))
        for table in source.tables:
            schema = described(source.schema(table), export_metadata(source))
            batches = (
                batch for rows in source.rows(table) for batch in rows.cast(schema).to_batches()
            )
            reader = pa.RecordBatchReader.from_batches(schema, batches)
            database.create_table(table, reader)
