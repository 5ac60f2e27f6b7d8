"""FAISS: an exact index a table; row i of the index is row i of the ids."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from reelvec.models.features import EMBEDDING
from reelvec.tasks.exports.contract import ExportSettings, Target
from reelvec.tasks.exports.numpy_files import matrix_of, write_facts_of, write_ids
from reelvec.tasks.exports.source import ExportSource

__all__ = ["FaissIndex"]


class FaissIndex(Target):
    """`videos.faiss` (IndexFlatIP: products, which are cosines), `videos.ids.npy`, `videos.csv`.

    FAISS holds an index in memory while it writes it, as it does where it is read: 4 bytes a
    number.
    """

    name = "faiss"
    opened_by = 'faiss.read_index("OUT/videos.faiss"), ids in videos.ids.npy'
    package = "faiss"

    def write(self, source: ExportSource, folder: Path, *, settings: ExportSettings) -> None:
        """One index after the other."""
        del settings
        import faiss

        source.check_vector(self.name)
        for table in source.tables:
            write_ids(source, table, folder)
            write_facts_of(source, table, folder)
            index = faiss.IndexFlatIP(source.schema(table).field(EMBEDDING).type.list_size)
            for rows in source.rows(table, [EMBEDDING]):
                vectors = matrix_of(rows.column(EMBEDDING), name=EMBEDDING)
                index.add(np.ascontiguousarray(vectors, np.float32))
            faiss.write_index(index, str(folder / f"{table}.faiss"))
