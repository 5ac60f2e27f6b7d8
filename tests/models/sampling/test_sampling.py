"""Frame rules against the originals' goldens, against naive twins, and against their promises."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reelvec.models.sampling.originals import (
    adaclip_segment,
    adaclip_subset,
    adaclip_uniform,
    clip2video_jitter,
    clip2video_two_stage,
    clip4clip_cv2,
)
from reelvec.models.sampling.rules import (
    LIMITS,
    POLICIES,
    Rule,
    Timeline,
    choose,
    limit,
    pick_stored,
)
from tests.resources import GOLDENS

SLICE = ("head", "tail", "linspace")


def goldens(table):
    """Parameters from the golden table."""
    return json.loads((GOLDENS / "frame_sampling.json").read_text())[table]


def constant(n, *, fps=25.0, **window):
    return Timeline(pts_seconds=np.arange(n) / fps, fps=fps, **window)


def pick(policy, timeline, **options):
    return choose(Rule(policy=policy, **options), timeline=timeline).tolist()


# The originals.


@pytest.mark.parametrize("case", goldens("clip4clip_cv2"))
def test_clip4clip_matches_its_golden(case):
    window = None if case["start"] is None else (case["start"], case["end"])

    def frames():
        return clip4clip_cv2(
            case["frame_count"],
            fps=case["fps"],
            readable=case["readable"],
            rate=case["framerate"],
            window=window,
        )

    if "error" in case:
        with pytest.raises(ValueError, match="for the rule clip4clip"):
            frames()
        return
    assert frames().tolist() == case["frames"]
    for loader in case["sampled"]:
        kept = limit(frames(), loader["max_frames"], SLICE[loader["slice_framepos"]]).tolist()
        assert (kept[::-1] if loader["frame_order"] == 1 else kept) == loader["frames"]


@pytest.mark.parametrize("case", goldens("slice"))
def test_limit_matches_the_loaders(case):
    how = SLICE[case["slice_framepos"]]
    assert pick_stored(case["n_frames"], case["max_frames"], how).tolist() == case["index"]


@pytest.mark.parametrize("case", goldens("clip2video"))
def test_clip2video_matches_its_golden(case):
    got = clip2video_two_stage(
        case["n_jpeg"], framerate=case["framerate"], max_frames=case["max_frames"]
    )
    assert got.tolist() == case["index"]


@pytest.mark.parametrize("case", goldens("clip2video_train_jitter"))
def test_clip2video_jitter_matches_its_golden(case):
    calm = clip2video_two_stage(
        case["n_jpeg"], framerate=case["framerate"], max_frames=case["max_frames"]
    )
    random = np.random.RandomState(case["numpy_seed"])
    assert clip2video_jitter(calm, random=random).tolist() == case["index"]


@pytest.mark.parametrize("case", goldens("adaclip"))
def test_adaclip_matches_its_golden(case):
    rule = {"uniform": adaclip_uniform, "segment": adaclip_segment}[case["rule"]]
    got = rule(case["n_jpeg"], count=case["num_frm"])
    if case["num_frm_subset"]:
        got = adaclip_subset(got, size=case["num_frm_subset"])
    assert got.tolist() == case["index"]


# The same rules on the specifications' own examples.


def test_clip4clip_examples_of_the_specs():
    assert len(clip4clip_cv2(250, fps=25.0, readable=250)) == 10
    assert clip4clip_cv2(369, fps=29.97, readable=369).tolist() == list(range(0, 349, 29))
    assert clip4clip_cv2(15, fps=25.0, readable=15).tolist() == [0]
    assert len(clip4clip_cv2(1000, fps=25.0, readable=1000, window=(0, 31))) == 32
    assert clip4clip_cv2(4, fps=2.9, readable=4, rate=0).tolist() == [0, 1, 2, 3]


def test_docstring_drawings_are_true():
    assert pick_stored(7, 3, "head").tolist() == [0, 1, 2]
    assert pick_stored(7, 3, "tail").tolist() == [4, 5, 6]
    assert pick_stored(7, 3, "linspace").tolist() == [0, 3, 6]
    assert pick("per_second", constant(6, fps=2.5)) == [0, 2, 5]
    assert pick("uniform", constant(9), count=3) == [0, 4, 8]
    assert pick("segments", constant(9), count=3) == [1, 4, 7]
    assert clip2video_two_stage(12, framerate=2, max_frames=3).tolist() == [0, 4, 11]
    assert adaclip_uniform(8, count=4).tolist() == [0, 2, 4, 6]
    assert adaclip_uniform(2, count=4).tolist() == [0, 0, 1, 1]
    assert adaclip_segment(9, count=3).tolist() == [1, 4, 7]
    assert adaclip_segment(17, count=16).tolist()[-3:] == [13, 14, 16]


# Ours.


@pytest.mark.parametrize(
    ("fps", "frames", "expected"),
    [
        (25.0, 250, list(range(0, 250, 25))),
        (30000 / 1001, 369, [0, 29, 59, 89, 119, 149, 179, 209, 239, 269, 299, 329, 359]),
        (25.0, 15, [0]),
        (0.5, 3, [0, 1, 2]),
    ],
)
def test_per_second_goes_by_true_time(fps, frames, expected):
    assert pick("per_second", constant(frames, fps=fps)) == expected


def test_per_second_reads_matroska_times_as_meant():
    """15 fps in whole milliseconds: frame 10 is at 0.667 s, which is two thirds of a second."""
    rounded = Timeline(pts_seconds=np.round(np.arange(30) / 15, 3), fps=15.0)
    assert pick("per_second", rounded, rate=1.5) == [0, 10, 20]


def test_per_second_on_a_variable_frame_rate():
    """Two seconds at 10 fps, then one still second, then one at 5 fps."""
    pts = np.concatenate([np.arange(20) / 10, [2.0], 3 + np.arange(5) / 5])
    assert pick("per_second", Timeline(pts_seconds=pts, fps=5.0)) == [0, 10, 20, 21]


def test_window_is_half_open():
    assert pick("all", constant(250, start_seconds=2, end_seconds=3)) == list(range(50, 75))
    assert pick("per_second", constant(250, start_seconds=2, end_seconds=5)) == [50, 75, 100]
    assert pick("uniform", constant(250, start_seconds=2, end_seconds=3), count=3) == [50, 62, 74]
    assert pick("per_second", constant(250, start_seconds=20, end_seconds=21)) == []
    assert pick("all", constant(250, start_seconds=20)) == []


def test_a_window_must_run_forward():
    with pytest.raises(ValueError, match=r"window \(5, 2\)"):
        constant(10, start_seconds=5, end_seconds=2)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"policy": "fastest"}, "must be one of per_second"),
        ({"limit": "middle"}, "must be one of head"),
        ({"rate": 0.0}, "must be > 0"),
        ({"count": 0}, "must be >= 1"),
        ({"max_frames": 0}, "must be >= 1"),
    ],
)
def test_rules_refuse_what_they_cannot_do(options, message):
    with pytest.raises(ValueError, match=message):
        Rule(**options)


def test_an_original_refuses_a_fraction_of_a_frame():
    with pytest.raises(ValueError, match="whole number"):
        choose(Rule(policy="clip4clip", rate=0.5), timeline=constant(100))
    with pytest.raises(ValueError, match="adaclip_random"):
        choose(Rule(policy="adaclip_random", count=12), timeline=constant(5))


times = st.lists(st.floats(0.001, 2.0), min_size=1, max_size=60).map(
    lambda gaps: np.concatenate([[0.0], np.cumsum(gaps)[:-1]])
)


@given(times, st.sampled_from([0.5, 1.0, 2.0, 3.0]))
def test_per_second_equals_the_naive_walk(pts, rate):
    timeline = Timeline(pts_seconds=pts, fps=10.0)
    naive, k = [], 0
    while k / rate < timeline.end_of_last_frame - 0.0005:
        shown = max(i for i in range(len(pts)) if pts[i] <= k / rate + 0.0005)
        if not naive or naive[-1] != shown:
            naive.append(shown)
        k += 1
    assert pick("per_second", timeline, rate=rate) == naive


@given(st.integers(1, 400), st.integers(1, 70), st.sampled_from(sorted(LIMITS)))
def test_limits_keep_order_bounds_and_number(n, m, how):
    picked = pick_stored(n, m, how)
    assert len(picked) == min(n, m)
    assert picked.dtype == np.int64
    assert np.all(np.diff(picked) > 0)
    assert picked[0] >= 0
    assert picked[-1] < n


@given(
    st.sampled_from(sorted(set(POLICIES) - {"adaclip_random"})),
    st.integers(1, 500),
    st.sampled_from([5.0, 12.5, 24000 / 1001, 25.0, 60.0]),
    st.integers(1, 20),
    st.none() | st.integers(1, 20),
)
def test_every_policy_stays_inside_the_clip(policy, n, fps, count, max_frames):
    rule = Rule(policy=policy, count=count, max_frames=max_frames)
    timeline = constant(n, fps=fps, keyframe=np.arange(n) % 7 == 0)
    picked = choose(rule, timeline=timeline)
    again = choose(rule, timeline=timeline)
    assert picked.tolist() == again.tolist()
    assert picked.dtype == np.int64
    repeats = policy.startswith(("adaclip", "videoprism", "pe_video"))
    assert np.all(np.diff(picked) >= (0 if repeats else 1))
    assert np.all((picked >= 0) & (picked < n))
    assert max_frames is None or len(picked) <= max_frames


@given(st.integers(1, 300), st.integers(1, 300))
def test_segments_are_their_naive_middles(n, count):
    naive = sorted({int((i + 0.5) * n / count) for i in range(count)}) if n > count else range(n)
    assert pick("segments", constant(n), count=count) == list(naive)
