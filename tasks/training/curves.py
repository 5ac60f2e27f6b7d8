"""The curve of a training: a point a step, one table of the checkpoint artifact.

A checkpoint is published together with the curve up to it, so a run that is killed and goes on has
each step once. The table's bytes are a function of the run alone; the seconds, which the clock
says, stand in its receipt.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pyarrow as pa

from reelvec.storage.commits.artifact import Artifact, Receipt, Snapshot
from reelvec.storage.records import Outcome
from reelvec.storage.tables import read_table, schema_text, write_table

__all__ = ["CURVE", "StepPoint", "curve_table", "longest", "read_curve", "write_curve"]

CURVE = "curve"
_RATE = "lr_"
_FIXED = (
    ("step", pa.int64()),
    ("epoch", pa.int64()),
    ("loss", pa.float64()),
    ("grad_norm", pa.float64()),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class StepPoint:
    """One step."""

    step: int
    """From 1."""
    epoch: int
    """From 1."""
    loss: float
    """Of the global batch."""
    grad_norm: float
    """Of all gradients together, before they are limited."""
    rates: Mapping[str, float]
    """Learning rate of each part of the model: clip, other."""
    seconds: float
    """From the end of the step before it, waiting for data included, evaluation not."""

    @property
    def rate(self) -> float:
        """Of the parts outside the towers, unless all is in them."""
        return max(rate for part, rate in self.rates.items() if part in ("clip", "other"))

    def as_dict(self) -> dict[str, float]:
        """One level deep: the rates are lr_clip, lr_other."""
        rates = {_RATE + part: rate for part, rate in self.rates.items()}
        point = {name: getattr(self, name) for name, _ in _FIXED}
        return {**point, **rates, "seconds": self.seconds}


def curve_table(points: Sequence[StepPoint], *, seconds: bool = True) -> pa.Table:
    """A row a step: step, epoch, loss, grad_norm, lr_<part> …, seconds (left out on demand)."""
    rows = [point.as_dict() for point in points]
    known = dict(_FIXED)
    names = list(dict.fromkeys([*known, *(name for row in rows for name in row)]))
    if not seconds:
        names.remove("seconds")
    columns = {
        name: pa.array([row.get(name) for row in rows], known.get(name, pa.float64()))
        for name in names
    }
    return pa.table(columns)


def write_curve(artifact: Artifact, points: Sequence[StepPoint]) -> Receipt:
    """Write the curve up to here as a part of the artifact; publishing it is the caller's."""
    table = curve_table(points, seconds=False)
    seconds = [round(point.seconds, 4) for point in points]
    with artifact.new_part(table=CURVE, shard="all", suffix=".parquet") as part:
        write_table(part.path, table, metadata={})
        return part.commit(
            rows=1,  # a curve is one thing, and takes the place of the one before it whole
            schema=schema_text(table.schema),
            outcomes=[Outcome(CURVE)],
            extra={"steps": len(table), "seconds": json.dumps(seconds, separators=(",", ":"))},
        )


def read_curve(snapshot: Snapshot | None) -> list[StepPoint]:
    """The steps of a checkpoint artifact in force; none where it was trained before there were any.

    Raises:
        IntegrityError, MissingArtifactError: the table is damaged or gone.
    """
    if snapshot is None or CURVE not in snapshot.tables:
        return []
    rows = read_table(snapshot, CURVE).to_pylist()
    seconds = json.loads(str(snapshot.parts(CURVE)[0].receipt.extra["seconds"]))
    return [_point(row, took) for row, took in zip(rows, seconds, strict=True)]


def _point(row: Mapping[str, float], seconds: float) -> StepPoint:
    rates = {
        name.removeprefix(_RATE): rate
        for name, rate in row.items()
        if name.startswith(_RATE) and rate is not None
    }
    return StepPoint(
        step=int(row["step"]),
        epoch=int(row["epoch"]),
        loss=row["loss"],
        grad_norm=row["grad_norm"],
        rates=rates,
        seconds=seconds,
    )


def longest(receipts: Sequence[Receipt]) -> list[Receipt]:
    """The receipt of the longest curve among these, alone; none: no curve is among them."""
    curves = [receipt for receipt in receipts if receipt.table == CURVE]
    return [max(curves, key=lambda receipt: int(receipt.extra["steps"]))] if curves else []
