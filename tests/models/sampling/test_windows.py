"""Windows of a file and cuts between shots, against their definitions."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from reelvec.configs.corpora import WindowsConfig
from reelvec.models.sampling.rules import Rule, choose
from reelvec.models.sampling.timeline import Timeline
from reelvec.models.sampling.windows import (
    colour_changes,
    cut_times,
    end_of_file,
    frames_within,
    spans_of,
)
from reelvec.models.spans import Span
from reelvec.storage.corpora.synthetic.drawing import draw, draw_film
from reelvec.storage.corpora.synthetic.films import film_of
from reelvec.storage.corpora.synthetic.scenes import scene_of


def pairs(spans):
    return [(span.start, span.end) for span in spans]


@pytest.mark.parametrize(
    ("end", "seconds", "stride", "expected"),
    [
        (23.0, 10.0, 5.0, [(0, 10), (5, 15), (10, 20), (13, 23)]),
        (20.0, 10.0, None, [(0, 10), (5, 15), (10, 20)]),
        (20.0, 10.0, 10.0, [(0, 10), (10, 20)]),
        (10.0, 10.0, 5.0, [(0, 10)]),
        (3.0, 10.0, 5.0, [(0, 3)]),
    ],
)
def test_windows_of_one_length(end, seconds, stride, expected):
    options = WindowsConfig(seconds=seconds, stride=stride)
    assert pairs(spans_of(np.arange(0, end, 0.5), end=end, options=options)) == expected


@pytest.mark.parametrize("end", [0.04, 7.31, 29.97, 3600.5, 36000.1])
def test_windows_cover_a_file_whatever_its_length(end):
    pts = np.arange(0, end, 0.5)
    spans = spans_of(pts, end=end, options=WindowsConfig(seconds=7.3, stride=3.1))
    assert spans[0].start == 0 and spans[-1].end == pytest.approx(end)
    assert all(a.start + 0.0005 < b.start <= a.end for a, b in pairwise(spans))
    assert all(span.seconds == pytest.approx(min(7.3, end)) for span in spans)


def test_a_window_without_a_stored_frame_is_none():
    pts = np.array([0.0, 1.0, 31.0])
    spans = spans_of(pts, end=40.0, options=WindowsConfig(seconds=10, stride=10))
    assert pairs(spans) == [(0, 10), (30, 40)]
    assert [frames_within(pts, span) for span in spans] == [(0, 2), (2, 3)]


def test_a_stride_longer_than_a_window_leaves_gaps_and_is_refused():
    with pytest.raises(ValueError, match="would never be found"):
        WindowsConfig(seconds=5, stride=6)


@pytest.mark.parametrize(("declared", "end"), [(9.0, 9.0), (0.0, 5.0), (3.0, 5.0)])
def test_the_end_of_a_file(declared, end):
    assert end_of_file(np.array([0.0, 1.0, 2.0, 4.0]), declared=declared) == end
    assert end_of_file(np.zeros(1), declared=0.0) == 1.0


def naive_changes(frames):
    """Of each pair of frames: the distance between sorted values of each channel."""
    side = min(32, frames.shape[1])
    places = [(2 * i + 1) * frames.shape[1] // (2 * side) for i in range(side)]
    found = [0.0]
    for before, after in pairwise(frames):
        total = 0
        for channel in range(3):
            one, other = (
                sorted(int(f[y, x, channel]) for y in places for x in places)
                for f in (before, after)
            )
            total += sum(abs(a - b) for a, b in zip(one, other, strict=True))
        found.append(total / (3 * side * side))
    return found


@pytest.mark.parametrize("size", [5, 32, 45])
def test_changes_are_distances_of_colours_whatever_the_blocks(size):
    frames = np.random.default_rng(0).integers(0, 256, (7, size, size, 3), np.uint8)
    expected = naive_changes(frames)
    for cuts in ([], [1], [2, 2, 5]):
        blocks = np.split(frames, cuts)
        assert colour_changes(blocks).tolist() == pytest.approx(expected)
    assert len(colour_changes([])) == 0


def test_what_moves_is_no_cut_and_what_follows_is():
    looks = {"shape": "square", "colour": "red", "background": "white"}
    moves = {"axis": "horizontal", "size": "large", "speed": "fast"}
    scene = replace(scene_of("test", 0, seed=0, motion_only=0.0), **looks, **moves)
    assert colour_changes([draw(scene, frames=6, size=64)]).max() < 12
    film = film_of("test", 0, events=4, seed=0)
    changes = colour_changes([draw_film(film, fps=2, size=64)])
    pts = np.arange(len(changes)) / 2
    starts = np.cumsum([stretch.seconds for stretch in film.stretches]).tolist()
    options = WindowsConfig(by="shots", seconds=60.0)
    assert cut_times(changes, pts, end=starts[-1], options=options) == starts[:-1]
    spans = spans_of(pts, end=starts[-1], options=options, changes=changes)
    assert {(e.start, e.end) for e in film.events} <= set(pairs(spans))
    pieces = spans_of(
        pts, end=starts[-1], options=WindowsConfig(by="shots", seconds=2.0), changes=changes
    )
    assert max(span.seconds for span in pieces) == 2.0 and len(pieces) > len(spans)


def test_of_cuts_that_are_near_the_stronger_ones_count():
    rng = np.random.default_rng(2)
    changes, pts = rng.uniform(0, 60, 200), np.arange(200) / 2
    options = WindowsConfig(by="shots", threshold=20, shortest=2.0)
    kept = []
    for place in sorted(range(200), key=lambda i: (-changes[i], i)):
        others = [0.0, 100.0, *kept]
        if changes[place] >= 20 and all(abs(pts[place] - t) >= 2.0 for t in others):
            kept.append(pts[place])
    assert cut_times(changes, pts, end=100.0, options=options) == sorted(kept)


def test_keyframes_alone():
    at = np.zeros(20, bool)
    at[[0, 5, 12]] = True
    rule = Rule(policy="keyframes")

    def chosen(**window):
        return choose(
            rule, timeline=Timeline(pts_seconds=np.arange(20.0), fps=1.0, keyframe=at, **window)
        )

    assert chosen().tolist() == [0, 5, 12]
    assert chosen(start_seconds=4.0, end_seconds=13.0).tolist() == [5, 12]
    assert chosen(start_seconds=6.0, end_seconds=9.0).tolist() == [5]
    with pytest.raises(ValueError, match="per_second"):
        choose(rule, timeline=Timeline(pts_seconds=np.arange(3.0), fps=1.0))
    assert not rule.counts


def test_a_span_has_a_length():
    assert Span(2.0, 5.5).seconds == 3.5
