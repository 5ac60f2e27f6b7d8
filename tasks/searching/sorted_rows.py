"""Rows of a table by their key: an Arrow file in the order of the keys, mapped, searched in halves.

Nothing of it is held as Python objects but the rows that are asked for.
"""

from __future__ import annotations

import bisect
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

__all__ = ["SortedRows", "write_sorted"]

_BATCH_ROWS = 65_536


class SortedRows:
    """A table whose first column is its key, in ascending order (of the keys' UTF-8 bytes).

    Args:
        path: what `write_sorted` wrote.
    """

    def __init__(self, path: Path) -> None:
        with pa.memory_map(str(path)) as source:
            self.table: pa.Table = pa.ipc.open_file(source).read_all()
        self._keys = self.table.column(0)

    def __len__(self) -> int:
        return int(self.table.num_rows)

    def key(self, row: int) -> str:
        """The key of a row."""
        key: str = self._keys[row].as_py()
        return key

    def find(self, key: str) -> int | None:
        """The row of a key; None: there is none."""
        row = self.place(key)
        return row if row < len(self) and self.key(row) == key else None

    def place(self, key: str) -> int:
        """The row where a key stands or would stand."""
        return bisect.bisect_left(range(len(self)), key, key=self.key)


def write_sorted(path: Path, rows: pa.Table) -> pa.Array:
    """Writes `rows` by their first column, and says where each went.

    Returns:
        order int64 [n]: row i of the file is row order[i] of `rows`.
    """
    rows = rows.replace_schema_metadata(None)
    order = pc.sort_indices(rows, sort_keys=[(rows.column_names[0], "ascending")])
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, rows.schema) as writer:
        for start in range(0, len(order), _BATCH_ROWS):
            writer.write_table(rows.take(order.slice(start, _BATCH_ROWS)).combine_chunks())
    return order
