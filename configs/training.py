"""Options of training that form groups of their own: what a student learns from its teachers."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from reelvec.configs.corpora import Options

__all__ = ["DistillationConfig"]

Comparison = Literal["pear", "ce", "l1"]
"""pear: 1 - the correlation of two distributions; ce: cross entropy; l1: smooth L1 distance."""

Weight = Annotated[float, Field(ge=0)]

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
