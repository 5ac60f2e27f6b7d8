"""How the vectors of two tables compare: who is near whom, and how long they are."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from reelvec.storage.digests import digests
from reelvec.tasks.searching.vectors import VectorIndex

__all__ = ["common_videos", "lengths_of", "part_that_stays"]

_ROWS = 8192


def common_videos(old: VectorIndex, new: VectorIndex, *, most: int) -> list[str]:
    """Some videos that have a vector in both, the same ones every time."""
    ids: list[str] = old.rows.table.column(0).to_pylist()
    order: list[int] = np.argsort(digests(ids)[:, 0], kind="stable").tolist()
    found: list[str] = []
    for row in order:
        if len(found) >= max(1, most):
            break
        if old.vector(ids[row]) is not None and new.vector(ids[row]) is not None:
            found.append(ids[row])
    return found


def part_that_stays(old: VectorIndex, new: VectorIndex, videos: Sequence[str], *, k: int) -> float:
    """The part of a video's nearest k that both tables give, on average; 0 to 1."""
    return float(np.mean([_kept(old, new, video, k=k) for video in videos]))


def _kept(old: VectorIndex, new: VectorIndex, video: str, *, k: int) -> float:
    """Of those that both tables have."""
    nearest = [_nearest(index, other, video, k=k) for index, other in ((old, new), (new, old))]
    most = min(map(len, nearest))
    return len(set(nearest[0]) & set(nearest[1])) / most if most else 1.0


def _nearest(index: VectorIndex, other: VectorIndex, video: str, *, k: int) -> Sequence[str]:
    vector = index.vector(video)
    if vector is None:
        return []
    (ranking,) = index.best(vector, top=2 * k, without=video)
    return [found for found, _ in ranking.best if other.vector(found) is not None][:k]


def lengths_of(index: VectorIndex) -> NDArray[np.float64]:
    """Of every vector, float64 [N]; 0 of one that is not finite."""
    found = [np.zeros(0)]
    for start in range(0, len(index), _ROWS):
        found.append(np.linalg.norm(index.vectors[start : start + _ROWS].astype(float), axis=1))
    return np.concatenate(found)
