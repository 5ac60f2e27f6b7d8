"""Vectors as points of a plane: for a map of what is near to what."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

__all__ = ["Projection", "principal_axes"]

Matrix = npt.NDArray[np.floating]


@dataclass(frozen=True, eq=False)
class Projection:
    """A linear map: subtract `mean` [D], then multiply by `axes` [D, K]."""

    mean: npt.NDArray[np.float64]
    axes: npt.NDArray[np.float64]

    def of(self, vectors: Matrix) -> npt.NDArray[np.float32]:
        """Points [N, K] of vectors [N, D]."""
        points = (vectors.astype(np.float64) - self.mean) @ self.axes
        return points.astype(np.float32)


def principal_axes(blocks: Callable[[], Iterable[Matrix]], *, axes: int = 2) -> Projection:
    """The directions in which vectors differ most (PCA), from two passes over blocks of them.

    The same blocks give the same axes: the largest number of each axis is positive. Fewer
    directions than asked for (one vector, D = 1) are filled with zeros.

    Args:
        blocks: starts a pass: blocks [n, D] of all vectors, at least one in all.
        axes: K, how many.

    Raises:
        ValueError: there is no vector.
    """
    count, total = 0, np.zeros(0)
    for block in blocks():
        summed = block.astype(np.float64).sum(axis=0)
        total = summed if not count else total + summed
        count += len(block)
    if not count:
        raise ValueError("no vector to project; give at least one")
    mean = total / count
    scatter = np.zeros((len(mean), len(mean)))
    for block in blocks():
        centred = block.astype(np.float64) - mean
        scatter += centred.T @ centred
    _, vectors = np.linalg.eigh(scatter)  # by rising share of the differences
    found = vectors[:, ::-1][:, :axes]
    largest = np.take_along_axis(found, np.abs(found).argmax(axis=0)[None], axis=0)
    found = found * np.where(largest < 0, -1.0, 1.0)
    missing = axes - found.shape[1]
    return Projection(mean, np.pad(found, ((0, 0), (0, max(0, missing)))))
