"""From stored uint8 frames to what a vision tower takes, on whatever device they are."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

__all__ = ["CLIP_MEAN", "CLIP_STD", "normalise"]

CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
CLIP_STD = (0.26862954, 0.26130258, 0.27577711)


def normalise(
    frames: Tensor,
    mask: Tensor,
    *,
    mean: Sequence[float] = CLIP_MEAN,
    std: Sequence[float] = CLIP_STD,
) -> Tensor:
    """(x / 255 - mean) / std per channel; padded frames become zeros *after* normalisation.

    Args:
        frames: uint8 [V, F, S, S, 3] RGB.
        mask: [V, F], 0 where a frame is padding.
        mean: per channel, of [0, 1].
        std: per channel, of [0, 1].

    Returns:
        float32 [V, F, 3, S, S]. Source: specs/clip4clip-clip2video.md 4.1 and 4.2.
    """
    device = frames.device
    scale = 1.0 / (255.0 * torch.tensor(std, dtype=torch.float64))
    offset = -torch.tensor(mean, dtype=torch.float64) / torch.tensor(std, dtype=torch.float64)
    shape = (3, 1, 1)
    valid = (mask != 0).to(device)[:, :, None, None, None]
    pixels = frames.permute(0, 1, 4, 2, 3).to(torch.float32, memory_format=torch.contiguous_format)
    pixels.mul_(scale.float().to(device).view(shape)).add_(offset.float().to(device).view(shape))
    return pixels.masked_fill_(~valid, 0.0)
