"""Columns of vectors: as one matrix, and refused where a number of them is not finite."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from reelvec.storage.errors import NotFiniteError

__all__ = ["check_finite", "is_list", "is_vector", "vectors_of"]


def vectors_of(column: pa.Array) -> np.ndarray:
    """[rows, numbers a row] of a fixed-size list column; NaN where a row has null.

    A view where no row is null.
    """
    flat: np.ndarray = column.flatten().to_numpy(zero_copy_only=False)
    if not column.null_count:
        return flat.reshape(len(column), column.type.list_size)
    whole = np.full((len(column), column.type.list_size), np.nan, flat.dtype)
    there = column.is_valid().to_numpy(zero_copy_only=False)
    whole[there] = flat.reshape(-1, column.type.list_size)
    return whole


def check_finite(table: pa.Table) -> None:
    """Refuses vectors (list columns of floats) that hold NaN or infinity, naming row and column.

    Raises:
        NotFiniteError: such a row has no place in any order; one is enough to end every search.
    """
    for field in table.schema:
        start = 0
        for chunk in table.column(field.name).chunks if is_vector(field.type) else ():
            values = chunk
            while is_list(values.type):
                values = values.flatten()
            finite = np.isfinite(values.to_numpy(zero_copy_only=False))
            if not finite.all():
                bad = int(len(finite) - finite.sum())
                rows = np.flatnonzero(chunk.is_valid().to_numpy(zero_copy_only=False))
                row = start + int(rows[int(np.argmin(finite)) * len(rows) // len(finite)])
                raise NotFiniteError(
                    f"the row ({table.column(0)[row].as_py()}) holds NaN or infinity in its column"
                    f" {field.name} ({bad:,} numbers of this part), so nothing of the part is"
                    " committed; the weights give such vectors: embed with others, or with"
                    " embed.dtype float32 where float16 is too narrow",
                )
            start += len(chunk)


def is_vector(kind: pa.DataType) -> bool:
    """Lists of floats, of any depth."""
    leaf = kind
    while is_list(leaf):
        leaf = leaf.value_type
    return is_list(kind) and bool(pa.types.is_floating(leaf))


def is_list(kind: pa.DataType) -> bool:
    """Of any kind of list."""
    return bool(
        pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)
    )
