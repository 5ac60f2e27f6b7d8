"""What a stage of a run gives back: which snapshot it stands on, and what it did for it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from reelvec.storage.commits.artifact import Snapshot
from reelvec.storage.commits.receipts import Counts
from reelvec.storage.reasons import Status
from reelvec.tasks.artifacts import SnapshotRef
from reelvec.tasks.training.finished import TrainReceipt

__all__ = ["StageReceipt"]


@dataclass(frozen=True, slots=True, kw_only=True)
class StageReceipt:
    """One stage of one run; small and picklable."""

    stage: str
    made: SnapshotRef
    """The snapshot in force after it, published by it or before."""
    rows: int
    """Data rows of that snapshot."""
    counts: Counts
    """Its inputs, by what became of them."""
    done: Mapping[str, int]
    """What was done, by what it is: {"new": 3, "changed": 0}; all 0: nothing."""
    seconds: float
    notes: tuple[str, ...] = ()
    """What a reader of the run's numbers should know."""
    training: TrainReceipt | None = None
    """Of the stage train."""
    spent: Mapping[str, float] = field(default_factory=dict)
    """Seconds of all workers by what they went to; empty: that was not measured, or nothing was."""
    slots: int = 1
    """Workers that shared the work."""

    @classmethod
    def of(
        cls,
        stage: str,
        snapshot: Snapshot,
        *,
        done: Mapping[str, int],
        seconds: float,
        notes: tuple[str, ...] = (),
        training: TrainReceipt | None = None,
    ) -> StageReceipt:
        """The receipt of a stage that ended with this snapshot."""
        return cls(
            stage=stage,
            made=SnapshotRef.to(snapshot),
            rows=snapshot.rows,
            counts=snapshot.counts(),
            done=done,
            seconds=round(seconds, 3),
            notes=notes,
            training=training,
        )

    @property
    def changed(self) -> bool:
        """Whether it did anything."""
        return any(self.done.values())

    @property
    def words(self) -> str:
        """What it did, in a few words."""
        done = [f"{count} {what}" for what, count in self.done.items() if count]
        return ", ".join(done) or "nothing to do"

    def to_json(self) -> dict[str, Any]:
        """As `reelvec run --json` prints it."""
        counts = self.counts
        return {
            "stage": self.stage,
            "artifact": self.made.fingerprint,
            "kind": self.made.kind,
            "snapshot": self.made.number,
            "rows": self.rows,
            "counts": {
                "planned": counts.planned,
                str(Status.OK): counts.ok,
                str(Status.SALVAGED): counts.salvaged,
                str(Status.QUARANTINED): counts.quarantined,
            },
            "done": dict(self.done),
            "seconds": self.seconds,
            "notes": list(self.notes),
            **(self.training.to_json() if self.training else {}),
        }
