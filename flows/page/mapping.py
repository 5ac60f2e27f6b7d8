"""The map of a run's videos, and the videos of some of its points."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from reelvec.errors import RequestError
from reelvec.flows.page.documents import Document, once, shown_of
from reelvec.flows.page.open_runs import OpenRun

__all__ = ["points", "videos_at"]

_MOST_POINTS = 200_000
_SIDE = 10_000
"""Places along the longer side: finer than any screen."""


def points(opened: OpenRun) -> Document:
    """Where each video is on the map: whole numbers from 0 to 10,000, y upwards.

    Of more videos than a browser draws at ease, every n-th one (`step`).

    Raises:
        MissingColumnError: the family has no vector a video.
        RequestError: no video has one.
    """
    made: Document = once(opened, "points", lambda: _points(opened))
    return {"state": opened.state, **made}


def _points(opened: OpenRun) -> Document:
    searcher = opened.search.searcher
    step = max(1, -(-len(searcher.index) // _MOST_POINTS))
    found = np.array(searcher.points[::step])
    there = np.flatnonzero(np.isfinite(found).all(axis=1))
    if not len(there):
        raise RequestError("no video of this run has a vector: there is no map to draw")
    found = found[there]
    low, span = found.min(axis=0), float(np.ptp(found, axis=0).max()) or 1.0
    places = np.rint((found - low) / span * _SIDE).astype(int)
    splits = searcher.index.rows.table.column("split").combine_chunks()
    groups = splits.take(pa.array(there * step)).dictionary_encode()
    return {
        "rows": (there * step).tolist(),
        "x": places[:, 0].tolist(),
        "y": places[:, 1].tolist(),
        "group": groups.indices.to_pylist(),
        "groups": groups.dictionary.to_pylist(),
        "videos": len(searcher.index),
        "step": step,
    }


def videos_at(opened: OpenRun, rows: Sequence[int]) -> Document:
    """What is shown of the videos of these rows of the map.

    Raises:
        RequestError: the table has no such row.
    """
    searcher = opened.search.searcher
    for row in rows:
        if not 0 <= row < len(searcher.index):
            raise RequestError(f"no row ({row}) is on the map, which has {len(searcher.index)}")
    ids = [searcher.index.rows.key(row) for row in rows]
    return {
        "state": opened.state,
        "rows": [shown_of(video, searcher.videos.find(video)) for video in ids],
    }
