"""What the supervisor tells the worker: one JSON file, made of plain values and configs."""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, ConfigDict

from reelvec.configs.schema import ModelConfig, TrainConfig

__all__ = ["TrainSpec", "read_spec", "write_spec"]


class TrainSpec(BaseModel):
    """One training run: where it reads, where it commits, and how it trains."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    store: str
    """Root of the store."""
    checkpoint: str
    """Fingerprint of the checkpoint artifact, which holds the training set already."""
    frames: str
    """Fingerprint of the frames artifact."""
    frames_number: int
    """Snapshot of it that is read."""
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
