"""A map of a table: each video's vector as a point of a plane, computed once."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from reelvec.models.projection import principal_axes
from reelvec.storage.commits.artifact import Snapshot
from reelvec.storage.derived import derive
from reelvec.tasks.searching.vectors import VectorIndex

__all__ = ["Points", "points_of"]

_ROWS = 8192

Points = npt.NDArray[np.float32]


def points_of(embeddings: Snapshot, *, index: VectorIndex) -> Points:
    """The points of a table, float32 [N, 2], in the order of its ids; NaN where it has no vector.

    They are the two directions in which the vectors differ most, as `reelvec export --to atlas`
    has them, kept beside the table.

    Args:
        embeddings: snapshot of the table.
        index: its vectors.
    """
    made = derive(embeddings, what="points", make=lambda folder: _make(index, folder))
    points: Points = np.load(made.folder / "points.npy")
    return points


def _make(index: VectorIndex, folder: Path) -> Mapping[str, Any]:
    there = np.ones(len(index), bool)
    there[index.left_out] = False
    points = np.full((len(index), 2), np.nan, np.float32)
    if there.any():

        def blocks() -> Iterable[npt.NDArray[np.float32]]:
            for start in range(0, len(index), _ROWS):
                yield index.vectors[start : start + _ROWS][there[start : start + _ROWS]]

        projection = principal_axes(blocks)
        points[there] = np.concatenate([projection.of(block) for block in blocks()])
    np.save(folder / "points.npy", points)
    return {"rows": len(points)}
