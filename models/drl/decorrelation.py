"""DRL's channel decorrelation (CDCR): what a channel says of texts, it alone says of videos.

Source: specs/more-heads.md 3.5. As released it is NaN where a channel is the same in all rows: the
start token's feature is that of every text, and a small batch may hold nothing else. Here such a
channel has no correlation.
"""

from __future__ import annotations

import torch
from torch import Tensor

from reelvec.models.drl.interaction import Tokens, own_pairs

__all__ = ["correlation", "of_partners", "penalty"]

_LEAST = 1e-6
"""Spread below which a channel of unit vectors says nothing: rounding is 1,000 times smaller."""


def penalty(correlations: Tensor, *, same: float, others: float) -> Tensor:
    """`same` times (c_ii - 1)^2 and `others` times c_ij^2, summed; correlations [D, D]."""
    on = torch.diagonal(correlations)
    off = correlations.square().sum() - on.square().sum()
    total: Tensor = same * (on - 1).square().sum() + others * off
    return total


def correlation(
    left: Tensor, right: Tensor, *, guard: bool, weights: Tensor | None = None, total: int
) -> Tensor:
    """Correlations [D, D] of the channels of rows [N, D].

    Args:
        left: rows.
        right: their partners.
        guard: a channel without spread has none, instead of NaN.
        weights: [N] of rows; None: 1 each.
        total: what the sum over rows is divided by.
    """
    one = _standardised(left, guard=guard)
    if weights is not None:
        one = weights[:, None] * one
    return one.T @ _standardised(right, guard=guard) / total


def of_partners(
    words: Tokens, frames: Tokens, *, weighed: bool, legacy: bool, guard: bool
) -> Tensor:
    """Correlations [D, D] of real words with their best frames, and frames with their best words.

    Args:
        words: of B texts.
        frames: of the B videos they belong to.
        weighed: by the tokens' weights, which sum to B.
        legacy: as in `interaction`; the best may then be padding.
        guard: as in `correlation`.
    """
    pairs = own_pairs(words, frames, legacy=legacy)
    of_word, of_frame = (
        _rows(frames.vectors, pairs.argmax(dim=2)),
        _rows(words.vectors, pairs.argmax(dim=1)),
    )
    both = []
    for left, right, tokens in (
        (words.vectors, of_word, words),
        (frames.vectors, of_frame, frames),
    ):
        real = tokens.mask != 0
        weights = tokens.weights[real] if weighed else None
        total = len(tokens.mask) if weighed else int(real.sum())
        both.append(correlation(left[real], right[real], guard=guard, weights=weights, total=total))
    return (both[0] + both[1]) / 2


def _rows(vectors: Tensor, chosen: Tensor) -> Tensor:
    """Of each item [n, K, D] the vectors chosen [n, M]: [n, M, D]."""
    return vectors.gather(1, chosen[..., None].expand(-1, -1, vectors.shape[2]))


def _standardised(rows: Tensor, *, guard: bool) -> Tensor:
    """Channels with mean 0 and, by the unbiased estimate, spread 1."""
    centred = rows - rows.mean(dim=0)
    if not guard:
        return centred / rows.std(dim=0)
    spread = centred.square().sum(dim=0) / max(len(rows) - 1, 1)
    return centred / spread.clamp(min=_LEAST**2).sqrt()
