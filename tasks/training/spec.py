"""What the supervisor tells the worker: one JSON file, made of plain values and configs."""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, ConfigDict

from reelvec.configs.schema import ModelConfig, TrainConfig
from reelvec.tasks.artifacts import SnapshotRef

__all__ = ["TrainSpec", "read_spec", "write_spec"]


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


def write_spec(spec: TrainSpec, path: Path) -> None:
    """Write `spec` as JSON."""
    path.write_text(spec.model_dump_json(indent=2), encoding="utf-8")


def read_spec(path: Path) -> TrainSpec:
    """The spec at `path`.

    Raises:
        pydantic.ValidationError: it was written by other code.
    """
    return TrainSpec.model_validate_json(path.read_text(encoding="utf-8"))
