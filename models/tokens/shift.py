"""Token shift: in some blocks of the vision tower a few patches see the frame before or after.

Source: specs/more-heads.md 5.1. Written from it alone (TS2-Net's code has no licence).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor, nn

from reelvec.models.clip.blocks import Block
from reelvec.models.clip.vision import VisionTower

__all__ = ["SHIFTED", "add_shift", "shifted", "to_shifted"]

SHIFTED = ".attn.net."
"""How names in a shifted block differ from `.attn.` of CLIP."""


class TokenShift(nn.Module):
    """Attention whose input is shifted between the frames of a video, under `net`."""

    def __init__(self, net: nn.Module, *, frames: int, n_div: int) -> None:
        super().__init__()
        self.net = net
        self._frames, self._n_div = frames, n_div

    def forward(self, x: Tensor, **how: Any) -> Tensor:
        """Attend over `x` [V * F, L, W]."""
        out: Tensor = self.net(shifted(x, frames=self._frames, n_div=self._n_div), **how)
        return out


def shifted(x: Tensor, *, frames: int, n_div: int) -> Tensor:
    """Tokens [V * F, L, W] of which some are the neighbouring frames'.

    With fold = L // n_div, tokens 1, 1 + fold, ... come from the frame before (the first frame
    keeps its own), tokens 4, 4 + fold, ... from the one after (the last keeps its own). Where both
    name a token, the one after wins. Token 0, the class, stays.

    Args:
        x: tokens of all frames of some videos, frame by frame.
        frames: of a video.
        n_div: see above.
    """
    given = x.view(-1, frames, *x.shape[1:])
    out = given.clone()
    fold = x.shape[1] // n_div
    out[:, 1:, 1::fold] = given[:, :-1, 1::fold]
    out[:, :-1, 4::fold] = given[:, 1:, 4::fold]
    out[:, -1:, 4::fold] = given[:, -1:, 4::fold]
    return out.flatten(0, 1)


def add_shift(tower: VisionTower, *, blocks: Sequence[int], frames: int, n_div: int) -> None:
    """Shift what enters the attention of some blocks, as far as the tower has them."""
    for number, block in enumerate(tower.transformer.resblocks):
        if number in blocks and isinstance(block, Block):
            block.add_module("attn", TokenShift(block.attn, frames=frames, n_div=n_div))


def to_shifted(state: Mapping[str, Tensor], *, blocks: Sequence[int]) -> dict[str, Tensor]:
    """CLIP's tensors (keys without prefix) under the names they have in shifted blocks."""
    starts = tuple(f"visual.transformer.resblocks.{number}.attn." for number in blocks)
    return {
        key.replace(".attn.", SHIFTED) if key.startswith(starts) and SHIFTED not in key else key: x
        for key, x in state.items()
    }
