"""NumPy: a file a column, which `np.load(…, mmap_mode="r")` maps."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import ExitStack
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv

from reelvec.errors import RequestError
from reelvec.storage.vectors import vectors_of
from reelvec.tasks.exports.contract import ExportSettings, Target
from reelvec.tasks.exports.source import ExportSource, is_vector

__all__ = ["NumpyFiles", "matrix_of", "write_facts_of", "write_ids"]


class NumpyFiles(Target):
    """`videos.ids.npy`, a .npy for each column of vectors, `videos.csv` for the others."""

    name = "numpy"
    opened_by = 'numpy.load("OUT/videos.embedding.npy", mmap_mode="r"), rows as in videos.ids.npy'

    def write(self, source: ExportSource, folder: Path, *, settings: ExportSettings) -> None:
        """One pass for the vectors, two for the ids."""
        del settings
        for table in source.tables:
            write_ids(source, table, folder)
            write_facts_of(source, table, folder)
            _write_vectors(source, table, folder)


def write_ids(source: ExportSource, table: str, folder: Path) -> None:
    """`TABLE.ids.npy`: the key of each row, [N] text as wide as the longest."""
    key = source.schema(table).names[0]
    widest = 1
    for rows in source.rows(table, [key]):
        lengths = pc.max(pc.utf8_length(rows.column(key))).as_py()
        widest = max(widest, lengths or 0)
    dtype = np.dtype(f"<U{widest}")
    with (folder / f"{table}.ids.npy").open("wb") as file:
        _write_header(file, dtype, (source.count(table),))
        for rows in source.rows(table, [key]):
            file.write(np.array(rows.column(key).to_pylist(), dtype).tobytes())


def write_facts_of(source: ExportSource, table: str, folder: Path) -> None:
    """`TABLE.csv`: the columns that are no vectors."""
    schema = source.schema(table)
    facts = [field for field in schema if not is_vector(field.type)]
    with pa.csv.CSVWriter(folder / f"{table}.csv", pa.schema(facts)) as writer:
        for rows in source.rows(table, [field.name for field in facts]):
            writer.write_table(rows)


def matrix_of(column: pa.ChunkedArray | pa.Array, *, name: str) -> npt.NDArray[np.generic]:
    """[rows, numbers a row] of a column of vectors, a view where there is one chunk; NaN for null.

    Raises:
        RequestError: rows of different lengths.
    """
    array = column
    if isinstance(column, pa.ChunkedArray):  # combining copies, even what is in one piece
        array = column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()
    if not pa.types.is_fixed_size_list(array.type):
        raise RequestError(
            f"the column ({name}) has rows of different lengths ({array.type}), which no matrix"
            " holds; export to parquet"
        )
    matrix: npt.NDArray[np.generic] = vectors_of(array)
    return matrix


def _write_vectors(source: ExportSource, table: str, folder: Path) -> None:
    names = source.vector_columns(table)
    schema = source.schema(table)
    with ExitStack() as files:
        opened: dict[str, IO[bytes]] = {}
        for name in names:
            kind = schema.field(name).type
            if not pa.types.is_fixed_size_list(kind):
                matrix_of(pa.array([], kind), name=name)
            file = opened[name] = files.enter_context((folder / f"{table}.{name}.npy").open("wb"))
            dtype = np.dtype(kind.value_type.to_pandas_dtype())
            _write_header(file, dtype, (source.count(table), kind.list_size))
        for rows in _nonempty(source.rows(table, names)) if names else ():
            for name in names:
                matrix = np.ascontiguousarray(matrix_of(rows.column(name), name=name))
                opened[name].write(matrix.data)


def _nonempty(pieces: Iterable[pa.Table]) -> Iterable[pa.Table]:
    return (piece for piece in pieces if piece.num_rows)


def _write_header(file: IO[bytes], dtype: np.dtype[Any], shape: tuple[int, ...]) -> None:
    descr = np.lib.format.dtype_to_descr(dtype)
    header = {"descr": descr, "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(file, header)
