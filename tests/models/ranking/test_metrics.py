import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from reelvec.models.ranking.metrics import (
    MetricOptions,
    _SortedRanks,
    evaluate_similarity,
    summarize_ranks,
)
from tests.resources import GOLDENS
from tests.support.matrices import evaluate_matrix

NAMES = {"R1": "R@1", "R5": "R@5", "R10": "R@10", "MR": "MdR", "MeanR": "MnR"}
TIES = {"pessimistic": 1.0, "mean": 0.5, "optimistic": 0.0}


def naive_rank(score, rivals, ties):
    better = sum(r > score for r in rivals)
    equal = sum(r == score for r in rivals)
    return 1 + better + TIES[ties] * equal


def naive_ranks(sim, owners, *, ties, rivals):
    n_texts, n_videos = sim.shape
    t2v = [
        naive_rank(sim[t, owners[t]], [sim[t, v] for v in range(n_videos) if v != owners[t]], ties)
        for t in range(n_texts)
    ]
    groups = {v: [t for t in range(n_texts) if owners[t] == v] for v in range(n_videos)}
    v2t = np.full(n_videos, np.nan)
    for v, mine in groups.items():
        if not mine:
            continue
        if rivals == "captions":
            others = [sim[t, v] for t in range(n_texts) if owners[t] != v]
        else:
            others = [max(sim[t, v] for t in g) for u, g in groups.items() if g and u != v]
        v2t[v] = naive_rank(max(sim[t, v] for t in mine), others, ties)
    return np.array(t2v), v2t


def blocks_of(sim, sizes):
    """Blocks of the given sizes, repeated until the rows are used up."""

    def start():
        first, i = 0, 0
        while first < len(sim):
            step = sizes[i % len(sizes)]
            yield torch.as_tensor(sim[first : first + step])
            first, i = first + step, i + 1

    return start


@st.composite
def problems(draw):
    n_videos = draw(st.integers(1, 7))
    owners = draw(st.lists(st.integers(0, n_videos - 1), min_size=1, max_size=14))
    values = st.integers(-3, 3).map(float)  # few values: many ties
    sim = draw(st.lists(values, min_size=len(owners) * n_videos, max_size=len(owners) * n_videos))
    sizes = draw(st.lists(st.integers(1, 5), min_size=1, max_size=3))
    return np.array(sim).reshape(len(owners), n_videos), np.array(owners), sizes


@settings(max_examples=150, deadline=None)
@given(
    problem=problems(),
    ties=st.sampled_from(list(TIES)),
    rivals=st.sampled_from(["videos", "captions"]),
    keep=st.sampled_from([0, 64, 1 << 20]),
)
def test_ranks_equal_the_naive_ones(problem, ties, rivals, keep):
    sim, owners, sizes = problem
    options = MetricOptions(ties=ties, rivals=rivals, keep_bytes=keep)
    found = evaluate_similarity(
        blocks_of(sim, sizes), text_to_video=owners, n_videos=sim.shape[1], options=options
    )
    t2v, v2t = naive_ranks(sim, owners, ties=ties, rivals=rivals)
    np.testing.assert_array_equal(found.ranks_t2v, t2v)
    np.testing.assert_array_equal(found.ranks_v2t, v2t)
    assert found.v2t.queries == len(set(owners.tolist()))


class TestGoldens:
    def cases(self, kind):
        return json.loads((GOLDENS / "retrieval_metrics.json").read_text())[kind]

    def agree(self, found, want, *, tolerance=1e-10):
        found = found.as_dict()
        for name, value in want.items():
            assert found[NAMES[name]] == pytest.approx(value, abs=tolerance), name

    def test_single(self):
        for case in self.cases("single"):
            sim = np.array(case["sim"], dtype=np.float64)
            for rivals in ("videos", "captions"):  # the same where captions are single
                found = evaluate_matrix(
                    sim,
                    text_to_video=range(len(sim)),
                    options=MetricOptions(rivals=rivals),
                )
                self.agree(found.t2v, case["t2v"])
                self.agree(found.v2t, case["v2t"])

    def test_multi(self):
        for case in self.cases("multi"):
            sim = np.array(case["sim"], dtype=np.float64)
            owners = np.repeat(np.arange(sim.shape[1]), case["captions_per_video"])
            found = evaluate_matrix(sim, text_to_video=owners)
            self.agree(found.t2v, case["t2v"], tolerance=1e-4)  # through float32 there
            self.agree(found.v2t, case["v2t"])
            options = MetricOptions(rivals="captions")
            found = evaluate_matrix(sim, text_to_video=owners, options=options)
            self.agree(found.t2v, case["adaclip_t2v"], tolerance=1e-4)
            self.agree(found.v2t, case["adaclip_v2t"])


