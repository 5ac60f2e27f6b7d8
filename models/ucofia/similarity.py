"""UCoFiA's score: videos, frames and patches, each with a sentence or its words.

Source: specs/more-heads.md 6.1. Where X-CLIP weighs by a softmax times a matrix, UCoFiA takes the
softmax of that once more; patches are not of unit length, so that no exponential can be shared.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor

from reelvec.models.pairs import by_videos, held

__all__ = ["Sides", "components"]

TAU = 0.01
"""Temperature of every softmax."""

Matrices = Mapping[str, Tensor]
"""The learned matrices by their checkpoint names."""


class Sides(NamedTuple):
    """Features of texts and videos."""

    sentence: Tensor  # [T, D], unit
    words: Tensor  # [T, L, D], unit, times local_mat_weight
    video: Tensor  # [V, D], unit
    frames: Tensor  # [V, F, D], unit
    pixels: Tensor  # [V, 4 F, D], times local_mat_weight1 where the code does so


def components(sides: Sides, matrices: Matrices) -> tuple[Tensor, Tensor, Tensor]:
    """Scores [T, V] of videos, frames and patches; the first two are cosine-like."""
    sentence, words, video, frames, pixels = sides
    moved = video @ matrices["global_mat_weight_1"]
    coarse = sentence @ matrices["global_mat_weight"] @ moved.T
    near = (sentence @ frames.flatten(0, 1).T).view(len(sentence), *frames.shape[:2])
    by_frame = _weighed(near, matrices["frame_logit_weight"])
    if torch.is_grad_enabled():
        return coarse, by_frame, _fine(words, pixels, matrices)
    room = held(words.device) // (words.shape[:2].numel() * pixels.shape[1] or 1)
    wide = 1 << max(room.bit_length() - 1, 0)  # even blocks: every pair is rounded alike
    fine = by_videos(lambda some: _fine(words, some, matrices), (pixels,), wide=wide)
    return coarse, by_frame, fine


def _fine(words: Tensor, pixels: Tensor, matrices: Matrices) -> Tensor:
    """Words with patches, over words first and over patches first: [T, V]."""
    near = words.flatten(0, 1) @ pixels.flatten(0, 1).T
    near = near.view(*words.shape[:2], *pixels.shape[:2]).transpose(1, 2)  # [T, V, L, P]
    by_pixel = _weighed(near.transpose(2, 3), matrices["word_mat_weight"])
    by_word = _weighed(near, matrices["pixel_mat_weight"])
    return (
        _weighed(by_pixel, matrices["pixel_mat_weight2"])
        + _weighed(by_word, matrices["word_mat_weight2"])
    ) / 2


def _weighed(x: Tensor, matrix: Tensor) -> Tensor:
    """Sum over the last axis of x, weighed by softmax(softmax(x / tau) matrix / tau)."""
    mixed = torch.softmax(x / TAU, dim=-1) @ matrix
    return (x * torch.softmax(mixed / TAU, dim=-1)).sum(-1)
