"""Scores of texts with videos in blocks of bounded memory."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

__all__ = ["HELD", "by_videos", "held"]

HELD = {"cpu": 1 << 17, "cuda": 1 << 25}
"""Numbers of a block of pairs; on a CPU thrice as many stay in a core's second-level cache."""


def held(device: torch.device) -> int:
    """How many numbers a block of pairs may have on a device."""
    return HELD["cpu" if device.type == "cpu" else "cuda"]


def by_videos(score: Callable[..., Tensor], videos: Sequence[Tensor], *, wide: int) -> Tensor:
    """Scores [T, V] of some videos at once.

    Args:
        score: columns of v videos -> scores [T, v].
        videos: columns [V, ...].
        wide: videos of a block.
    """
    parts = zip(*(torch.split(column, wide) for column in videos), strict=True)
    return torch.cat([score(*part) for part in parts], dim=1)
