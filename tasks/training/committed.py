"""Checkpoints that are committed, as their receipts tell of them: no weights are read."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from reelvec.storage.commits.artifact import PartRef, Snapshot
from reelvec.tasks.training.progress import Progress

__all__ = ["BY_ROW", "CHECKPOINTS", "CheckpointRef", "best_checkpoint", "checkpoints"]

CHECKPOINTS = "checkpoints"
"""Name of the table."""
BY_ROW = "by row"
"""How a checkpoint says that its training drew noise by row."""


@dataclass(frozen=True)
class CheckpointRef:
    """A committed checkpoint, without its tensors."""

    part: PartRef
    key: str
    progress: Progress
    weights_hash: str
    seconds: float
    """Of training up to here, over all runs that contributed."""
    noise_by_row: bool
    """Whether its noise, if it drew any, was drawn by row (before: by part of a batch)."""

    @property
    def features(self) -> tuple[str, ...]:
        """Fingerprints of the features artifacts it was trained from."""
        return tuple(str(self.part.receipt.extra.get("features", "")).split())

    @property
    def teachers(self) -> list[dict[str, Any]]:
        """What it says of each teacher it had (`Teacher.remembered`)."""
        told: list[dict[str, Any]] = json.loads(str(self.part.receipt.extra.get("teachers", "[]")))
        return told

    @property
    def path(self) -> Path:
        """A local file with its bytes, verified."""
        return self.part.path


def checkpoints(snapshot: Snapshot | None) -> list[CheckpointRef]:
    """Checkpoints in force, oldest first; reads receipts only."""
    refs = [_ref(part) for part in snapshot.parts(CHECKPOINTS)] if snapshot else []
    return sorted(refs, key=lambda ref: ref.progress.step)


def best_checkpoint(refs: Sequence[CheckpointRef]) -> CheckpointRef:
    """The checkpoint that the newest one calls the best; the newest where it calls none so."""
    last = refs[-1]
    best = last.progress.best
    return next((ref for ref in refs if best and ref.progress.step == best.step), last)


def _ref(part: PartRef) -> CheckpointRef:
    receipt = part.receipt
    return CheckpointRef(
        part=part,
        key=receipt.keys[0],
        progress=Progress.model_validate_json(str(receipt.extra["progress"])),
        weights_hash=str(receipt.extra["weights_hash"]),
        seconds=float(receipt.extra["seconds"]),
        noise_by_row=receipt.extra.get("noise") == BY_ROW,
    )
