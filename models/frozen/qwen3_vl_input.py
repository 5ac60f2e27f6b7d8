"""A clip as Qwen3-VL is given it: the size of its frames, patches, time stamps and prompt.

Source: specs/clip-native-encoders.md 5.
"""

from __future__ import annotations

import math
import unicodedata
from dataclasses import dataclass

import torch
from torch import Tensor

from reelvec.models.errors import InputError
from reelvec.models.frozen.clips import Clip, resized

__all__ = ["Grid", "ShownClip", "grid_of", "latest", "patches_of", "prompt_of", "shown"]

_FACTOR = 32
_LEAST, _MOST = 128 * 1024, 768 * 1024
_TOTAL = 10 * _MOST
"""Pixels of a frame, and of all frames of a clip."""
_MAX_RATIO = 200
_LATEST = 99_999.9
"""Seconds: no usual file is longer, and no usual time stamp has more tokens."""


@dataclass(frozen=True)
class Grid:
    """Of a clip: pairs of frames, and height and width in pixels."""

    pairs: int
    height: int
    width: int

    @property
    def tokens(self) -> int:
        """Of a pair of frames."""
        return self.height // _FACTOR * (self.width // _FACTOR)


@dataclass(frozen=True, kw_only=True, eq=False)
class ShownClip:
    """A clip as the language model is given it.

    Attributes:
        blocks: its time stamps and the places of its tokens, in the prompt.
        patches: float32 [T/2 * H/16 * W/16, 1536].
        grid: pairs of frames and pixels.
    """

    blocks: str
    patches: Tensor
    grid: Grid


def shown(clip: Clip, *, outer: bool = False) -> ShownClip:
    """A clip's frames at the size of its grid, as patches and in words.

    Raises:
        InputError: a picture more than 200 times as long as it is high.
    """
    frames, seconds = _even(clip.frames), _even(clip.seconds)
    grid = grid_of(*clip.size, frames=len(frames))
    pixels = resized(frames, size=(grid.height, grid.width), kind="bicubic", exact=True)
    return ShownClip(
        blocks=_blocks(seconds, grid, outer=outer), patches=patches_of(pixels), grid=grid
    )


def grid_of(height: int, width: int, *, frames: int) -> Grid:
    """The grid of a clip: sides of multiples of 32 near its own, within the budget of pixels.

    Args:
        height: of the decoded pictures, pixels.
        width: of the same.
        frames: an even number.

    Raises:
        InputError: a picture more than 200 times as long as it is high.
    """
    if max(height, width) > _MAX_RATIO * min(height, width):
        raise InputError(
            f"pictures of {height} x {width}: one side is over {_MAX_RATIO} times the other"
        )
    most = max(min(_MOST, _TOTAL / frames * 2), int(_LEAST * 1.05))
    tall, wide = (max(_FACTOR, round(side / _FACTOR) * _FACTOR) for side in (height, width))
    if tall * wide > most:
        shrink = math.sqrt(height * width / most)
        tall, wide = (
            max(_FACTOR, math.floor(side / shrink / _FACTOR) * _FACTOR) for side in (height, width)
        )
    elif tall * wide < _LEAST:
        grow = math.sqrt(_LEAST / (height * width))
        tall, wide = (math.ceil(side * grow / _FACTOR) * _FACTOR for side in (height, width))
    return Grid(frames // 2, tall, wide)


def patches_of(pixels: Tensor) -> Tensor:
    """Frames [T, 3, H, W] of levels as patches [T/2 * H/16 * W/16, 1536] in the model's order."""
    values = (pixels.float() - 127.5) / 127.5
    count, _, height, width = values.shape
    parts = values.reshape(count // 2, 2, 3, height // 32, 2, 16, width // 32, 2, 16)
    return parts.permute(0, 3, 6, 4, 7, 2, 1, 5, 8).reshape(-1, 1536)


def _even(frames: Tensor) -> Tensor:
    """The last one twice where their number is odd."""
    return torch.cat([frames, frames[-1:]]) if len(frames) % 2 else frames


def _blocks(seconds: Tensor, grid: Grid, *, outer: bool) -> str:
    """A time stamp and the places of its tokens for each pair of frames."""
    tokens = "<|video_pad|>" * grid.tokens
    times = seconds.reshape(-1, 2).mean(dim=1).tolist()
    shown = "".join(f"<{t:.1f} seconds><|vision_start|>{tokens}<|vision_end|>" for t in times)
    return f"<|vision_start|>{shown}<|vision_end|>" if outer else shown


def latest(grid: Grid, *, outer: bool) -> str:
    """Blocks of a clip of this grid whose time stamps are as long as they come."""
    return _blocks(torch.full((2 * grid.pairs,), _LATEST), grid, outer=outer)


def prompt_of(instruction: str, content: str) -> str:
    """What the model reads; an instruction ends with punctuation."""
    ended = instruction.strip()
    if ended and not unicodedata.category(ended[-1]).startswith("P"):
        ended += "."
    return (
        f"<|im_start|>system\n{ended}<|im_end|>\n<|im_start|>user\n{content}<|im_end|>\n"
        "<|im_start|>assistant\n"
    )
