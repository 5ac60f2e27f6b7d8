"""Memory in which X-CLIP's costly sums are taken, block by block, and the views of it.

G is words x frames of every pair of a block. One matrix product writes it for many texts; then a
few texts at a time pass through memory that stays in a core's cache. Views are made once for
blocks of a size: making one costs as much as a small operation.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

__all__ = ["TAU", "Room", "Rooms"]

TAU = 0.01
"""Temperature of every softmax."""
_SHIFT = 50.0
"""Stands in for the row's maximum: exp(100 cos - 50) stays finite up to a cosine of 1.38."""
_LOG2_E = math.log2(math.e)
"""exp(x) is 2 to the power of this times x, which torch has in a third of the time on a CPU."""


class _Way(NamedTuple):
    """Views of some texts for the sums over words [t, L, F v], or over frames [t L, F, v]."""

    mix: Tensor
    """The matrix for each text, or word."""
    ones: Tensor
    """A sum is a product with ones."""
    g: Tensor
    shared: Tensor
    """Exponentials."""
    mixed: Tensor
    """Room for G mixed."""
    over: Tensor
    """Sums of exponentials [t, 1, F v], or [t L, 1, v]."""
    by: Tensor
    """Sums of them times G mixed, of that shape."""


class _Part(NamedTuple):
    """Some texts of a block: what is worked on at once."""

    g: Tensor
    """Flat."""
    shared: Tensor
    """Flat."""
    ways: tuple[_Way, _Way]


class Room(NamedTuple):
    """Views for a block of texts and videos."""

    product: Tensor
    """G [t L, F v], which the caller writes."""
    over_words: Tensor
    """Sums of exponentials over words [t, 1, F v]."""
    by_frame: Tensor
    """Those times G mixed."""
    over_frames: Tensor
    """Sums of exponentials over frames [t L, 1, v]."""
    by_word: Tensor
    """Those times G mixed."""
    parts: list[_Part]

    shift: Tensor

    def sum_up(self) -> None:
        """Write the sums of the exponentials of G, and of them times G mixed."""
        for part in self.parts:
            torch.add(self.shift, part.g, alpha=_LOG2_E / TAU, out=part.shared).exp2_()
            for mix, ones, g, shared, mixed, over, by in part.ways:
                torch.bmm(mix, g, out=mixed).mul_(shared)
                torch.bmm(ones, shared, out=over)
                torch.bmm(ones, mixed, out=by)


class Rooms:
    """Memory of all blocks, one after another.

    Args:
        like: a tensor of that type and device.
        mixes: word_mat [L, L] and frame_mat [F, F].
        texts: of a block.
        videos: of a block.
        step: texts worked on at once.
    """

    def __init__(
        self, like: Tensor, mixes: tuple[Tensor, Tensor], *, texts: int, videos: int, step: int
    ) -> None:
        self.step = step
        self._mixes = mixes
        words, frames = map(len, mixes)
        self._product = like.new_empty(texts * words * frames * videos)
        self._held = like.new_empty(2, step * words * frames * videos)
        self._over_words = like.new_empty(2, texts * frames * videos)
        self._over_frames = like.new_empty(2, texts * words * videos)
        self._ones = like.new_ones(1, max(words, frames))
        self._shift = like.new_tensor(-_SHIFT * _LOG2_E)
        self._rooms: dict[tuple[int, int], Room] = {}

    def room(self, texts: int, videos: int) -> Room:
        """For so many of each."""
        if (texts, videos) not in self._rooms:
            self._rooms[texts, videos] = self._made(texts, videos)
        return self._rooms[texts, videos]

    def _made(self, texts: int, videos: int) -> Room:
        words, frames = map(len, self._mixes)
        product = self._product[: texts * words * frames * videos].view(texts * words, -1)
        over_words, by_frame = self._over_words[:, : texts * frames * videos].view(2, texts, 1, -1)
        over_frames, by_word = self._over_frames[:, : texts * words * videos].view(
            2, texts * words, 1, -1
        )
        parts = zip(
            torch.split(product, self.step * words),
            *(torch.split(x, self.step) for x in (over_words, by_frame)),
            *(torch.split(x, self.step * words) for x in (over_frames, by_word)),
            strict=True,
        )
        return Room(
            product,
            over_words,
            by_frame,
            over_frames,
            by_word,
            [self._part(g.flatten(), (sums[:2], sums[2:])) for g, *sums in parts],
            self._shift,
        )

    def _part(self, g: Tensor, sums: tuple[list[Tensor], list[Tensor]]) -> _Part:
        """Where the sums over words, then over frames, come from and go to."""
        held = self._held[:, : len(g)].unbind()

        def way(mix: Tensor, over: Tensor, by: Tensor) -> _Way:
            count = len(over)
            mixes, ones = (x[:, : len(mix)].expand(count, -1, -1) for x in (mix, self._ones))
            seen, shared, mixed = (x.view(count, len(mix), -1) for x in (g, *held))
            return _Way(mixes, ones, seen, shared, mixed, over, by)

        first, second = (way(mix, *pair) for mix, pair in zip(self._mixes, sums, strict=True))
        return _Part(g, held[0], (first, second))
