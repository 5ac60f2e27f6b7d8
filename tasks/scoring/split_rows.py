"""The rows of one split, from all parts of a table, in the order of their ids.

The order makes results independent of how rows lie in parts (growth, resumed runs). Features are
written once into one array a column, mapped to a temporary file when it is large: resident memory
stays at one part whatever the split's size.
"""

from __future__ import annotations

import tempfile
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import torch
from torch import Tensor

from reelvec.storage.commits.artifact import Snapshot
from reelvec.storage.errors import ReelvecError
from reelvec.storage.tables import iter_tables
from reelvec.storage.vectors import vectors_of

__all__ = [
    "MAP_BYTES",
    "MissingColumnError",
    "SplitRows",
    "check_columns",
    "in_split",
    "open_rows",
    "tensors_of",
]

MAP_BYTES = 1 << 28
"""A column larger than this is mapped to a file."""


class MissingColumnError(ReelvecError):
    """A table without the columns its score needs."""


@dataclass(frozen=True)
class SplitRows:
    """`facts` by video_id, then key; `columns`, name -> [rows, numbers a row], in that order."""

    facts: pa.Table
    columns: Mapping[str, npt.NDArray[np.generic]]

    def __len__(self) -> int:
        return int(self.facts.num_rows)

    def ids(self, name: str) -> list[str]:
        """A column of `facts` as a list."""
        values: list[str] = self.facts.column(name).to_pylist()
        return values

    def block(self, rows: slice | npt.NDArray[np.int64]) -> dict[str, Tensor]:
        """Features of some rows, floats as float32."""
        return {name: _tensor(values[rows]) for name, values in self.columns.items()}


def in_split(split: str, wanted: str) -> bool:
    """A row without a split is in every split."""
    return split in (wanted, "")


@contextmanager
def open_rows(
    snapshot: Snapshot,
    *,
    table: str,
    facts: Sequence[str],
    features: Sequence[str],
    split: str,
    within: Collection[str] | None = None,
) -> Iterator[SplitRows]:
    """The rows of `split`; the temporary file, if any, goes when the block ends.

    Args:
        snapshot: of an embeddings artifact.
        table: videos or captions.
        facts: text columns; the first is the key, `video_id` and `split` are among them.
        features: fixed-size list columns.
        split: rows of this split and of none are taken.
        within: rows of these video ids only; None: of all.

    Raises:
        MissingColumnError: the table has no such feature.
    """
    key = facts[0]
    check_columns(snapshot, table=table, features=features)
    kept = _facts(snapshot, table=table, facts=facts, split=split)
    if within is not None:
        known = pa.array(sorted(within), pa.string())
        kept = kept.filter(pc.is_in(kept.column("video_id"), value_set=known))
    place = {name: row for row, name in enumerate(kept.column(key).to_pylist())}
    with tempfile.TemporaryDirectory(prefix="reelvec-rows-") as folder:
        columns: dict[str, npt.NDArray[np.generic]] = {}
        for part in iter_tables(snapshot, table, columns=[key, *features]) if place else ():
            taken = [
                (i, place[k]) for i, k in enumerate(part.column(key).to_pylist()) if k in place
            ]
            if taken:
                rows = np.array(taken, dtype=np.int64)
                _fill(columns, part, features=features, rows=rows, size=len(place), folder=folder)
        yield SplitRows(kept, columns)


def check_columns(snapshot: Snapshot, *, table: str, features: Sequence[str]) -> None:
    """Refuse a table without these columns.

    Raises:
        MissingColumnError: names them and the remedy.
    """
    for part in snapshot.parts(table)[:1]:
        have = pq.read_schema(part.path).names
        missing = sorted(set(features) - set(have))
        if missing:
            raise MissingColumnError(
                f"{part!r} has no column {', '.join(missing)} (it has {', '.join(have)}); this"
                " family is not scored by a plain product: pass logits.scoring_of(its model)"
            )


def _facts(snapshot: Snapshot, *, table: str, facts: Sequence[str], split: str) -> pa.Table:
    kept = []
    for part in iter_tables(snapshot, table, columns=facts):
        wanted = pc.is_in(part.column("split"), value_set=pa.array([split, ""], pa.string()))
        kept.append(part.filter(wanted).replace_schema_metadata(None))
    if not kept:
        return pa.table({name: pa.array([], pa.string()) for name in facts})
    order = [("video_id", "ascending"), (facts[0], "ascending")]
    return pa.concat_tables(kept).sort_by(order).combine_chunks()


def _fill(
    columns: dict[str, npt.NDArray[np.generic]],
    part: pa.Table,
    *,
    features: Sequence[str],
    rows: npt.NDArray[np.int64],
    size: int,
    folder: str,
) -> None:
    """Put rows `rows[:, 0]` of a part at `rows[:, 1]` of the whole."""
    for name in features:
        values = tensors_of(part, [name])[name].numpy()[rows[:, 0]]
        if name not in columns:
            columns[name] = _new_array((size, values.shape[1]), values.dtype, Path(folder) / name)
        columns[name][rows[:, 1]] = values


def _new_array(
    shape: tuple[int, int], dtype: np.dtype[np.generic], path: Path
) -> npt.NDArray[np.generic]:
    if shape[0] * shape[1] * dtype.itemsize <= MAP_BYTES:
        return np.empty(shape, dtype)
    return np.memmap(path, dtype=dtype, mode="w+", shape=shape)


def tensors_of(table: pa.Table, names: Sequence[str]) -> dict[str, Tensor]:
    """Fixed-size list columns of a table as tensors [rows, numbers a row]; NaN for null."""
    tensors = {}
    for name in names:
        column = table.column(name)
        array = column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()
        tensors[name] = torch.from_numpy(np.array(vectors_of(array)))
    return tensors


def _tensor(values: npt.NDArray[np.generic]) -> Tensor:
    tensor = torch.from_numpy(np.ascontiguousarray(values))
    return tensor.float() if tensor.is_floating_point() else tensor
