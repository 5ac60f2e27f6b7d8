"""Upper bounds of a family's score, far cheaper than the score: what exact search prunes with.

A family that has one says what is kept of a video for it, and how high the score of a query with
the video can be at most, from products of the query's rows with the kept vectors. The bound is of
the score *as it is computed*, float32 roundings included; where that cannot be proven it says so,
and the video is always scored.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from reelvec.models.family import RetrievalModel
from reelvec.models.features import Columns, TextFeatures, VideoFeatures
from reelvec.models.ranking.coarse import Near

__all__ = ["Asked", "Bounded", "Kept", "ScoreBound", "finite_rows", "gamma"]

_UNIT = 2.0**-24


def gamma(operations: float) -> float:
    """What so many float32 operations may change, as a part of the sum of their sizes."""
    return operations * _UNIT * (1.0 + 2.0**-10)


class Kept(NamedTuple):
    """What a bound needs of V videos."""

    vectors: Mapping[str, Tensor]
    """By name [V, n, D]: what queries are multiplied with; finite where it is sure."""
    facts: Tensor
    """float64 [V, k]; k may be 0."""
    sure: Tensor
    """bool [V]; False: nothing is proven of the video, it is always scored."""


class Asked(NamedTuple):
    """What a bound needs of one text."""

    rows: Mapping[str, Tensor]
    """By name of `Kept.vectors`, float64 [R, D]."""
    facts: Mapping[str, Tensor]
    """float64."""


class ScoreBound(ABC):
    """The bound of one model's score, at its parameters as they are now.

    Attributes:
        text_columns: of the model.
        video_columns: likewise.
        scale: of its scores.
    """

    def __init__(self, model: RetrievalModel) -> None:
        self.text_columns: Columns = model.text_columns
        self.video_columns: Columns = model.video_columns
        with torch.no_grad():
            self.scale = float(model.logit_scale.exp())

    @property
    @abstractmethod
    def made_with(self) -> Sequence[str | Tensor]:
        """All that `kept` depends on beside the videos: a name of the recipe, parameters."""

    @abstractmethod
    def kept(self, video: VideoFeatures) -> Kept:
        """Of videos as the table has them, floats as float32."""

    @abstractmethod
    def asked(self, text: TextFeatures) -> Asked:
        """Of one text, [1, ...]."""

    @abstractmethod
    def upper(self, asked: Asked, near: Mapping[str, Near], facts: Tensor) -> Tensor:
        """No less than the computed score of the text with each of V videos, float64 [V].

        Args:
            asked: of the text.
            near: products of its rows with the kept vectors of the same name.
            facts: of the videos, float64 [V, k].
        """


class Bounded(ABC):
    """A model with a bound."""

    @abstractmethod
    def score_bound(self) -> ScoreBound | None:
        """The bound of `similarity`; None: this variant has none."""


def finite_rows(*columns: Tensor) -> Tensor:
    """Whether all numbers of a row of each column [V, ...] are finite, bool [V]."""
    return torch.stack([x.isfinite().flatten(1).all(dim=1) for x in columns]).all(dim=0)
