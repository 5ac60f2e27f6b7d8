"""Moment metrics: by hand, and against their definition."""

import random

import numpy as np
import pytest

from reelvec.models.ranking.moments import MomentQuery, average_precision, moment_metrics
from reelvec.models.spans import Span


def by_name(queries, **options):
    return {row.metric: row for row in moment_metrics(queries, **options)}


def test_by_hand():
    one = MomentQuery("a", [Span(0, 10), Span(20, 26)], [Span(0, 8)])  # overlap 0.8
    two = MomentQuery("b", [Span(50, 60), Span(4, 10)], [Span(4, 12)])  # second: 0.75
    found = {name: row.value for name, row in by_name([one, two]).items()}
    assert found["R1@0.5"] == found["R1@0.7"] == 50
    assert found["R5@0.5"] == found["R5@0.7"] == 100
    assert found["mAP@0.5"] == found["mAP@0.75"] == 75
    assert found["mIoU"] == 40
    steps = [0.5, 0.55, 0.6, 0.65, 0.7, 0.75, 0.8]
    assert found["mAP"] == pytest.approx(10 * (len(steps) + 0.5 * 6) / 2)
    assert found["boundary mean s"] == found["boundary max s"] == 2


def naive_precision(found, true, least):
    """Area under the precision that is reached at each recall."""
    met, precision, recall = set(), [], []
    for rank, span in enumerate(found, start=1):
        free = [t for t in range(len(true)) if t not in met and span.iou(true[t]) >= least]
        if free:
            met.add(max(free, key=lambda t: span.iou(true[t])))
        precision.append(len(met) / rank)
        recall.append(len(met) / len(true))
    area = 0.0
    for k in range(1, len(true) + 1):
        there = [p for p, r in zip(precision, recall, strict=True) if r >= k / len(true)]
        area += max(there, default=0) / len(true)
    return area


def drawn(seed):
    rng = random.Random(seed)

    def spans(count):
        starts = [rng.uniform(0, 30) for _ in range(count)]
        return [Span(start, start + rng.uniform(1, 9)) for start in starts]

    return spans(rng.randint(0, 12)), spans(rng.randint(1, 4))


def test_precision_is_the_area_of_its_definition():
    for seed in range(60):
        found, true = drawn(seed)
        for least in (0.1, 0.5, 0.75):
            expected = naive_precision(found, true, least)
            assert average_precision(found, true, least=least) == pytest.approx(expected)


def test_intervals_draw_films():
    queries = [
        MomentQuery(f, [Span(0, 1)], [Span(0, 1) if f < 5 else Span(8, 9)])
        for f in range(10)
        for _ in range(3)
    ]
    row = by_name(queries, bootstrap=400, seed=3)["R1@0.5"]
    assert (row.value, row.n) == (50, 30)
    spread = 100 * np.sqrt(0.25 / 10)  # of ten films, not of thirty queries
    assert row.low == pytest.approx(50 - 1.96 * spread, abs=8)
    assert row.high == pytest.approx(50 + 1.96 * spread, abs=8)
    assert by_name(queries)["R1@0.5"].low is None


def test_no_query_has_no_metric_and_nothing_found_is_no_hit():
    assert moment_metrics([]) == []
    found = by_name([MomentQuery("a", [], [Span(0, 1)])])
    assert found["R5@0.5"].value == found["mAP"].value == found["mIoU"].value == 0
    assert "boundary max s" not in found
