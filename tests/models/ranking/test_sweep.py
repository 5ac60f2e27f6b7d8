"""One sweep over tiles, exact ones or near ones, against the naive twin of the whole matrix."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from reelvec.models.ranking.counting import Counter
from reelvec.models.ranking.exact import Cosines, exact_product
from reelvec.models.ranking.ranks import RankSweep
from reelvec.models.ranking.running_top import RunningTop
from reelvec.models.ranking.tiles import Tile
from reelvec.models.ranking.topk import block_topk
from tests.models.ranking.test_metrics import TIES, naive_ranks


def unit(rows):
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def tiles(height, width, *, tall, wide, scores):
    """Of `scores(rows, columns)`."""
    for top in range(0, height, tall):
        for left in range(0, width, wide):
            rows = slice(top, min(top + tall, height))
            columns = slice(left, min(left + wide, width))
            yield Tile(top, left, scores(rows, columns))


def swept(made, *, own, owners, n_videos, rivals, meant=None, k=3):
    sweep = RankSweep(own, owners=owners, n_videos=n_videos, rivals=rivals, meant=meant)
    top = RunningTop(k, n_videos=n_videos, meant=meant)
    for tile in made:
        top.add(tile)
        sweep.add(tile)
    return sweep, top.best()


@st.composite
def vectors(draw):
    """Texts and videos of a few directions, a hair apart, so that many scores tie or nearly do."""
    width = draw(st.sampled_from([3, 8, 64]))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    n_videos, n_texts = draw(st.integers(1, 40)), draw(st.integers(1, 40))
    pool = unit(rng.standard_normal((draw(st.integers(1, 40)), width)))
    hair = draw(st.sampled_from([0.0, 3e-8, 1e-6, 1e-5]))
    texts, videos = (
        unit(pool[rng.integers(0, len(pool), n)] + hair * rng.standard_normal((n, width)))
        for n in (n_texts, n_videos)
    )
    owners = rng.integers(0, n_videos, n_texts)
    return texts, videos, np.sort(owners) if draw(st.booleans()) else owners


@settings(max_examples=70, deadline=None)
@given(
    given_vectors=vectors(),
    rivals=st.sampled_from(["videos", "captions"]),
    ties=st.sampled_from(list(TIES)),
    scale=st.sampled_from([1.0, 100.0]),
    size=st.tuples(st.integers(1, 50), st.integers(1, 50)),
)
def test_near_tiles_give_the_ranks_and_the_best_of_the_exact_scores(
    given_vectors, rivals, ties, scale, size
):
    texts, videos, owners = given_vectors
    cosines = Cosines(texts, videos, scale=scale)
    assert cosines.bounded
    exact = scale * exact_product(torch.from_numpy(texts), torch.from_numpy(videos))
    tall, wide = size
    sweep, best = swept(
        tiles(len(texts), len(videos), tall=tall, wide=wide, scores=cosines.near),
        own=cosines.pairs(np.arange(len(texts)), owners),
        owners=owners,
        n_videos=len(videos),
        rivals=rivals,
        meant=cosines,
    )
    t2v, v2t = naive_ranks(exact.numpy(), owners, ties=ties, rivals=rivals)
    found = sweep.ranks(ties)
    np.testing.assert_array_equal(found[0], t2v)
    np.testing.assert_array_equal(found[1], v2t)
    expected = block_topk(exact, k=3)
    assert best.indices.tolist() == expected.indices.tolist()
    assert best.scores.tolist() == expected.scores.tolist()


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 1000),
    rivals=st.sampled_from(["videos", "captions"]),
    values=st.sampled_from([(-np.inf, -1.0, 0.0, np.inf), (-0.0, 0.0, 1.0)]),
    size=st.tuples(st.integers(1, 9), st.integers(1, 9)),
)
def test_exact_tiles_of_infinite_and_equal_scores(seed, rivals, values, size):
    rng = np.random.default_rng(seed)
    scores = rng.choice(np.array(values, np.float32), (rng.integers(1, 12), rng.integers(1, 9)))
    owners = np.sort(rng.integers(0, scores.shape[1], len(scores)))
    whole = torch.from_numpy(scores)
    tall, wide = size
    sweep, best = swept(
        tiles(*scores.shape, tall=tall, wide=wide, scores=lambda r, c: whole[r, c]),
        own=whole[np.arange(len(owners)), owners],
        owners=owners,
        n_videos=scores.shape[1],
        rivals=rivals,
    )
    for found, naive in zip(
        sweep.ranks("mean"), naive_ranks(scores, owners, ties="mean", rivals=rivals), strict=True
    ):
        np.testing.assert_array_equal(found, naive)
    assert best.indices.tolist() == block_topk(whole, k=3).indices.tolist()


@pytest.mark.parametrize("shape", [(3, 5), (600, 7), (2, 4100), (300, 2100)])
def test_a_counter_counts_more_than_a_byte_holds(shape):
    scores = torch.randn(shape, generator=torch.Generator().manual_seed(0)).round()
    counter = Counter()
    for over in (1, 0):
        for limit in (-10.0, 0.0):  # the first is below all: every byte is as full as it gets
            low = torch.full((shape[1 - over],), limit)
            found = counter.count(scores, low, low + 1, over=over)
            assert found.above.tolist() == (scores > limit + 1).sum(over).tolist()
            assert found.not_below.tolist() == (scores >= limit).sum(over).tolist()
        pairs = counter.between()
        expected = ((scores >= 0) & (scores <= 1)).nonzero()
        assert pairs.tolist() == expected.tolist()


def test_near_scores_are_within_their_error():
    rng = np.random.default_rng(0)
    for width in (4, 512, 2048):
        same = np.tile(unit(np.ones((1, width))), (9, 1))  # every rounding goes one way
        for texts, videos in [(same, same), (unit(rng.standard_normal((9, width))), same)]:
            cosines = Cosines(texts, videos, scale=100.0)
            every = slice(0, 9)
            apart = cosines.near(every, every) - cosines.block(np.arange(9), every)
            assert apart.abs().max() <= cosines.error < 0.02


@pytest.mark.parametrize("bad", [np.nan, np.inf, 2.0])
def test_vectors_that_are_none_of_length_one_have_no_error(bad):
    texts = unit(np.ones((3, 4)))
    videos = texts.copy()
    videos[1, 2] = bad
    assert not Cosines(texts, videos).bounded
    assert Cosines(texts, texts).bounded


def test_unsure_places_are_looked_up_in_all_videos():
    """More videos than places hold the same score: the lowest numbers are the best."""
    texts = unit(np.eye(4)[:2])
    videos = unit(np.vstack([np.eye(4)[1:], np.tile(np.eye(4)[0], (30, 1))]))
    cosines = Cosines(texts, videos)
    made = list(tiles(2, 33, tall=2, wide=4, scores=cosines.near))
    made = [t._replace(scores=t.scores + 1e-7 * torch.rand(t.scores.shape)) for t in made]
    top = RunningTop(5, n_videos=33, meant=cosines)
    for tile in made:
        top.add(tile)
    best = top.best()
    assert best.indices[0].tolist() == [3, 4, 5, 6, 7]
    assert all(a >= b for a, b in pairwise(best.scores[1].tolist()))
