import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from reelvec.models.ranking.topk import block_topk


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
)
def test_the_best_are_those_of_a_full_sort(n_queries, n_items, k, levels, seed):
    scores = torch.from_numpy(
        np.random.default_rng(seed).integers(0, levels, (n_queries, n_items)).astype(np.float32)
    )
    best = block_topk(scores, k=k)
    want, index = naive(scores, k)
    assert torch.equal(best.indices, index)
    assert torch.equal(best.scores, want)


def test_wide_blocks_with_many_ties_keep_the_lowest_indices():
    scores = torch.zeros(3, 5000)
    scores[1, 4000] = 1
    found = block_topk(scores, k=4)
    assert found.indices.tolist() == [
        [0, 1, 2, 3],
        [4000, 0, 1, 2],
        [0, 1, 2, 3],
    ]


def test_nan_and_none_asked_for_are_refused():
    scores = torch.zeros(2, 5)
    scores[1, 3] = torch.nan
    with pytest.raises(ValueError, match="NaN"):
        block_topk(scores, k=1)
    with pytest.raises(ValueError, match="k=0"):
        block_topk(scores, k=0)
