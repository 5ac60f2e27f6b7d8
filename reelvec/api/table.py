"""A table of a run, as Arrow, pandas or NumPy; rows that are superseded are never among them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from reelvec.errors import RequestError
from reelvec.storage.commits.artifact import Snapshot
from reelvec.storage.errors import MissingArtifactError
from reelvec.storage.tables import iter_tables, read_table
from reelvec.storage.vectors import vectors_of

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["TABLES", "Table", "array_of"]

_ROWS = 16_384


TABLES: Mapping[str, tuple[str, str]] = {
    "videos": ("embeddings", "videos"),
    "captions": ("embeddings", "captions"),
    "windows": ("embeddings", "windows"),
    "metrics": ("evaluation", "metrics"),
    "ranks": ("evaluation", "ranks"),
    "video_ranks": ("evaluation", "video_ranks"),
    "coverage": ("evaluation", "coverage"),
    "moments": ("evaluation", "moments"),
    "corpus_videos": ("corpus", "videos"),
    "corpus_captions": ("corpus", "captions"),
    "training_set": ("checkpoint", "training_set"),
}
"""Name -> (kind of artifact, table in it)."""


class Table:
    """One table at one snapshot; nothing is read before it is asked for.

    Rows come in the order they were published in, the same on every call. The first column is the
    key (`video_id`, `caption_id`).

    Attributes:
        name: of the table within its artifact, e.g. videos.
        identity: fingerprint of the artifact, 32 hex digits.
        snapshot: its number.
    """

    def __init__(self, snapshot: Snapshot, name: str) -> None:
        if name not in snapshot.tables:
            raise MissingArtifactError(
                f"there is no table ({name}) in {snapshot.artifact.folder}, snapshot "
                f"{snapshot.number}; there are: {', '.join(snapshot.tables) or 'none'}",
                path=snapshot.artifact.folder,
            )
        self.name = name
        self.identity = snapshot.artifact.fingerprint
        self.snapshot = snapshot.number
        self._snapshot = snapshot

    def __len__(self) -> int:
        """Rows in force."""
        return self._snapshot.rows_of(self.name)

    @property
    def schema(self) -> pa.Schema:
        """Names and types of the columns."""
        part = self._snapshot.parts(self.name)[0]
        return pq.read_schema(part.path).remove_metadata()

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of the columns."""
        return tuple(self.schema.names)

    def arrow(self, columns: Sequence[str] | None = None, *, split: str | None = None) -> pa.Table:
        """The rows as one Arrow table, its identity in the schema's metadata.

        Args:
            columns: these only, in this order; None: all.
            split: rows of this split and of none; None: all rows.

        Raises:
            RequestError: the table has no such column.
            IntegrityError: a part is not what its receipt promised.
        """
        names = self._known(columns)
        if split is None:
            return read_table(self._snapshot, self.name, columns=names)
        return pa.concat_tables(self.batches(names, split=split))

    def pandas(
        self, columns: Sequence[str] | None = None, *, split: str | None = None
    ) -> pd.DataFrame:
        """The rows as a pandas data frame; a vector is one NumPy array a row.

        Raises:
            RequestError: pandas is not installed, or the table has no such column.
        """
        try:
            import pandas  # noqa: F401
        except ImportError:
            raise RequestError(
                "pandas is not installed, which Table.pandas needs: pip install pandas, or use"
                " Table.arrow"
            ) from None
        frame: pd.DataFrame = self.arrow(columns, split=split).to_pandas()
        return frame

    def numpy(
        self, column: str = "embedding", *, split: str | None = None
    ) -> tuple[npt.NDArray[np.str_], npt.NDArray[np.generic]]:
        """Keys and one column, row by row.

        Args:
            column: vectors give a matrix, numbers or text a vector.
            split: rows of this split and of none; None: all rows.

        Returns:
            (ids [N] as text, values [N, D] or [N]) in the stored type; vectors of the column
            `embedding` have length 1. Both are the caller's own.

        Raises:
            RequestError: the table has no such column.
        """
        key = self.columns[0]
        (name,) = self._known([column])
        ids: list[str] = []
        pieces: list[npt.NDArray[np.generic]] = []
        for piece in self.batches(list(dict.fromkeys([key, name])), split=split):
            ids += piece.column(key).to_pylist()
            pieces.append(array_of(piece.column(name)))
        return np.array(ids, dtype=np.str_), np.concatenate(pieces)

    def batches(
        self,
        columns: Sequence[str] | None = None,
        *,
        split: str | None = None,
        rows: int = _ROWS,
    ) -> Iterator[pa.Table]:
        """The rows in pieces of at most `rows`, for tables larger than memory."""
        names = self._known(columns)
        read = names if split is None or "split" in names else [*names, *self._known(["split"])]
        for piece in iter_tables(self._snapshot, self.name, columns=read, batch_rows=rows):
            yield (piece if split is None else _in_split(piece, split)).select(names)

    def _known(self, columns: Sequence[str] | None) -> list[str]:
        have = self.columns
        wanted = list(have if columns is None else columns)
        for name in wanted:
            if name not in have:
                raise RequestError(
                    f"the table ({self.name}) has no column ({name}); it has {', '.join(have)}"
                )
        return wanted

    def __repr__(self) -> str:
        return f"Table({self.name}, {len(self):,} rows, {self.identity[:12]} at {self.snapshot})"


def _in_split(rows: pa.Table, split: str) -> pa.Table:
    wanted = pa.array([split, ""], pa.string())
    return rows.filter(pc.is_in(rows.column("split"), value_set=wanted))


def array_of(column: pa.Array | pa.ChunkedArray) -> npt.NDArray[np.generic]:
    """[N, D] of a column of vectors (NaN for null), else [N]; a copy that owns its memory."""
    array = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    if pa.types.is_fixed_size_list(array.type):
        return np.array(vectors_of(array))
    values = array.to_numpy(zero_copy_only=False)
    return np.array(values, dtype=np.str_ if pa.types.is_string(array.type) else None)
