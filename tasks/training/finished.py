"""A finished training, its receipt, and notes for who reads its numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from reelvec.configs import PipelineConfig
from reelvec.configs.schema import TrainConfig
from reelvec.models.training.schedules import multiplier
from reelvec.storage.commits.artifact import Snapshot
from reelvec.tasks.artifacts import SnapshotRef
from reelvec.tasks.training.committed import CheckpointRef, best_checkpoint, checkpoints
from reelvec.tasks.training.items import Item, read_items
from reelvec.tasks.training.progress import History

__all__ = ["TrainReceipt", "Trained", "finished", "receipt_of"]


@dataclass(frozen=True)
class Trained:
    """A finished training.

    Attributes:
        snapshot: of the checkpoint artifact.
        best: the checkpoint that is used.
        last: the checkpoint of the last step.
    """

    snapshot: Snapshot
    best: CheckpointRef
    last: CheckpointRef

    @property
    def ref(self) -> SnapshotRef:
        """Names it in any process."""
        return SnapshotRef.to(self.snapshot)

    @property
    def weights_hash(self) -> str:
        """Hash of the best weights."""
        return self.best.weights_hash

    @property
    def path(self) -> Path:
        """The best checkpoint's file, verified."""
        return self.best.path

    @property
    def history(self) -> History:
        """A point an epoch."""
        return self.last.progress.history

    @property
    def best_epoch(self) -> int:
        """Epoch of the best checkpoint, from 1; 0: not trained."""
        return self.best.progress.epoch


@dataclass(frozen=True, slots=True)
class TrainReceipt:
    """What a training came to, over all runs that contributed; small and picklable."""

    part: str
    """The best checkpoint, below the artifact's folder."""
    weights_hash: str
    epochs: int
    steps: int
    best_epoch: int
    """From 1; 0: not trained."""
    history: History
    training_seconds: float
    steps_done: int
    """Of this call."""
    notes: tuple[str, ...]
    """What a reader of the numbers should know."""

    def to_json(self) -> dict[str, Any]:
        """What is particular to the stage train in a run's JSON."""
        return {
            "part": self.part,
            "weights_hash": self.weights_hash,
            "epochs": self.epochs,
            "steps": self.steps,
            "best_epoch": self.best_epoch,
            "history": [dict(point) for point in self.history],
            "training_seconds": self.training_seconds,
        }


def finished(snapshot: Snapshot | None) -> Trained | None:
    """The finished training of a snapshot of a checkpoint artifact, if it is finished."""
    refs = checkpoints(snapshot)
    if snapshot is None or not refs or not refs[-1].progress.finished:
        return None
    return Trained(snapshot, best_checkpoint(refs), refs[-1])


def receipt_of(
    trained: Trained, config: PipelineConfig, *, items: Sequence[Item], done: int
) -> TrainReceipt:
    """What `tasks.training.train.train` returns."""
    last = trained.last.progress
    return TrainReceipt(
        part=trained.best.part.part,
        weights_hash=trained.weights_hash,
        epochs=last.epoch,
        steps=last.step,
        best_epoch=trained.best_epoch,
        history=last.history,
        training_seconds=trained.last.seconds,
        steps_done=done,
        notes=tuple(_notes(trained, config, items=items)),
    )


def _notes(trained: Trained, config: PipelineConfig, *, items: Sequence[Item]) -> list[str]:
    """What a reader of the numbers should know."""
    if config.train.epochs == 0:
        return []
    notes = []
    then = {item.item_id: item for item in read_items(trained.snapshot)}
    grown = [item for item in items if then.get(item.item_id) != item]
    if grown:
        notes.append(
            f"{len(grown)} captions are new or changed since this model was trained; "
            "train.when_corpus_grows=retrain trains it anew"
        )
    if trained.last.progress.step == 1 and _first_rate(config.train) == 0:
        notes.append(
            "Training had one step, and warm-up begins at rate 0: the weights are those it began "
            "with. More train.epochs or a smaller train.batch_size make more steps."
        )
    last = trained.last.progress
    if last.stopped:
        notes.append(
            f"Training stopped after epoch {last.epoch} of {config.train.epochs}: none of the last"
            f" {config.train.stop_after} was better (train.stop_after)."
        )
    if config.train.selection_split == "test":
        notes.append("The best epoch was chosen on the test split.")
    if not any(item.role == "selection" for item in then.values()):
        notes.append(
            f"No captions in the split {config.train.selection_split} to choose the best epoch "
            "on: it is the last."
        )
    return notes


def _first_rate(options: TrainConfig) -> float:
    """What the peak rate is multiplied with in the first step of several."""
    return multiplier(options.schedule, step=0, total_steps=2, warmup=options.warmup)