def test_all_equal_scores_do_not_add_queries():
    """The originals: R@1 20, MdR 3 and 25 'samples' (specs/clip4clip-clip2video.md 6.3)."""
    sim = np.zeros((5, 5))
    for ties, rank in (("optimistic", 1.0), ("mean", 3.0), ("pessimistic", 5.0)):
        found = evaluate_matrix(sim, text_to_video=range(5), options=MetricOptions(ties=ties))
        assert found.ranks_t2v.tolist() == [rank] * 5
        assert found.t2v.queries == found.v2t.queries == 5


def test_nan_is_an_error_that_names_texts_and_videos():
    sim = np.random.default_rng(0).normal(size=(9, 4))
    sim[:, 2] = np.nan
    with pytest.raises(ValueError, match=r"9 texts \(first: \[0, 1.*1 videos \(first: \[2\]\)"):
        evaluate_matrix(sim, text_to_video=[0, 1, 2, 3, 0, 1, 2, 3, 0])
    sim = np.zeros((6, 2))
    sim[5, 1] = np.nan  # in a later block, after the matrix became too large to keep
    with pytest.raises(ValueError, match=r"first: \[5\]"):
        evaluate_similarity(
            blocks_of(sim, [2]),
            text_to_video=[0, 1] * 3,
            n_videos=2,
            options=MetricOptions(keep_bytes=0),
        )


@pytest.mark.parametrize(
    ("owners", "n_videos", "message"),
    [
        ([0, 1, 3], 3, "0..3"),
        ([0, -1, 2], 3, "-1..2"),
        ([], 3, r"\[T\]"),
        ([0, 1], 3, "more texts"),
        ([0, 1, 2, 0], 3, "hold 3 texts"),
        ([0, 1, 2], 4, r"must be \[t, 4\]"),
    ],
)
def test_shapes_are_checked(owners, n_videos, message):
    with pytest.raises(ValueError, match=message):
        evaluate_similarity(
            lambda: [np.eye(3)], text_to_video=owners, n_videos=n_videos, options=MetricOptions()
        )


def test_unknown_policies_are_refused():
    for options in (MetricOptions(ties="best"), MetricOptions(rivals="msvd")):
        with pytest.raises(ValueError, match="use"):
            evaluate_matrix(np.eye(2), text_to_video=[0, 1], options=options)


def test_a_large_matrix_is_passed_twice_and_never_held():
    sim = np.random.default_rng(1).normal(size=(40, 6)).astype(np.float32)
    owners = np.repeat(np.arange(6), [7, 7, 7, 7, 6, 6])
    passes = []

    def start():
        passes.append(1)
        return blocks_of(sim, [8])()

    whole = evaluate_similarity(start, text_to_video=owners, n_videos=6)
    assert len(passes) == 1
    twice = evaluate_similarity(
        start, text_to_video=owners, n_videos=6, options=MetricOptions(keep_bytes=100)
    )
    assert len(passes) == 3
    np.testing.assert_array_equal(whole.ranks_v2t, twice.ranks_v2t)


def test_subsets_rank_their_queries_against_the_whole_gallery():
    sim = np.random.default_rng(2).normal(size=(6, 3))
    owners = np.array([0, 0, 1, 1, 2, 2])
    names = ["", "motion", "motion", "", "", "plain"]
    found = evaluate_matrix(sim, text_to_video=owners, subsets=names)
    assert set(found.subsets) == {"motion", "plain"}
    t2v, v2t = found.subsets["motion"]
    assert t2v.mean_rank == found.ranks_t2v[[1, 2]].mean()
    assert v2t.mean_rank == found.ranks_v2t[[0, 1]].mean()


def test_medians():
    ranks = np.array([1.0, 2.0, 3.0, 4.0])
    assert summarize_ranks(ranks).median_rank == 2.5
    assert summarize_ranks(ranks, lower=True).median_rank == 2.0
    with pytest.raises(ValueError, match="no queries"):
        summarize_ranks(np.array([]))


