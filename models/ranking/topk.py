"""The k best of many scores, without sorting the rest.

Ties are always broken by the lower index, so a result never depends on the block sizes, the
thread count or the device. A whole `argsort` costs about 8 times the matrix product here; blocks
of 256 queries and `topk` cost 1.2 times (notes/decoding-and-stores.md 5).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

__all__ = ["TopK", "block_topk", "ordered"]


@dataclass(frozen=True, slots=True)
class TopK:
    """The best of each query, best first: ``scores`` [Q, k] and ``indices`` [Q, k] int64."""

    scores: Tensor
    indices: Tensor


def block_topk(scores: Tensor, *, k: int) -> TopK:
    """The min(k, n) best columns of scores [q, n].

    Raises:
        ValueError: k < 1, or NaN among the scores.
    """
    if k < 1:
        raise ValueError(f"k={k}; it must be at least 1")
    k = min(k, scores.shape[1])
    values, indices = scores.topk(k, dim=1)
    if bool(torch.isnan(values).any()):  # topk puts NaN first, so looking at the winners suffices
        raise ValueError("NaN among the scores: a NaN has no rank; find the row that made it")
    last = values[:, -1:]
    for row in ((scores >= last).sum(1) > k).nonzero().flatten().tolist():
        # more items share the last place than there is room for: the lowest indices get it
        better = (scores[row] > last[row]).nonzero().flatten()
        equal = (scores[row] == last[row]).nonzero().flatten()[: k - len(better)]
        indices[row] = torch.cat([better, equal])
    return ordered(scores.gather(1, indices), indices, k)


def ordered(scores: Tensor, indices: Tensor, k: int) -> TopK:
    """The k best of scores and indices [q, n]: best first, equal scores by index."""
    by_index = indices.argsort(dim=1)
    scores, indices = scores.gather(1, by_index), indices.gather(1, by_index)
    order = scores.argsort(dim=1, descending=True, stable=True)[:, :k]
    return TopK(scores.gather(1, order), indices.gather(1, order))
