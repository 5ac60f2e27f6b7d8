"""Which of a video's frames stand where, and frames by their places."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["each_once", "evenly", "pick"]


def evenly(mask: Tensor) -> Tensor:
    """Index of the frame at each place, [V, N]: floor(i n / N) where only n < N are real."""
    real = mask != 0
    count = real.sum(dim=1, keepdim=True)
    places = torch.arange(mask.shape[1], device=mask.device)
    return _real_first(real).gather(1, places * count // mask.shape[1])


def _real_first(real: Tensor) -> Tensor:
    """Indices [V, N] of a mask's true entries, in order, then of the others."""
    return real.int().argsort(dim=1, descending=True, stable=True)


def each_once(kept: Tensor, *, mask: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """What to encode for K places, where a video with fewer real frames repeats some.

    Args:
        kept: [V, K] indices of frames.
        mask: [V, N].

    Returns:
        Indices [V, K] of frames, which of them are to be encoded [V, K], and where among these each
        of `kept` is [V, K].
    """
    real = mask != 0
    slots = torch.arange(kept.shape[1], device=kept.device)
    count = real.sum(dim=1, keepdim=True)
    few = count <= len(slots)
    rank = (real.cumsum(dim=1) - 1).clamp_(min=0).gather(1, kept)
    needed = torch.where(few, _real_first(real)[:, : len(slots)], kept)
    return needed, ~few | (slots < count), torch.where(few, rank, slots)


def pick(x: Tensor, index: Tensor) -> Tensor:
    """x[v, index[v, i]] for x [V, N, ...] and index [V, K]."""
    return x[torch.arange(len(x), device=x.device)[:, None], index]
