"""What the supervisor tells the worker: one JSON file, made of plain values and configs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from reelvec.configs.schema import ModelConfig, TrainConfig
from reelvec.tasks.artifacts import SnapshotRef

__all__ = ["SEEN", "Kept", "Teacher", "TrainSpec", "read_spec", "write_spec"]


SEEN = ("max_frames", "frame_selection", "eval_frame_order")
"""What must be the same of a teacher and its student."""


class Teacher(BaseModel):
    """A model that teaches: plain values, which name it in any process."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    name: str
    """As the config names it."""
    model: ModelConfig
    """Of a weights file with its path."""
    weights_hash: str
    checkpoint: SnapshotRef | None = None
    """Of a run: its best checkpoint is taken; None: model.weights."""
    features: SnapshotRef | None = None
    """What it gave for the texts and clips of a training; None: not asked yet."""

    @property
    def remembered(self) -> dict[str, Any]:
        """What a checkpoint that it taught says of it."""
        return self.model_dump(mode="json", include={"name", "model", "weights_hash"})

    @property
    def identity(self) -> dict[str, Any]:
        """Its part in the identity of what it teaches: weights by hash, never by name."""
        shown = {"family", "options", "max_words", *SEEN}
        model = self.model.model_dump(mode="json", include=shown)
        return {"weights": self.weights_hash, "model": model}


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
