"""Arrow's columns from the numbers of NumPy and the texts of Python, and back.

Without pandas, which pyarrow's own ways load where it is installed: a fifth of a second.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

__all__ = ["column_of", "floats_of", "mask_of", "numbers_of", "text_scalar", "texts_of"]


def column_of(numbers: NDArray[np.int64] | NDArray[np.float64]) -> pa.Array:
    """Numbers [N] as a column without nulls: of float64, or else of int64."""
    kind = np.float64 if numbers.dtype == np.float64 else np.int64
    whole = np.ascontiguousarray(numbers, kind)
    arrow = pa.float64() if kind is np.float64 else pa.int64()
    return pa.Array.from_buffers(arrow, len(whole), [None, pa.py_buffer(whole)])


def mask_of(chosen: NDArray[np.bool_]) -> pa.BooleanArray:
    """Truth values [N] as a column."""
    return column_of(chosen.astype(np.int64)).cast(pa.bool_())


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


def text_scalar(text: str) -> pa.Scalar:
    """A text to be compared with those of `texts_of`."""
    return texts_of([text])[0]
