"""Contrastive losses over similarity logits.

Sources: specs/clip4clip-clip2video.md 2.4 and 3.1, specs/xclip-adaclip.md A2.1.

A family's score is a weighted sum of logit matrices, its loss the same sum of their losses
(CLIP2Video: w * L(global) + (1 - w) * L(TAB)). `Terms` carries both, so that one process and many
compute the same number: a rank sums `rows_loss` over its own rows and its own columns.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

__all__ = [
    "Terms",
    "combine_terms",
    "rows_loss",
    "symmetric_loss",
    "weighted_rows_loss",
    "weighted_symmetric_loss",
]

Terms = Sequence[tuple[float, Tensor]]
"""(weight, logits) pairs; logits of one shape [T, V]."""


def rows_loss(logits: Tensor, *, first: int = 0) -> Tensor:
    """Mean over rows of the cross entropy of the right column: -log_softmax(row i)[first + i].

    Args:
        logits: [n, N], the n rows of one process out of a global matrix with N columns.
        first: Column of the first row's match.

    Raises:
        ValueError: A row whose match lies outside the matrix.
    """
    n, total = logits.shape
    if n < 1 or first < 0 or first + n > total:
        raise ValueError(
            f"rows {first}..{first + n - 1} of a matrix with {total} columns: each row needs "
            "its match; give as many texts as videos, in the same order"
        )
    matches = torch.arange(first, first + n, device=logits.device)[:, None]
    return -torch.log_softmax(logits, dim=-1).gather(1, matches).mean()


def symmetric_loss(logits: Tensor) -> Tensor:
    """Symmetric InfoNCE: the mean of the losses of rows and of columns; logits [N, N]."""
    return (rows_loss(logits) + rows_loss(logits.T)) / 2


def combine_terms(terms: Terms) -> Tensor:
    """The score: the weighted sum of the logits."""
    total = terms[0][0] * terms[0][1]
    for weight, logits in terms[1:]:
        total = total + weight * logits
    return total


def weighted_symmetric_loss(terms: Terms) -> Tensor:
    """The weighted sum of `symmetric_loss` over terms."""
    return combine_terms([(weight, symmetric_loss(logits)) for weight, logits in terms])


def weighted_rows_loss(terms: Terms, *, first: int = 0) -> Tensor:
    """The weighted sum of `rows_loss` over terms; for columns give transposed logits."""
    return combine_terms([(weight, rows_loss(logits, first=first)) for weight, logits in terms])
