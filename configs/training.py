"""Options of training that form groups of their own: teachers, and adapters of the towers."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, field_validator

from reelvec.configs.corpora import Options

__all__ = ["Beta", "DistillationConfig", "LoraConfig"]

Comparison = Literal["pear", "ce", "l1"]
"""pear: 1 - the correlation of two distributions; ce: cross entropy; l1: smooth L1 distance."""

Weight = Annotated[float, Field(ge=0)]
Beta = Annotated[float, Field(ge=0, lt=1)]
Target = Literal["q", "k", "v", "out_proj", "c_fc", "c_proj"]
"""A matrix of each block: attention's query, key, value and output; the MLP's two."""
Tower = Literal["text", "visual"]

_PUBLISHED = (0.2, 1.0, 2.0)
_PUBLISHED_CE = (1.0, 10.0, 1.0)


class DistillationConfig(Options):
    """How a student is brought near its teachers (specs/more-heads.md 4.4)."""

    scores: Comparison = "pear"
    """How the scores of a batch are compared: of each text with all videos, and the other way."""
    frames: Comparison = "ce"
    """How the weights of a video's frames are compared, where student and teacher give some."""
    temperature: float = Field(default=1.0, gt=0)
    """All scores are divided by it first."""
    weights: tuple[Weight, Weight, Weight] | None = None
    """Of the pairs' own loss, of the scores' and of the frames'; null: as published, 0.2, 1 and 2,
    or 1, 10 and 1 where scores is ce."""

    @property
    def resolved_weights(self) -> tuple[float, float, float]:
        """The weights, those that were published where none are given."""
        if self.weights is not None:
            return self.weights
        return _PUBLISHED_CE if self.scores == "ce" else _PUBLISHED


class LoraConfig(Options):
    """Adapters of the towers (LoRA): W x + alpha / rank * B A x, of which A and B alone learn."""

    rank: int = Field(default=8, ge=1)
    """Rows of A, columns of B."""
    alpha: float = Field(default=16.0, gt=0)
    """What an adapter gives is multiplied with alpha / rank."""
    targets: tuple[Target, ...] = Field(default=("q", "v"), min_length=1)
    """Which matrices of each block are adapted."""
    towers: tuple[Tower, ...] = Field(default=("text", "visual"), min_length=1)
    """In which towers."""
    rate_factor: float = Field(default=1.0, gt=0)
    """The rate of adapters is learning_rate times this."""

    @field_validator("targets", "towers", mode="before")
    @classmethod
    def _each_once(cls, names: object) -> object:
        """One name stands for a list of it; order and repetition mean nothing."""
        names = (names,) if isinstance(names, str) else names
        if isinstance(names, list | tuple) and all(isinstance(name, str) for name in names):
            return tuple(sorted(set(names)))
        return names
