"""CLIP's vision tower, with CLIP4Clip's 3d patch."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from reelvec.models.clip.architecture import Architecture
from reelvec.models.clip.blocks import LayerNorm, Transformer
from reelvec.models.errors import OptionsError

__all__ = ["VisionTower", "conv2_from_conv1"]


class VisionTower(nn.Module):
    """Frames to vectors: patches, class token, blocks, the class token's projection.

    `linear_patch` "3d" replaces conv1 by conv2, which also sees the frames before and after; conv1
    stays in the state, unused, as the originals keep it (specs/clip4clip-clip2video.md 1.3).
    """

    def __init__(self, sizes: Architecture, *, linear_patch: str = "2d") -> None:
        super().__init__()
        if linear_patch not in ("2d", "3d"):
            raise OptionsError(f"linear_patch {linear_patch!r}: give 2d or 3d")
        width, patch = sizes.vision_width, sizes.patch_size
        scale = width**-0.5
        self.conv1 = nn.Conv2d(3, width, patch, stride=patch, bias=False)
        self.conv2: nn.Conv3d | None = None
        if linear_patch == "3d":
            self.conv2 = nn.Conv3d(
                3,
                width,
                (3, patch, patch),
                stride=(1, patch, patch),
                padding=(1, 0, 0),
                bias=False,
            )
            self.conv1.weight.requires_grad_(
                False
            )  # unused: never a gradient, nor DDP's wait for it
            with torch.no_grad():
                self.conv2.weight.copy_(conv2_from_conv1(self.conv1.weight))
        self.class_embedding = nn.Parameter(scale * torch.randn(width))
        self.positional_embedding = nn.Parameter(scale * torch.randn(sizes.grid**2 + 1, width))
        self.ln_pre = LayerNorm(width)
        self.transformer = Transformer(width, layers=sizes.vision_layers, heads=sizes.vision_heads)
        self.ln_post = LayerNorm(width)
        self.proj = nn.Parameter(scale * torch.randn(width, sizes.embed_dim))

    def forward(self, frames: Tensor) -> Tensor:
        """Frames [V, F, 3, S, S] to features [V, F, D], in the type of the patch weights."""
        first = self.transformer(self._embedded(frames), first_only=True)[:, 0]
        return self._projected(first).view(*frames.shape[:2], -1)

    def tokens(self, frames: Tensor) -> Tensor:
        """As `forward`, of all tokens, the class token first: [V, F, 1 + patches, D]."""
        states = self.transformer(self._embedded(frames))
        return self._projected(states).view(*frames.shape[:2], *states.shape[1:2], -1)

    def _embedded(self, frames: Tensor) -> Tensor:
        """What goes into the blocks: class token and patches, [V F, 1 + patches, W]."""
        frames = frames.to(self.conv1.weight.dtype)
        if self.conv2 is None:
            patches = self.conv1(frames.flatten(0, 1)).flatten(2).transpose(1, 2)
        else:
            maps = self.conv2(frames.transpose(1, 2))  # [V, W, F, grid, grid]
            patches = maps.permute(0, 2, 3, 4, 1).flatten(0, 1).flatten(1, 2)
        start = self.class_embedding.to(patches.dtype).expand(len(patches), 1, -1)
        x = torch.cat([start, patches], dim=1) + self.positional_embedding.to(patches.dtype)
        out: Tensor = self.ln_pre(x)
        return out

    def _projected(self, x: Tensor) -> Tensor:
        out: Tensor = self.ln_post(x) @ self.proj.to(x.dtype)
        return out


def conv2_from_conv1(weight: Tensor) -> Tensor:
    """conv2's start [W, 3, 3, p, p]: conv1 in the middle of three time slices, zeros elsewhere."""
    still = torch.zeros_like(weight)
    return torch.stack([still, weight, still], dim=2)
