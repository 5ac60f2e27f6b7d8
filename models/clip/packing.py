"""Padding is not computed: what a batch really holds, put side by side, and back in its places."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

__all__ = ["Places", "caption_lengths", "encode_packed"]

_STEP = 8
"""Captions are cut to a multiple of it: few lengths, and products of shapes that are fast."""


class Places:
    """Positions of packed items [N, …] in sequences [B, L, …] that are padded at their ends."""

    def __init__(self, real: Tensor, *, with_padding: bool = False) -> None:
        """Positions of the true entries of a mask, bool [B, L], which has at least one.

        Args:
            real: the mask.
            with_padding: the first padded item is packed too, as the last one, and stands for all
                padding; the mask may then be all false, but not all true.
        """
        self.shape = real.shape
        flat = real.flatten()
        self._index = flat.nonzero()[:, 0]
        self._shown = (flat.cumsum(0) - 1).clamp_(min=0)
        if with_padding:
            self._shown = torch.where(flat, self._shown, len(self._index))
            self._index = torch.cat([self._index, flat.int().argmin(keepdim=True)])

    def pack(self, x: Tensor) -> Tensor:
        """The items [N, …] of sequences [B, L, …]."""
        return x.flatten(0, 1).index_select(0, self._index)

    def spread(self, x: Tensor) -> Tensor:
        """Sequences [B, L, W] of packed x [N, W]; padding copies the item before it.

        So it never holds another row's NaN, unless its own row is empty.
        """
        return x.index_select(0, self._shown).view(*self.shape, -1)


def encode_packed(
    encode: Callable[[Tensor], Tensor], frames: Tensor, mask: Tensor, *, keep_padding: bool = False
) -> Tensor:
    """Features [V, F, D] of frames [V, F, 3, S, S], of which padded ones are not encoded.

    Args:
        encode: frames [N, 3, S, S] to features [N, D], each frame by itself.
        frames: padded ones are all alike.
        mask: [V, F], 1 where a frame is real.
        keep_padding: padding gets the features of a padded frame, encoded once. Else it gets those
            of the frame before it, which mean nothing and must be masked.
    """
    real = mask != 0
    if bool(real.all()):
        return encode(frames.flatten(0, 1)).view(*mask.shape, -1)
    places = Places(real, with_padding=keep_padding or not bool(real.any()))
    return places.spread(encode(places.pack(frames)))


def caption_lengths(tokens: Tensor) -> Tensor:
    """How many positions of each caption, int64 [T], reach its end token: a multiple of 8.

    Args:
        tokens: ids int64 [T, L]; the end token has the largest id of its row, wherever it occurs.
    """
    places = torch.arange(1, tokens.shape[1] + 1, device=tokens.device)
    ends = (places * (tokens == tokens.amax(dim=1, keepdim=True))).amax(dim=1)
    return (-(-ends // _STEP) * _STEP).clamp_(max=tokens.shape[1])
