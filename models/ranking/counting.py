"""How many scores of a tile lie above or at a limit, in one comparison each."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

__all__ = ["Counter"]

_BYTES = 8
"""Of a word: as many truth values are added at once."""
_MOST = 255
"""Words that may be added before a byte of them is full."""


class Reached(NamedTuple):
    """Of each row or column: how many scores are above `high`, and not below `low`."""

    above: Tensor  # int64 [n]
    not_below: Tensor  # int64 [n]


class Counter:
    """Counts in tiles of up to [texts, videos]; its memory is that of two truth values a score."""

    def __init__(self) -> None:
        self._room = torch.zeros(2, 0, 0, dtype=torch.bool)
        self._wide = 0

    def count(self, scores: Tensor, low: Tensor, high: Tensor, *, over: int) -> Reached:
        """Scores [t, v] against limits [t] (over 1: of each row) or [v] (over 0: each column)."""
        above, not_below = self._compared(scores, low, high, over=over)
        width = scores.shape[1]
        counts = [_sum(part, over=over) for part in (above, not_below)]
        return Reached(*(c if over == 1 else c[:width] for c in counts))

    def between(self, scores: Tensor, low: Tensor, high: Tensor, *, over: int) -> Tensor:
        """(row, column) int64 [n, 2] of the scores that are neither above nor below."""
        above, not_below = self._compared(scores, low, high, over=over)
        return (above ^ not_below).nonzero()

    def _compared(
        self, scores: Tensor, low: Tensor, high: Tensor, *, over: int
    ) -> tuple[Tensor, Tensor]:
        """Truth values [t, w], where w is a whole number of words and what is added is false."""
        (tall, wide), device = scores.shape, scores.device
        words = -(-wide // _BYTES) * _BYTES
        shape = (2, tall, words)
        if self._wide != wide or self._room.shape != shape or self._room.device != device:
            self._wide = wide
            self._room = torch.zeros(shape, dtype=torch.bool, device=device)
        above, not_below = self._room
        low, high = (limit[:, None] if over == 1 else limit[None] for limit in (low, high))
        torch.gt(scores, high, out=above[:, :wide])
        torch.ge(scores, low, out=not_below[:, :wide])
        return above, not_below


def _sum(truths: Tensor, *, over: int) -> Tensor:
    """Sums of truth values [t, w], int64: eight are added at once, as the bytes of a word."""
    words = truths.view(torch.int64)
    total = torch.zeros(truths.shape[1 - over], dtype=torch.int64, device=truths.device)
    for some in torch.split(words, _MOST, dim=over):
        sums = some.sum(over).view(torch.uint8)
        total += sums.view(len(words), _BYTES).sum(1) if over == 1 else sums
    return total
