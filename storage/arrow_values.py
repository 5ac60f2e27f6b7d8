"""Arrow's columns from the numbers of NumPy and the texts of Python, and back.

Without pandas, which pyarrow's own ways load where it is installed: a fifth of a second.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

__all__ = ["column_of", "floats_of", "numbers_of", "texts_of"]


def column_of(numbers: NDArray[np.int64]) -> pa.Int64Array:
    """Numbers, int64 [N], as a column without nulls."""
    whole = np.ascontiguousarray(numbers, np.int64)
    return pa.Array.from_buffers(pa.int64(), len(whole), [None, pa.py_buffer(whole)])


def texts_of(texts: Sequence[str]) -> pa.LargeStringArray:
    """Texts as a column, whose offsets have 64 bits.

    Raises:
        UnicodeEncodeError: one holds half a surrogate pair.
    """
    encoded = list(map(str.encode, texts))
    ends = np.zeros(len(encoded) + 1, np.int64)
    np.cumsum(np.fromiter(map(len, encoded), np.int64, len(encoded)), out=ends[1:])
    buffers = (pa.py_buffer(ends), pa.py_buffer(b"".join(encoded)))
    return pa.LargeStringArray.from_buffers(len(encoded), *buffers)


def numbers_of(column: pa.ChunkedArray | pa.Array) -> NDArray[np.int64]:
    """A column of int64 without nulls as numbers, [N]."""
    chunks = column.chunks if isinstance(column, pa.ChunkedArray) else [column]
    return np.concatenate([np.empty(0, np.int64), *map(np.from_dlpack, chunks)])


def floats_of(column: pa.ChunkedArray) -> NDArray[np.float64]:
    """A column of float64 as numbers, [N]; NaN for null."""
    floats = np.full(len(column), np.nan)
    if column.null_count < len(column):
        known = np.flatnonzero(numbers_of(column.is_valid().cast(pa.int64())))
        floats[known] = np.concatenate([*map(np.from_dlpack, column.drop_null().chunks)])
    return floats
