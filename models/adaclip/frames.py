"""Which of a video's frames stand where, and frames by their places."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["evenly", "pick", "real_first"]


def evenly(mask: Tensor) -> Tensor:
    """Index of the frame at each place, [V, N]: floor(i n / N) where only n < N are real."""
    real = mask != 0
    count = real.sum(dim=1, keepdim=True)
    places = torch.arange(mask.shape[1], device=mask.device)
    return real_first(real).gather(1, places * count // mask.shape[1])


def real_first(real: Tensor) -> Tensor:
    """Indices [V, N] of a mask's true entries, in order, then of the others."""
    return real.int().argsort(dim=1, descending=True, stable=True)


def pick(x: Tensor, index: Tensor) -> Tensor:
    """x[v, index[v, i]] for x [V, N, ...] and index [V, K]."""
    return x[torch.arange(len(x), device=x.device)[:, None], index]
