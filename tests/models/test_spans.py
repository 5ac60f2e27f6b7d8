"""Spans: overlap, and a choice among overlapping ones, against its definition."""

import random

import pytest

from reelvec.models.spans import Span, apart


@pytest.mark.parametrize(
    ("one", "other", "iou"),
    [
        ((0, 10), (0, 10), 1.0),
        ((0, 10), (5, 15), 1 / 3),
        ((0, 10), (2, 4), 0.2),
        ((0, 10), (10, 20), 0.0),
        ((0, 10), (30, 40), 0.0),
        ((3, 3), (3, 3), 0.0),
    ],
)
def test_intersection_over_union(one, other, iou):
    assert Span(*one).iou(Span(*other)) == Span(*other).iou(Span(*one)) == pytest.approx(iou)


def shares(one, other):
    return min(one.end, other.end) - max(one.start, other.start) > 0.0005


def naive(spans, top):
    kept = []
    for place, (file, span) in enumerate(spans):
        others = [spans[k][1] for k in kept if spans[k][0] == file]
        if not any(shares(span, other) for other in others):
            kept.append(place)
    return kept[:top]


def test_spans_that_overlap_none_before_them_as_by_looking_at_all():
    rng = random.Random(1)
    spans = []
    for _ in range(400):
        start = rng.randint(0, 80) / 2
        spans.append((rng.choice("ab"), Span(start, start + rng.choice([0.5, 1.0, 2.5, 7.0]))))
    for top in (None, 1, 5):
        assert apart(spans, top=top) == naive(spans, top)


def test_spans_that_touch_do_not_overlap():
    touching = [(0, Span(0, 10)), (0, Span(9.9998, 20)), (1, Span(0, 10))]
    assert apart(touching) == [0, 1, 2]
    assert apart([(0, Span(0, 10)), (0, Span(9.998, 20))]) == [0]
