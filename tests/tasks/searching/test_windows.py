"""Windows as answers: where and when, the best second, and none beside a better one it overlaps."""

import random
from itertools import pairwise

import numpy as np
import pytest

import reelvec
from reelvec.models.spans import Span
from reelvec.tasks.searching.search import Ranking
from reelvec.tasks.searching.windows import Window, best_apart


@pytest.fixture(scope="module")
def run(film_store):
    return reelvec.open(film_store.store).run()


def span_of(row):
    return Span(row["start_seconds"], row["end_seconds"])


def ranked(run, query, *, split=None):
    """All windows by an exact product, best first, without those that overlap a better one."""
    kept = []
    rows = run.table("windows").arrow(split=split).to_pylist()
    scores = [float(np.dot(np.float64(query), row["embedding"])) for row in rows]
    for n in sorted(range(len(rows)), key=lambda n: (-scores[n], rows[n]["window_id"])):
        same = [other for other in kept if other["clip_key"] == rows[n]["clip_key"]]
        if not any(span_of(rows[n]).overlaps(span_of(other)) for other in same):
            kept.append(rows[n])
    return kept


@pytest.mark.parametrize("split", [None, "test"])
def test_windows_are_those_of_one_sort(run, split):
    with run.searches() as searches:
        found = searches.text("a red circle", top=50, split=split).rows
    expected = ranked(run, run.encode_texts(["a red circle"])[0], split=split)
    facts = ("video_id", "start_seconds", "end_seconds", "split")
    said = [[getattr(row, name) for name in facts] for row in found]
    assert said == [[row[name] for name in facts] for row in expected]
    assert all(one.score >= other.score for one, other in pairwise(found))
    assert [r.rank for r in found] == list(range(1, len(found) + 1))


def test_the_best_second_is_that_of_the_nearest_frame(run):
    text = run.encode_texts(["a blue star"])[0]
    with run.searches() as searches:
        rows = searches.text("a blue star", top=3).rows
        (near,) = searches.vectors(text[None], top=1)
        searches.best_seconds = False
        assert searches.text("a blue star", top=1).rows[0].best_seconds is None
    for row in rows:
        clip = run.frames(row.video_id)
        inside = [
            (f, t)
            for f, t in zip(clip.frames, clip.pts_seconds, strict=True)
            if row.start_seconds <= t < row.end_seconds
        ]
        assert row.pts_seconds == tuple(t for _, t in inside) and row.frames == 8
        scores = run.encode_frames([frame[None] for frame, _ in inside]) @ text
        assert row.best_seconds == inside[int(np.argmax(scores))][1]
    assert near.rows[0].start_seconds == rows[0].start_seconds
    assert near.rows[0].path == run.search("a blue star", top=1)[0].path


def test_whole_videos_are_searched_where_they_are_asked_for(run):
    with run.searches(whole=True) as searches:
        found = searches.text("a blue star", top=50).rows
        assert {row.video_id for row in found} == set(run.videos.arrow(["video_id"])[0].to_pylist())
        assert {row.best_seconds for row in found} == {None}
    with run.searches() as searches:
        assert len(searches.like("film-000001", top=50).rows) == len(found) - 1
        some = searches.text("a blue star", top=50, only=searches.where("video_id = 'film-000002'"))
        assert {row.video_id for row in some.rows} == {"film-000002"}


def test_enough_windows_are_ranked_for_those_that_stay_apart():
    rng = random.Random(4)
    windows = {}
    for n in range(300):
        start = rng.randint(0, 40) / 2
        windows[f"w{n:03d}"] = Window(f"w{n:03d}", "v", rng.choice("abc"), "", start, start + 5)
    order = rng.sample(sorted(windows), 300)
    asked = []

    def rank(wanted):
        asked.append(wanted)
        return Ranking([(key, 1.0 - n / 300) for n, key in enumerate(order[:wanted])], 2)

    for top in (1, 3, 8, 100):
        kept = []
        for key in order:
            one = windows[key]
            if not any(one.clip_key == k.clip_key and one.span.overlaps(k.span) for k in kept):
                kept.append(one)
        ranking, found = best_apart(rank, windows=windows, top=top)
        assert found == kept[:top]
        assert [key for key, _ in ranking.best] == [one.window_id for one in found]
        assert ranking.not_finite == 2
    assert max(asked) > 300, "where too few stay, more are asked for"
