"""How long a stage takes, by the receipts that earlier runs of a store left in their records."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice

from reelvec.storage.roots import Root
from reelvec.storage.runs import RunRecord, newest_first

__all__ = ["Rate", "rate_of", "rates_of"]

UNITS: Mapping[str, tuple[str, ...]] = {
    "ingest": ("new", "changed", "missing", "again"),
    "extract": ("new", "again"),
    "audio": ("new", "again"),
    "train": ("steps",),
    "embed": ("new", "stale"),
    "evaluate": ("evaluations",),
}
"""What a stage's receipt counts that takes time: videos, clips, steps, rows, scorings."""

_RECORDS = 64
"""Looked at, the newest first: machines and settings change."""


@dataclass(frozen=True)
class Rate:
    """Seconds of a stage: some for each call, some for each unit of its work.

    Attributes:
        fixed: seconds of a call.
        each: seconds of a unit.
        receipts: how many it was fitted to.
        own: whether they are of runs of this name; else of others in the store.
    """

    fixed: float
    each: float
    receipts: int
    own: bool

    def seconds(self, units: int) -> float:
        """For so many units."""
        return self.fixed + self.each * units


def rates_of(root: Root, *, name: str) -> dict[str, Rate]:
    """The rate of each stage that has a receipt; of the runs of this name where they have one."""
    records = list(islice(newest_first(root), _RECORDS))
    own = [record for record in records if record.name == name]
    rates = {}
    for stage in UNITS:
        found = rate_of(own, stage) or rate_of(records, stage, own=False)
        if found is not None:
            rates[stage] = found
    return rates


def rate_of(records: Iterable[RunRecord], stage: str, *, own: bool = True) -> Rate | None:
    """The rate of a stage in these runs, the newest first; None: no receipt of it says anything.

    Args:
        records: of the runs.
        stage: its name.
        own: as `Rate.own`.
    """
    found = _receipts(islice(records, _RECORDS), stage)
    return _fitted(found, own=own) if found else None


def _work_done(stage: str, counts: Mapping[str, int]) -> int:
    """Units of work in what a stage's receipt counts."""
    return sum(counts.get(what, 0) for what in UNITS.get(stage, ()))


def _receipts(records: Iterable[RunRecord], stage: str) -> list[tuple[int, float]]:
    """(units, seconds) of each time the stage did something."""
    found = [
        (_work_done(stage, receipt["counts"]), receipt["seconds"])
        for record in records
        for receipt in record.stages
        if receipt["name"] == stage
    ]
    return [(units, seconds) for units, seconds in found if units]


def _fitted(receipts: Sequence[tuple[int, float]], *, own: bool) -> Rate:
    """A line through the receipts by least squares, neither part below 0."""
    count = len(receipts)
    units = sum(n for n, _ in receipts)
    seconds = sum(s for _, s in receipts)
    squares = sum(n * n for n, _ in receipts)
    products = sum(n * s for n, s in receipts)
    spread = count * squares - units * units
    each = (count * products - units * seconds) / spread if spread else seconds / units
    fixed = (seconds - each * units) / count if spread else 0.0
    if each < 0:
        each, fixed = seconds / units, 0.0
    elif fixed < 0:
        each, fixed = products / squares, 0.0
    return Rate(fixed=fixed, each=each, receipts=count, own=own)
