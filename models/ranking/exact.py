"""The product of unit vectors without any rounding of its sums, and a faster one near to it."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from reelvec.models.ranking.tiles import Rows

__all__ = ["Cosines", "exact_product"]

_STEPS = 2.0**26
"""To which a number between -1 and 1 is rounded: 7e-9, some 6e-9 of a cosine of 512 numbers."""
_VIDEOS_AT_ONCE = 4096
"""Held in float64 at once."""
_PAIRS_AT_ONCE = 64
"""Two vectors of each stay in a processor's cache."""
_LONGEST = 1.01
"""Sums of longer vectors may not be exact."""
_ROUNDING = 2.0**-24
"""Of one float32 operation, as a part of its result."""


def exact_product(texts: Tensor, videos: Tensor) -> Tensor:
    """Cosines [T, V] of unit vectors, the same bits in any blocks, on any threads and machine.

    Numbers are rounded to whole multiples of 2^-26. Products are then whole multiples of 2^-52,
    and their sums, no larger than a cosine can be, exact in float64, whatever their order.

    Args:
        texts: [T, D], of length 1.
        videos: [V, D], of length 1.

    Returns:
        float32, rounded once.
    """
    whole = _whole(texts)
    parts = [
        (whole @ _whole(some).T).div_(_STEPS**2).float()
        for some in torch.split(videos, _VIDEOS_AT_ONCE)
    ]
    return torch.cat(parts, dim=1)


def _whole(vectors: Tensor) -> Tensor:
    return vectors.double().mul_(_STEPS).round_()


class Cosines:
    """Cosines of texts with videos, times a scale: exact ones, and float32 products near to them.

    A float32 product of D numbers has at most D roundings, each of the sum of their sizes, which is
    at most the product of the lengths; the rest of `error` is for steps of 2^-26 (sqrt(D) / 4), and
    for the roundings of the scale, of the exact score and of who adds the error to a score.

    Args:
        texts: [T, D], of length 1; float32 or float16, may be mapped.
        videos: [V, D], likewise.
        scale: of the scores.
    """

    def __init__(
        self,
        texts: NDArray[Any],
        videos: NDArray[Any],
        *,
        scale: float = 1.0,
    ) -> None:
        self._texts, self._videos, self._scale = texts, videos, scale
        width = texts.shape[1]
        self._longest = float(np.maximum(_longest(texts), _longest(videos)))  # NaN stays
        roundings = width + np.sqrt(width) + 16
        self._error = float(roundings * _ROUNDING * max(1.0, self._longest) ** 2 * abs(scale))

    @property
    def bounded(self) -> bool:
        """Whether `error` holds: the vectors are finite, and no longer than unit vectors are."""
        return bool(self._longest <= _LONGEST)

    @property
    def error(self) -> float:
        """How far `near` may be from what is meant."""
        return self._error

    def near(self, texts: slice, videos: slice) -> Tensor:
        """Scores [t, v] within `error` of the exact ones."""
        scaled = np.multiply(self._texts[texts], self._scale, dtype=np.float32)
        columns = np.ascontiguousarray(self._videos[videos], dtype=np.float32)
        return torch.from_numpy(scaled) @ torch.from_numpy(columns).T

    def pairs(self, texts: Rows, videos: Rows) -> Tensor:
        """Exact scores [n] of texts [n] with videos [n]: the bits of `block`."""
        sums = np.empty(len(texts))
        for start in range(0, len(texts), _PAIRS_AT_ONCE):
            some = slice(start, start + _PAIRS_AT_ONCE)
            sides = (self._texts[texts[some]], self._videos[videos[some]])
            left, right = (np.rint(np.multiply(x, _STEPS, dtype=np.float64)) for x in sides)
            np.einsum("nd,nd->n", left, right, out=sums[some])
        return self._scale * torch.from_numpy(sums).div_(_STEPS**2).float()

    def block(self, texts: Rows, videos: slice) -> Tensor:
        """Exact scores [n, v] of texts [n] with consecutive videos."""
        sides = (self._texts[texts], self._videos[videos])
        left, right = (torch.from_numpy(np.array(x, dtype=np.float32)) for x in sides)
        return self._scale * exact_product(left, right)


def _longest(vectors: NDArray[Any]) -> float:
    """Length of the longest row of [n, D]; infinity or NaN where one is not finite."""
    lengths = [0.0]
    for start in range(0, len(vectors), _VIDEOS_AT_ONCE):
        some = np.asarray(vectors[start : start + _VIDEOS_AT_ONCE], dtype=np.float32)
        with np.errstate(over="ignore"):
            lengths.append(float(np.sqrt(np.einsum("nd,nd->n", some, some).max())))
    return float(np.max(lengths))
