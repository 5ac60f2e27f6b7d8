"""DRL's token interaction: every word's best frame and every frame's best word, weighed.

Source: specs/more-heads.md 3.2 and 3.4.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from reelvec.models.pairs import by_videos, held
from reelvec.models.temporal import unit

__all__ = ["Tokens", "interaction", "own_pairs", "tokens_of"]


class Tokens(NamedTuple):
    """Unit tokens of texts or of videos: words, or frames."""

    vectors: Tensor  # [n, K, D]
    weights: Tensor  # [n, K], sums 1, 0 at padding
    mask: Tensor  # [n, K], 1 where a token is real


def tokens_of(x: Tensor, mask: Tensor, *, logits: Tensor | None, keep_padding: bool) -> Tokens:
    """Unit tokens of raw ones [n, K, D] with mask [n, K].

    Args:
        x: raw tokens.
        mask: 1 where they are real.
        logits: [n, K] of the weights; None: all real ones weigh the same.
        keep_padding: padding stays as it is encoded. Else it repeats the first token, which never
            changes what is largest.
    """
    real = mask != 0
    if logits is None:
        weights = real.to(x.dtype) / real.sum(dim=1, keepdim=True)
    else:
        weights = torch.softmax(logits.masked_fill(~real, -torch.inf), dim=1)
    if not keep_padding:
        x = torch.where(real[..., None], x, x[:, :1])
    return Tokens(unit(x), weights, mask)


def interaction(words: Tokens, frames: Tokens, *, legacy: bool) -> Tensor:
    """Cosine-like scores [T, V]; in blocks where no gradient is asked for.

    Args:
        words: of T texts.
        frames: of V videos.
        legacy: a pair with padding counts as 0 where the largest is taken, as released.
    """
    if legacy:
        words, frames = _without_padding(words), _without_padding(frames)
    if torch.is_grad_enabled():
        return _scores(words, frames.vectors, frames.weights)
    room = held(words.vectors.device) // (words.weights.numel() * frames.weights.shape[1] or 1)
    wide = 1 << max(room.bit_length() - 1, 0)  # even blocks: every pair is rounded alike
    return by_videos(lambda *some: _scores(words, *some), frames[:2], wide=wide)


def _scores(words: Tokens, frames: Tensor, frame_weights: Tensor) -> Tensor:
    texts, length = words.weights.shape
    pairs = words.vectors.flatten(0, 1) @ frames.flatten(0, 1).T
    pairs = pairs.view(texts, length, *frames.shape[:2])
    of_words = (pairs.amax(dim=3) * words.weights[:, :, None]).sum(dim=1)
    of_frames = (pairs.amax(dim=1) * frame_weights).sum(dim=2)
    return (of_words + of_frames) / 2


def own_pairs(words: Tokens, frames: Tokens, *, legacy: bool) -> Tensor:
    """Cosines [n, L, F] of each item's own words and frames, as `interaction` sees them."""
    if legacy:
        words, frames = _without_padding(words), _without_padding(frames)
    return torch.bmm(words.vectors, frames.vectors.transpose(1, 2))


def _without_padding(tokens: Tokens) -> Tokens:
    shown = tokens.vectors * tokens.mask[..., None].to(tokens.vectors.dtype)
    return tokens._replace(vectors=shown)
