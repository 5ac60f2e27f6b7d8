"""Two evaluations beside each other: the queries both have, and what each gave them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from reelvec.storage.commits.artifact import Snapshot
from reelvec.storage.digests import DigestSet, digests
from reelvec.storage.tables import read_table

__all__ = ["PairedMetric", "interval_of_mean", "paired_metrics", "paired_ranks"]

_TABLES = {"t2v": ("ranks", "caption_id"), "v2t": ("video_ranks", "video_id")}
_LIMITS = (1, 5, 10)
_RESAMPLES = 1000


@dataclass(frozen=True, eq=False)
class PairedRanks:
    """Ranks of the N queries that both evaluations have, in the order of the new one's rows."""

    names: NDArray[np.uint64]
    """Digests of their ids, [N, 2]."""
    rows: NDArray[np.int64]
    """Rows of the new evaluation's table, [N]."""
    old: NDArray[np.float64]
    """Ranks, [N]; NaN: no rank."""
    new: NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class PairedMetric:
    """A recall over the same queries in two evaluations, percent."""

    direction: str
    metric: str
    old: float
    new: float
    low: float
    """95 % interval of the difference, new less old, over resampled queries."""
    high: float
    count: int
    """Queries."""


def paired_ranks(old: Snapshot, new: Snapshot, *, direction: str) -> PairedRanks | None:
    """The queries both evaluations have: of the same id, about the same video.

    Args:
        old: snapshot of an evaluation.
        new: of another one.
        direction: t2v, captions; v2t, videos.

    Returns:
        None where one of them has scored none.
    """
    table, key = _TABLES[direction]
    if table not in old.tables or table not in new.tables:
        return None
    (old_names, old_ranks), (names, ranks) = (
        _ranked(one, table, keys=list(dict.fromkeys([key, "video_id"]))) for one in (old, new)
    )
    places = DigestSet([old_names]).find(names)
    rows = np.flatnonzero(places >= 0)
    return PairedRanks(names[rows], rows, old_ranks[places[rows]], ranks[rows])


def _ranked(
    evaluation: Snapshot, table: str, *, keys: list[str]
) -> tuple[NDArray[np.uint64], NDArray[np.float64]]:
    rows = read_table(evaluation, table, columns=[*keys, "rank"])
    columns = [rows.column(key).to_pylist() for key in keys]
    ids = ["\0".join(names) for names in zip(*columns, strict=True)]
    return digests(ids), rows.column("rank").to_numpy()


def paired_metrics(old: Snapshot, new: Snapshot) -> list[PairedMetric]:
    """R@1, R@5 and R@10 of both directions over the queries both have; [] where there are none."""
    found = []
    for direction in _TABLES:
        ranks = paired_ranks(old, new, direction=direction)
        if ranks is None or not len(ranks.rows):
            continue
        for limit in _LIMITS:
            before, after = ranks.old <= limit, ranks.new <= limit
            low, high = interval_of_mean(after.astype(float) - before)
            found.append(
                PairedMetric(
                    direction=direction,
                    metric=f"R@{limit}",
                    old=100.0 * float(before.mean()),
                    new=100.0 * float(after.mean()),
                    low=low,
                    high=high,
                    count=len(before),
                )
            )
    return found


def interval_of_mean(differences: NDArray[np.float64]) -> tuple[float, float]:
    """95 % of the mean, percentage points, over resampled queries; the same ones every time.

    Args:
        differences: of the hits of N queries, [N]: -1, 0 or 1.
    """
    rng = np.random.default_rng(0)
    values, counts = np.unique(differences, return_counts=True)
    drawn = rng.multinomial(len(differences), counts / len(differences), size=_RESAMPLES)
    low, high = np.quantile(100.0 * (drawn @ values) / len(differences), [0.025, 0.975])
    return float(low), float(high)
