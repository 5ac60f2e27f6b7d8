"""What the supervisor tells the worker: one JSON file, made of plain values and configs."""

from __future__ import annotations

import json
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from reelvec.configs.schema import ModelConfig, TrainConfig
from reelvec.tasks.artifacts import SnapshotRef
from reelvec.tasks.training.teachers import Teacher

__all__ = ["Kept", "TrainSpec", "read_spec", "write_spec"]


class Kept(BaseModel):
    """What frozen encoders gave for the texts and clips of a training."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    backbone: SnapshotRef | None = None
    """Of the model's own backbone; None: it is computed from frames."""
    teachers: tuple[Teacher, ...] = ()
    """Each with its features."""

    @property
    def origins(self) -> dict[str, str]:
        """What a checkpoint says of them; of a training without any: nothing."""
        refs = [self.backbone, *(teacher.features for teacher in self.teachers)]
        found: dict[str, str] = {}
        if any(refs):
            found["features"] = " ".join(ref.fingerprint for ref in refs if ref)
        if self.teachers:
            found["teachers"] = json.dumps([teacher.remembered for teacher in self.teachers])
        return found


class TrainSpec(BaseModel):
    """One training run: where it reads, where it commits, and how it trains."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    checkpoint: SnapshotRef
    """Where it commits: the artifact holds the training set already."""
    frames: SnapshotRef
    """What it reads."""
    model: ModelConfig
    """The model; `weights` is the path of what it starts from."""
    train: TrainConfig
    """The options."""
    kept: Kept = Kept()
    """What frozen encoders gave for the training set."""


def write_spec(spec: TrainSpec, path: Path) -> None:
    """Write `spec` as JSON."""
    path.write_text(spec.model_dump_json(indent=2), encoding="utf-8")


def read_spec(path: Path) -> TrainSpec:
    """The spec at `path`.

    Raises:
        pydantic.ValidationError: it was written by other code.
    """
    return TrainSpec.model_validate_json(path.read_text(encoding="utf-8"))
