"""The map of a run's videos, and the videos of some of its points."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from reelvec.errors import RequestError
from reelvec.flows.page.documents import Document, once, shown_of
from reelvec.flows.page.open_runs import OpenRun
from reelvec.tasks.searching.mapped import allowed_rows

__all__ = ["points", "videos_at"]

_MOST_POINTS = 200_000
_SIDE = 10_000
"""Places along the longer side: finer than any screen."""


@dataclass(frozen=True, eq=False)
class _Places:
    """The videos that have a point: their rows of the table, and where they are."""

    rows: npt.NDArray[np.int64]
    places: npt.NDArray[np.int64]
    """[N, 2], from 0 to `_SIDE`."""
    groups: pa.DictionaryArray
    """Their splits."""


def points(opened: OpenRun, *, split: str | None = None, only: pa.Array | None = None) -> Document:
    """Where each video is on the map: whole numbers from 0 to 10,000, y upwards.

    Of more videos than a browser draws at ease, every n-th one (`step`). A video is at the same
    place whichever others are asked for.

    Args:
        opened: the run.
        split: videos of this split and of none; None: all.
        only: ids of the videos that are asked for; None: all.

    Raises:
        MissingColumnError: the family has no vector a video.
        RequestError: none of them has one.
    """
    placed: _Places = once(opened, "places", lambda: _placed(opened))
    table = opened.search.searcher.index.rows.table
    fits = allowed_rows(table, split=split, only=only)[placed.rows]
    kept = np.flatnonzero(fits)
    if not len(kept):
        raise RequestError("no video that is asked for has a vector: there is no map to draw")
    step = max(1, -(-len(kept) // _MOST_POINTS))
    shown = kept[::step]
    return {
        "state": opened.state,
        "rows": placed.rows[shown].tolist(),
        "x": placed.places[shown, 0].tolist(),
        "y": placed.places[shown, 1].tolist(),
        "group": placed.groups.indices.take(pa.array(shown)).to_pylist(),
        "groups": placed.groups.dictionary.to_pylist(),
        "side": placed.places.max(axis=0).tolist(),
        "videos": len(kept),
        "of": len(table),
        "step": step,
    }


def _placed(opened: OpenRun) -> _Places:
    searcher = opened.search.searcher
    found = np.asarray(searcher.points)
    rows = np.flatnonzero(np.isfinite(found).all(axis=1))
    found = found[rows]
    low = found.min(axis=0, initial=np.inf)
    span = float((found.max(axis=0, initial=-np.inf) - low).max()) if len(rows) else 0.0
    places = np.rint((found - low) / (span or 1.0) * _SIDE).astype(np.int64)
    splits = searcher.index.rows.table.column("split").combine_chunks()
    return _Places(rows, places, splits.take(pa.array(rows)).dictionary_encode())


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
        "rows": [shown_of(opened, video) for video in ids],
    }
