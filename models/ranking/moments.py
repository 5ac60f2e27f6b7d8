"""Moment metrics: how well ranked spans of a file agree with the true ones.

As the field counts them (Charades-STA, QVHighlights): recall of the best n spans at an overlap
(intersection over union), average precision over ranked spans where each true span is met once,
and its mean over the overlaps 0.5, 0.55, …, 0.95.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from reelvec.models.spans import Span

__all__ = ["MomentMetric", "MomentQuery", "average_precision", "moment_metrics"]

_RECALLS = ((1, 0.5), (1, 0.7), (5, 0.5), (5, 0.7))
_PRECISIONS = (0.5, 0.75)
_OVERLAPS = tuple(round(0.5 + 0.05 * step, 2) for step in range(10))
_MET = 0.5
"""Overlap from which boundaries are compared."""
_SAMPLES_AT_ONCE = 32


@dataclass(frozen=True, slots=True)
class MomentQuery:
    """One text about a file: the spans that were found, best first, and the true ones."""

    file: Hashable
    found: Sequence[Span]
    true: Sequence[Span]


@dataclass(frozen=True, slots=True)
class MomentMetric:
    """One number; percent, or seconds where its name says so. `low`, `high` bound 95 %."""

    metric: str
    value: float
    low: float | None
    high: float | None
    n: int
    """Queries."""


def moment_metrics(
    queries: Sequence[MomentQuery], *, bootstrap: int = 0, seed: int = 0
) -> list[MomentMetric]:
    """All metrics of these queries; empty where there is none.

    Args:
        queries: each with one true span at least.
        bootstrap: resamples of the interval, by file, since queries of one film are not
            independent; 0: none.
        seed: of the resampling.
    """
    if not queries:
        return []
    values = {f"R{n}@{least}": [_is_met(q, n, least) for q in queries] for n, least in _RECALLS}
    by_overlap = {
        least: [average_precision(q.found, q.true, least=least) for q in queries]
        for least in _OVERLAPS + _PRECISIONS
    }
    values |= {f"mAP@{least}": by_overlap[least] for least in _PRECISIONS}
    values["mAP"] = np.mean([by_overlap[least] for least in _OVERLAPS], axis=0).tolist()
    values["mIoU"] = [_best(q)[0] for q in queries]
    table = 100 * np.array(list(values.values()), np.float64).T
    bounds = _bounds(table, [q.file for q in queries], bootstrap=bootstrap, seed=seed)
    rows = [
        MomentMetric(name, float(value), *bound, len(queries))
        for name, value, bound in zip(values, table.mean(axis=0), bounds, strict=True)
    ]
    return rows + _boundaries(queries)


def _boundaries(queries: Sequence[MomentQuery]) -> list[MomentMetric]:
    """How far start or end is off, the larger of the two, of best spans that meet a true one."""
    off = [error for iou, error in map(_best, queries) if iou >= _MET]
    if not off:
        return []
    named = {"boundary mean s": float(np.mean(off)), "boundary max s": max(off)}
    return [MomentMetric(name, value, None, None, len(off)) for name, value in named.items()]


def _is_met(query: MomentQuery, n: int, least: float) -> float:
    return float(any(f.iou(t) >= least for f in query.found[:n] for t in query.true))


def _best(query: MomentQuery) -> tuple[float, float]:
    """(overlap, seconds that start or end is off) of the best span with the true one nearest it."""
    if not query.found:
        return 0.0, 0.0
    found = query.found[0]
    true = max(query.true, key=found.iou)
    return found.iou(true), max(abs(found.start - true.start), abs(found.end - true.end))


def average_precision(found: Sequence[Span], true: Sequence[Span], *, least: float) -> float:
    """Area under precision over recall, precision never below what a longer list reaches.

    Args:
        found: best first.
        true: one at least; each is met by the first span that overlaps it enough.
        least: overlap from which a span meets a true one.
    """
    left = list(true)
    hits: list[int] = []
    for rank, span in enumerate(found, start=1):
        met = max(left, key=span.iou, default=None)
        if met is not None and span.iou(met) >= least:
            left.remove(met)
            hits.append(rank)
    precision = [met / rank for met, rank in enumerate(hits, start=1)]
    reached = np.maximum.accumulate(precision[::-1])[::-1] if precision else np.zeros(0)
    return float(reached.sum()) / len(true)


def _bounds(
    table: NDArray[np.float64], files: Sequence[Hashable], *, bootstrap: int, seed: int
) -> list[tuple[float | None, float | None]]:
    """2.5 and 97.5 percentiles of each column's mean over resamples of the files."""
    if not bootstrap:
        return [(None, None)] * table.shape[1]
    place = {file: row for row, file in enumerate(dict.fromkeys(files))}
    owner = np.array([place[file] for file in files])
    sums = np.zeros((len(place), table.shape[1]))
    np.add.at(sums, owner, table)
    sizes = np.bincount(owner, minlength=len(place))
    rng = np.random.default_rng(seed)
    means = []
    for start in range(0, bootstrap, _SAMPLES_AT_ONCE):
        drawn = rng.integers(0, len(place), (min(_SAMPLES_AT_ONCE, bootstrap - start), len(place)))
        means.append(sums[drawn].sum(axis=1) / sizes[drawn].sum(axis=1, keepdims=True))
    low, high = np.percentile(np.concatenate(means), [2.5, 97.5], axis=0).tolist()
    return list(zip(low, high, strict=True))
