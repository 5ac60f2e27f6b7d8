"""A run beside another on the page: its numbers, its queries, and curves of them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

import reelvec
from reelvec.errors import RequestError
from reelvec.flows.page.documents import Document, finite, once, ranked
from reelvec.flows.page.open_runs import OpenRun
from reelvec.storage.errors import MissingArtifactError
from reelvec.tasks.scoring.paired import paired_metrics

__all__ = ["beside", "compared", "curves"]

_KEYS = {"t2v": ("caption_id", "video_id"), "v2t": ("video_id", "video_id")}
_MOST_K = 200
_MOST_POINTS = 300

Point = tuple[float, float]


def beside(opened: OpenRun, other: OpenRun, direction: str) -> pa.Table:
    """The ranked queries of a run, with `before`: what the other run gave the same one, or null."""
    name = f"beside {direction}"
    state, table = opened.made.get(name, ("", None))
    if state != other.state or table is None:
        table = _with_before(ranked(opened, direction), ranked(other, direction), direction)
        opened.made[name] = (other.state, table)
    return table


def _with_before(table: pa.Table, other: pa.Table, direction: str) -> pa.Table:
    def keys(one: pa.Table) -> pa.ChunkedArray:
        first, second = (one.column(name) for name in _KEYS[direction])
        return pc.binary_join_element_wise(first, second, "\0")

    place = pc.index_in(keys(table), value_set=keys(other).combine_chunks())
    return table.append_column("before", other.column("rank").take(place))


def compared(opened: OpenRun, other: OpenRun) -> Document:
    """R@k of both over the queries both have, and how many queries rose or fell."""
    ours, theirs = opened.search.evaluation, other.search.evaluation
    for run, evaluation in ((opened, ours), (other, theirs)):
        if evaluation is None:
            raise RequestError(
                f"the run ({run.run.name}) is not scored; `reelvec evaluate` does that"
            )
    metrics = paired_metrics(theirs, ours) if ours and theirs else []
    changes = {}
    for direction in dict.fromkeys(row.direction for row in metrics):
        table = beside(opened, other, direction)
        rise = pc.subtract(table.column("before"), table.column("rank")).drop_null()
        changes[direction] = {
            "rose": pc.sum(pc.greater(rise, 0)).as_py() or 0,
            "fell": pc.sum(pc.less(rise, 0)).as_py() or 0,
            "same": pc.sum(pc.equal(rise, 0)).as_py() or 0,
        }
    return {
        "state": opened.state,
        "name": other.run.name,
        "metrics": [asdict(row) for row in metrics],
        "changes": changes,
    }


def curves(opened: OpenRun) -> Document:
    """Recall over k of both directions, and the training's curves; empty where there are none."""
    found: Document = once(opened, "curves", lambda: _curves(opened))
    return {"state": opened.state, **found}


def _curves(opened: OpenRun) -> Document:
    recall = {}
    for direction, name in (("t2v", "ranks"), ("v2t", "video_ranks")):
        if name in opened.run.tables:
            recall[direction] = _recall(opened.run.table(name).arrow().column("rank"))
    return {"recall": recall, **_training(opened.run)}


def _recall(ranks: pa.ChunkedArray) -> list[Point]:
    """(k, percent of queries whose right answer is among the first k)."""
    rising = np.sort(ranks.to_numpy())
    if not len(rising):
        return []
    ks = np.arange(1, min(_MOST_K, max(2, math.ceil(np.nanmax(rising)))) + 1)
    found = np.searchsorted(rising, ks, side="right") / len(rising)
    return [(int(k), round(100.0 * float(part), 2)) for k, part in zip(ks, found, strict=True)]


def _training(run: reelvec.Run) -> Document:
    """Loss by step, and what each epoch came to on the selection split."""
    try:
        made = run.curves
    except MissingArtifactError:
        return {"loss": [], "selection": []}
    return {
        "loss": _points(made.steps.to_pylist(), "step", "loss") if made.points else [],
        "selection": _points(made.history, "epoch", "R@1"),
    }


def _points(rows: Sequence[Mapping[str, Any]], across: str, up: str) -> list[Point]:
    """The finite values; of many some, evenly."""
    points = [
        (float(row[across]), float(row[up]))
        for row in rows
        if finite(row.get(up)) is not None and finite(row.get(across)) is not None
    ]
    return points[:: max(1, len(points) // _MOST_POINTS)]