def test_bootstrap_is_seeded_and_covers_the_estimate():
    ranks = np.random.default_rng(3).integers(1, 40, 200).astype(float)
    options = MetricOptions(bootstrap=400, seed=5)
    found = summarize_ranks(ranks, options=options)
    assert found.intervals == summarize_ranks(ranks, options=options).intervals
    other = summarize_ranks(ranks, options=MetricOptions(bootstrap=400, seed=6))
    assert found.intervals != other.intervals
    for name, value in found.as_dict().items():
        low, high = found.intervals[name]
        assert low <= value <= high, name
    share = found.recall[10] / 100
    spread = 1.96 * 100 * np.sqrt(share * (1 - share) / 200)
    low, high = found.intervals["R@10"]
    assert high - low == pytest.approx(2 * spread, rel=0.2)


@pytest.mark.parametrize("lower", [False, True])
def test_intervals_are_those_of_each_resample_written_out(lower):
    rng = np.random.default_rng(2)
    ranks = rng.integers(1, 40, 37) + 0.5 * rng.integers(0, 2, 37)
    groups = rng.integers(0, 9, 37)
    options = MetricOptions(bootstrap=20, seed=3)
    found = summarize_ranks(ranks, groups=groups, lower=lower, options=options).intervals
    _, labels = np.unique(groups, return_inverse=True)
    members = [ranks[labels == label] for label in range(labels.max() + 1)]
    made = {name: [] for name in found}
    drawn = np.random.default_rng(3).integers(0, len(members), (20, len(members)))
    for groups_of_one in drawn.tolist():
        sample = np.sort(np.concatenate([members[group] for group in groups_of_one]))
        for k in options.ks:
            made[f"R@{k}"].append(100.0 * (sample <= k).mean())
        made["MnR"].append(sample.mean())
        made["MdR"].append(sample[(len(sample) - 1) // 2] if lower else np.median(sample))
    for name, values in made.items():
        assert found[name] == pytest.approx(tuple(np.percentile(values, [2.5, 97.5])))


@pytest.mark.parametrize("near", [slice(0, 90), slice(44, 46), slice(0, 1), slice(89, 90)])
def test_a_middle_that_is_not_near_is_looked_for_among_all(near):
    rng = np.random.default_rng(1)
    ranks, labels = rng.integers(1, 40, 90).astype(float), rng.permutation(90) % 30
    ranked = replace(_SortedRanks.of(ranks, labels, ks=(1,)), near=near)
    weight = np.stack([np.bincount(rng.integers(0, 30, 30), minlength=30) for _ in range(50)])
    drawn = [np.repeat(ranked.ordered, row[ranked.owner]) for row in weight]
    low, high = ranked.middle(
        weight,
        total=np.array([len(one) for one in drawn], float),
        before=weight[:, ranked.owner[: near.start]].sum(axis=1).astype(float),
    )
    assert low.tolist() == [one[(len(one) - 1) // 2] for one in drawn]
    assert high.tolist() == [one[len(one) // 2] for one in drawn]


def test_bootstrap_resamples_a_video_with_all_its_captions():
    """Twenty copies of each caption must not make the interval narrower."""
    ranks = np.random.default_rng(4).integers(1, 40, 60).astype(float)
    options = MetricOptions(bootstrap=300)
    alone = summarize_ranks(ranks, options=options)
    copied = summarize_ranks(
        np.repeat(ranks, 20), groups=np.repeat(np.arange(60), 20), options=options
    )
    assert copied.intervals["R@10"] == pytest.approx(alone.intervals["R@10"])
    assert copied.intervals["MdR"] == pytest.approx(alone.intervals["MdR"])


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_any_float_type(dtype):
    sim = torch.randn(8, 5, generator=torch.Generator().manual_seed(0)).to(dtype)
    owners = [0, 1, 2, 3, 4, 0, 1, 2]
    found = evaluate_matrix(sim, text_to_video=owners)
    t2v, v2t = naive_ranks(sim.double().numpy(), np.array(owners), ties="mean", rivals="videos")
    np.testing.assert_array_equal(found.ranks_t2v, t2v)
    np.testing.assert_array_equal(found.ranks_v2t, v2t)
