"""Shards of features as Arrow IPC files: a row a key, memory-mapped, so that any row is read alone.

The first column is the key; every other one holds fixed-size lists of numbers. Any Arrow reader
opens them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from reelvec.storage.commits.artifact import PartRef, Snapshot
from reelvec.storage.errors import IntegrityError, MissingArtifactError
from reelvec.storage.places.failures import WRITE_FAILURES, explained
from reelvec.storage.tables import described
from reelvec.storage.vectors import check_finite

__all__ = ["FeatureReader", "write_features"]

Columns = dict[str, npt.NDArray[np.generic]]


def write_features(path: Path, table: pa.Table, *, metadata: Mapping[str, str]) -> None:
    """Write one shard; the same rows and metadata give the same bytes.

    Args:
        path: a local path, usually `PartWriter.path`.
        table: the key, then fixed-size lists of numbers.
        metadata: added to the schema's own.

    Raises:
        NotFiniteError: a row holds NaN or infinity; nothing is written.
        StoreError: the disk is full or read-only.
    """
    check_finite(table)
    whole = table.cast(described(table.schema, metadata)).combine_chunks()
    with (
        explained("write", path=path, only=WRITE_FAILURES),
        path.open("wb") as file,
        pa.ipc.new_file(file, whole.schema) as writer,
    ):
        writer.write_table(whole)


class FeatureReader:
    """Rows of one table of features by key, in batches.

    Parts are opened when they are first needed; their checksum is verified then.
    """

    def __init__(self, snapshot: Snapshot, table: str) -> None:
        self._snapshot, self._table = snapshot, table
        self._parts: list[PartRef] = snapshot.parts(table)
        self._part_of = {
            row.key: number for number, part in enumerate(self._parts) for row in part.outcomes()
        }
        self._open: dict[int, tuple[dict[str, int], Columns]] = {}

    def __contains__(self, key: str) -> bool:
        return key in self._part_of

    def __len__(self) -> int:
        return len(self._part_of)

    def gather(self, keys: Sequence[str]) -> Columns:
        """Name -> [n, numbers a row] of these keys, in their order; at least one.

        Raises:
            MissingArtifactError: a key has no features in this snapshot.
            IntegrityError: a part is not what its receipt promised.
        """
        rows = [self._row(key) for key in keys]
        first = rows[0][0]
        out = {name: np.empty((len(keys), x.shape[1]), dtype=x.dtype) for name, x in first.items()}
        for place, (columns, row) in enumerate(rows):
            for name, values in columns.items():
                out[name][place] = values[row]
        return out

    def _row(self, key: str) -> tuple[Columns, int]:
        number = self._part_of.get(key)
        if number is None:
            raise MissingArtifactError(
                f"no features of ({key}) among the {self._table} of {self._snapshot!r}; run the"
                " stage train",
                path=self._snapshot.artifact.folder,
            )
        if number not in self._open:
            self._open[number] = _opened(self._parts[number])
        places, columns = self._open[number]
        return columns, places[key]


def _opened(part: PartRef) -> tuple[dict[str, int], Columns]:
    """Where each key stands, and views of the columns; copies nothing."""
    path = part.path
    try:
        with explained("read", path=path):
            table = pa.ipc.open_file(pa.memory_map(str(path), "r")).read_all()
        keys = table.column(0).to_pylist()
        columns = {name: _view(table.column(name)) for name in table.column_names[1:]}
    except (pa.ArrowInvalid, IndexError) as error:
        raise IntegrityError(
            f"{part!r} is no shard of features ({error}); it is damaged or not ours",
            path=part.part,
        ) from error
    return {key: row for row, key in enumerate(keys)}, columns


def _view(column: pa.ChunkedArray) -> npt.NDArray[np.generic]:
    """[rows, numbers a row]; a shard is one batch of rows."""
    view: npt.NDArray[np.generic] = column.chunk(0).flatten().to_numpy(zero_copy_only=True)
    return view.reshape(-1, column.type.list_size)
