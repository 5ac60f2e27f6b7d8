"""Moment metrics come from the tables: as by a loop over captions and windows."""

from collections import defaultdict

import numpy as np
import pytest

import reelvec
from reelvec.configs.schema import EvaluateConfig
from reelvec.models.ranking.moments import MomentQuery, moment_metrics
from reelvec.models.spans import Span
from reelvec.tasks.artifacts import Session
from reelvec.tasks.embedding.sources import sources_of
from reelvec.tasks.scoring.evaluate import read_moments
from reelvec.tasks.scoring.logits import Scoring, dot_product
from reelvec.tasks.scoring.moments import score_moments
from reelvec.tasks.scoring.split_matrix import UnscorableError


@pytest.fixture(scope="module")
def run(film_store):
    return reelvec.open(film_store.store).run()


def naive(run):
    pieces = {v["video_id"]: v for v in run.table("corpus_videos").arrow().to_pylist()}
    windows = defaultdict(list)
    for row in run.table("windows").arrow(split="test").to_pylist():
        windows[row["clip_key"]].append(row)
    queries = {}

    def order(caption):
        def place(window):
            return -np.dot(window["embedding"], caption["embedding"]), window["window_id"]

        return place

    for caption in run.captions.arrow(split="test").to_pylist():
        piece = pieces[caption["video_id"]]
        true = Span(piece["start_seconds"], piece["end_seconds"])
        key = piece["content_hash"], caption["text"]
        if key in queries:
            queries[key].true.append(true)
            continue
        found = []
        for row in sorted(windows[key[0]], key=order(caption)):
            span = Span(row["start_seconds"], row["end_seconds"])
            if not any(span.overlaps(other) for other in found):
                found.append(span)
        queries[key] = MomentQuery(key[0], found, [true])
    return moment_metrics(list(queries.values()))


def test_metrics_are_those_of_a_loop(run):
    (rows,) = [run.table("moments").arrow().to_pylist()]
    found = {row["metric"]: (row["value"], row["n"]) for row in rows}
    expected = {row.metric: (row.value, row.n) for row in naive(run)}
    assert found == {name: (pytest.approx(value), n) for name, (value, n) in expected.items()}
    assert found["R1@0.5"][1] == 3 and found["mAP"][0] > 0
    assert [row["low"] is None for row in rows if row["metric"] == "R1@0.5"] == [False]


def scored(sources, options, scoring=None):
    return score_moments(
        sources.embeddings,
        corpus=sources.corpus.videos,
        options=options,
        scoring=scoring or dot_product(),
    )


def test_they_are_made_again_from_the_tables_alone(film_store, run):
    session = Session(film_store)
    sources = sources_of(session)
    made = scored(sources, film_store.evaluate)
    rows = run.table("moments").arrow().to_pylist()
    assert [(row.metric, row.value) for row in made] == [(r["metric"], r["value"]) for r in rows]
    train = EvaluateConfig(split="train", bootstrap=0)
    assert scored(sources, train)[0].n == 6
    assert scored(sources, EvaluateConfig(split="val")) == []

    def broken(texts, videos):
        return dot_product().similarity(texts, videos) * float("nan")

    with pytest.raises(UnscorableError, match="NaN"):
        scored(sources, train, Scoring(broken))


def test_a_run_without_windows_has_none(real_store):
    run = reelvec.open(real_store.store).run()
    assert "moments" not in run.tables and "windows" not in run.tables
    assert read_moments(run._recorded.snapshot("evaluation")) == []
