"""The product of unit vectors without any rounding of its sums."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["exact_product"]

_STEPS = 2.0**26
"""To which a number between -1 and 1 is rounded: 7e-9, some 6e-9 of a cosine of 512 numbers."""
_VIDEOS_AT_ONCE = 4096
"""Held in float64 at once."""


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
