"""The k best of many, in blocks, without sorting what is not returned.

Ties are always broken by the lower index, so a result never depends on the block sizes, the
thread count or the device. A whole `argsort` costs about 8 times the matrix product here; blocks
of 256 queries and `topk` cost 1.2 times (notes/decoding-and-stores.md 5).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

__all__ = ["QUERY_BLOCK", "TopK", "block_topk", "merge_topk", "search"]

QUERY_BLOCK = 256
ITEM_BLOCK = 16384


@dataclass(frozen=True, slots=True)
class TopK:
    """The best of each query, best first: ``scores`` [Q, k] and ``indices`` [Q, k] int64."""

    scores: Tensor
    indices: Tensor


def block_topk(scores: Tensor, *, k: int, first_item: int = 0) -> TopK:
    """The min(k, n) best columns of scores [q, n]; column j is item ``first_item + j``.

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
    return _ordered(scores.gather(1, indices), indices + first_item, k)


def merge_topk(left: TopK, right: TopK, *, k: int) -> TopK:
    """The k best of two results over different items."""
    scores = torch.cat([left.scores, right.scores], dim=1)
    return _ordered(scores, torch.cat([left.indices, right.indices], dim=1), k)


def search(
    similarity: Callable[[slice, slice], Tensor],
    *,
    n_queries: int,
    n_items: int,
    k: int,
    query_block: int = QUERY_BLOCK,
    item_block: int = ITEM_BLOCK,
) -> TopK:
    """The k best items of each query, from blocks of scores.

    Args:
        similarity: Scores [q, n] of a slice of queries and a slice of items; called once a block.
        n_queries: Q.
        n_items: N, at least 1.
        k: How many; at most N come back.
        query_block: Queries scored at once.
        item_block: Items scored at once; memory is ``query_block * item_block`` scores.
    """
    if n_queries < 1 or n_items < 1:
        raise ValueError(
            f"{n_queries} queries over {n_items} items: there must be at least one of each"
        )
    found = []
    for start in range(0, n_queries, query_block):
        queries = slice(start, min(start + query_block, n_queries))
        best: TopK | None = None
        for first in range(0, n_items, item_block):
            items = slice(first, min(first + item_block, n_items))
            part = block_topk(similarity(queries, items), k=k, first_item=first)
            best = part if best is None else merge_topk(best, part, k=k)
        if best is not None:
            found.append(best)
    return TopK(torch.cat([f.scores for f in found]), torch.cat([f.indices for f in found]))


def _ordered(scores: Tensor, indices: Tensor, k: int) -> TopK:
    """Best first, equal scores by index; the k first of them."""
    by_index = indices.argsort(dim=1)
    scores, indices = scores.gather(1, by_index), indices.gather(1, by_index)
    order = scores.argsort(dim=1, descending=True, stable=True)[:, :k]
    return TopK(scores.gather(1, order), indices.gather(1, order))
