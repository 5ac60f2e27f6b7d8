"""Tiles of a similarity matrix, and the exact scores that rounded ones stand for."""

from __future__ import annotations

from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

__all__ = ["Meant", "Rows", "Tile"]

Rows = NDArray[np.int64]
"""Numbers of texts or videos."""


class Tile(NamedTuple):
    """Scores of consecutive texts with consecutive videos."""

    text: int
    """The first text, a row of the matrix."""
    video: int
    """The first video, a column."""
    scores: Tensor
    """[t, v]."""


class Meant(Protocol):
    """The scores that are meant, where those of a tile are near to them."""

    @property
    def error(self) -> float:
        """How far a score of a tile may be from what is meant."""

    def pairs(self, texts: Rows, videos: Rows) -> Tensor:
        """Scores [n] of texts [n] with videos [n]."""

    def block(self, texts: Rows, videos: slice) -> Tensor:
        """Scores [n, v] of texts [n] with consecutive videos."""
