"""The nearest rows of every row of a matrix of unit vectors."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

__all__ = ["neighbours_of"]

_SCORES_AT_ONCE = 1 << 24
"""Products held at once: 64 MiB."""
_COLUMNS = 8192

Matrix = npt.NDArray[np.float32]


def neighbours_of(
    vectors: Matrix, *, count: int
) -> Iterator[tuple[npt.NDArray[np.int64], npt.NDArray[np.float32]]]:
    """Of each row, in blocks: the `count` nearest rows and their distances, 1 - cosine.

    A row is its own first neighbour, at distance 0; equals come in the order of rows.

    Args:
        vectors: [N, D], of length 1; may be mapped from a file.
        count: at least 1; at most N - 1 are there.

    Yields:
        ids [n, 1 + min(count, N - 1)], distances of the same shape.
    """
    wanted = 1 + min(count, len(vectors) - 1)
    at_once = max(1, _SCORES_AT_ONCE // max(1, len(vectors)))
    for start in range(0, len(vectors), at_once):
        block = np.array(vectors[start : start + at_once])
        scores = np.empty((len(block), len(vectors)), np.float32)
        for left in range(0, len(vectors), _COLUMNS):
            columns = vectors[left : left + _COLUMNS]
            np.matmul(block, columns.T, out=scores[:, left : left + len(columns)])
        own = np.arange(start, start + len(block))
        scores[np.arange(len(block)), own] = np.inf
        some = np.argpartition(-scores, wanted - 1, axis=1)[:, :wanted]
        order = np.lexsort((some, -np.take_along_axis(scores, some, axis=1)), axis=1)
        ids = np.take_along_axis(some, order, axis=1)
        distances = 1.0 - np.take_along_axis(scores, ids, axis=1)
        distances[:, 0] = 0.0
        yield ids, np.maximum(distances, 0.0)
