"""How many scores of a tile lie above or at a limit, and where, in one comparison each."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

__all__ = ["Counter", "places_above"]

_BYTES = 8
"""Of a word: as many truth values are added, or looked through, at once."""
_MOST = 255
"""Words that may be added before a byte of them is full."""
_NUMPY = (torch.float32, torch.float64)
"""What NumPy compares on a CPU, in less than half of torch's time."""


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
        width = scores.shape[1]
        room = self._room_for(scores)
        for limit, above, truths in zip((high, low), (True, False), room, strict=True):
            wide = limit[:, None] if over == 1 else limit[None]
            _compare(scores, wide, above=above, out=truths[:, :width])
        counts = [_sum(truths, over=over) for truths in room]
        return Reached(*(c if over == 1 else c[:width] for c in counts))

    def between(self) -> Tensor:
        """(row, column) int64 [n, 2] of the scores counted last, neither above nor below."""
        above, not_below = self._room.view(torch.int64)
        return _places(above ^ not_below)

    def _room_for(self, scores: Tensor) -> Tensor:
        """Truth values [2, t, w], where w is a whole number of words and what is added is false."""
        (tall, wide), device = scores.shape, scores.device
        shape = (2, tall, _padded(wide))
        if self._wide != wide or self._room.shape != shape or self._room.device != device:
            self._wide = wide
            self._room = torch.zeros(shape, dtype=torch.bool, device=device)
        return self._room


def places_above(scores: Tensor, limits: Tensor) -> Tensor:
    """(row, column) int64 [n, 2] of the scores [t, v] above the limit [t] of their row."""
    tall, wide = scores.shape
    truths = torch.zeros(tall, _padded(wide), dtype=torch.bool, device=scores.device)
    _compare(scores, limits[:, None], above=True, out=truths[:, :wide])
    return _places(truths.view(torch.int64))


def _padded(wide: int) -> int:
    return -(-wide // _BYTES) * _BYTES


def _compare(scores: Tensor, limits: Tensor, *, above: bool, out: Tensor) -> None:
    """Whether each score is above its limit; else: not below it."""
    if scores.device.type == "cpu" and scores.dtype == limits.dtype and scores.dtype in _NUMPY:
        compare = np.greater if above else np.greater_equal
        compare(scores.numpy(), limits.numpy(), out=out.numpy())
    else:
        (torch.gt if above else torch.ge)(scores, limits, out=out)


def _places(words: Tensor) -> Tensor:
    """Where the truth values are true whose words are these [t, w / 8]; most of them are none."""
    some = words.nonzero()
    truths = words[some[:, 0], some[:, 1]].view(torch.bool).view(-1, _BYTES)
    word, byte = truths.nonzero(as_tuple=True)
    return torch.stack([some[word, 0], some[word, 1] * _BYTES + byte], dim=1)


def _sum(truths: Tensor, *, over: int) -> Tensor:
    """Sums of truth values [t, w], int64: eight are added at once, as the bytes of a word."""
    words = truths.view(torch.int64)
    total = torch.zeros(truths.shape[1 - over], dtype=torch.int64, device=truths.device)
    for some in torch.split(words, _MOST, dim=over):
        sums = some.sum(over).view(torch.uint8)
        total += sums.view(len(words), _BYTES).sum(1) if over == 1 else sums
    return total
