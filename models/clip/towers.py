"""Both towers under OpenAI's key names."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from reelvec.models.clip.architecture import Architecture
from reelvec.models.clip.packing import encode_packed
from reelvec.models.clip.text import TextTower
from reelvec.models.clip.vision import VisionTower

__all__ = ["ClipTowers"]


class ClipTowers(TextTower):
    """A CLIP: the text tower's tensors at the root, the vision tower's under `visual`.

    Built with random weights as CLIP starts its training; in fp32.
    """

    def __init__(self, sizes: Architecture, *, linear_patch: str = "2d") -> None:
        super().__init__(sizes)
        self.visual = VisionTower(sizes, linear_patch=linear_patch)
        self.logit_scale = nn.Parameter(torch.tensor(math.log(1 / 0.07)))

    def encode_video(self, frames: Tensor) -> Tensor:
        """Normalised frames [V, F, 3, S, S] to features [V, F, D]."""
        out: Tensor = self.visual(frames)
        return out

    def encode_real(self, frames: Tensor, mask: Tensor, *, keep_padding: bool = False) -> Tensor:
        """As `encode_video`, but padded frames are not encoded; 3d patches see them, so all are.

        Args:
            frames: padded ones are zeros.
            mask: [V, F], 1 where a frame is real.
            keep_padding: see `encode_packed`.
        """
        if self.visual.conv2 is not None:
            return self.encode_video(frames)
        return encode_packed(
            lambda packed: self.encode_video(packed[None])[0],
            frames,
            mask,
            keep_padding=keep_padding,
        )
