import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from reelvec.models.ranking.topk import block_topk, merge_topk


def naive(scores, k):
    """Best first, ties by the lower index."""
    order = [sorted(range(len(row)), key=lambda j: (-row[j], j))[:k] for row in scores.tolist()]
    index = torch.tensor(order)
    return scores.gather(1, index), index


@settings(max_examples=150, deadline=None)
@given(
    n_queries=st.integers(1, 6),
    n_items=st.integers(1, 30),
    k=st.integers(1, 12),
    levels=st.integers(1, 6),
    seed=st.integers(0, 10_000),
    block=st.integers(1, 11),
)
def test_merged_blocks_equal_a_full_sort(n_queries, n_items, k, levels, seed, block):
    scores = torch.from_numpy(
        np.random.default_rng(seed).integers(0, levels, (n_queries, n_items)).astype(np.float32)
    )
    best = block_topk(scores[:, :block], k=k)
    for first in range(block, n_items, block):
        part = block_topk(scores[:, first : first + block], k=k, first_item=first)
        best = merge_topk(best, part, k=k)
    want, index = naive(scores, k)
    assert torch.equal(best.indices, index)
    assert torch.equal(best.scores, want)


def test_wide_blocks_with_many_ties_keep_the_lowest_indices():
    scores = torch.zeros(3, 5000)
    scores[1, 4000] = 1
    found = block_topk(scores, k=4, first_item=100)
    assert found.indices.tolist() == [
        [100, 101, 102, 103],
        [4100, 100, 101, 102],
        [100, 101, 102, 103],
    ]


def test_merge_is_the_same_either_way():
    left, right = block_topk(torch.ones(2, 3), k=2), block_topk(torch.ones(2, 3), k=2, first_item=3)
    one, other = merge_topk(left, right, k=3), merge_topk(right, left, k=3)
    assert torch.equal(one.indices, other.indices)
    assert one.indices.tolist() == [[0, 1, 3]] * 2


def test_nan_and_none_asked_for_are_refused():
    scores = torch.zeros(2, 5)
    scores[1, 3] = torch.nan
    with pytest.raises(ValueError, match="NaN"):
        block_topk(scores, k=1)
    with pytest.raises(ValueError, match="k=0"):
        block_topk(scores, k=0)
