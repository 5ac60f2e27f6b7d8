"""Both towers under OpenAI's key names."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from reelvec.models.clip.architecture import Architecture
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
