"""The gate, check by check, on tables whose faults are known."""

from dataclasses import replace

import numpy as np
import pytest

from reelvec.configs.schema import EvaluateConfig
from reelvec.configs.upkeep import GateConfig
from reelvec.storage.commits.artifact import Artifact
from reelvec.storage.records import Outcome
from reelvec.storage.tables import read_table
from reelvec.tasks.migration.gate import GateTables, judge
from reelvec.tasks.migration.saving import render_gate
from reelvec.tasks.scoring.evaluate import evaluate
from tests.support import small_store
from tests.support.small_store import commit, make_store, plain_captions, plain_videos

VIDEOS = 30
OPTIONS = GateConfig()


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    videos = plain_videos(VIDEOS, train=0)
    folder = tmp_path_factory.mktemp("gate")
    return make_store(folder, videos=videos, captions=plain_captions(videos, each=2))


@pytest.fixture(scope="module")
def old(store):
    return tables(store, "old")


def tables(store, name, *, videos=None, captions=None, without=(), scored=True):
    """Tables of the same corpus with these vectors."""
    changed = replace(store, videos=videos or store.videos, captions=captions or store.captions)
    listed, said = store.corpus.videos, list(store.corpus.captions)
    outcome = {
        v.video_id: Outcome(v.video_id, "quarantined", "unreadable", "cut")
        if v.video_id in without
        else Outcome(v.video_id)
        for v in listed
    }
    parts = small_store._embedding_parts(list(listed), said, outcome, changed, 1, np.float32)
    artifact = Artifact.open(
        store.root, kind="embeddings", identity={"of": name, "weights": "cd" * 16}
    )
    made = commit(artifact, parts)
    options = EvaluateConfig(bootstrap=0)
    evaluation = (
        evaluate(store.session, made, corpus=store.corpus, options=options).snapshot
        if scored
        else None
    )
    corpus = store.session.latest(store.session.corpus)
    return GateTables(
        name=name, identifier="ab", embeddings=made, corpus=corpus, evaluation=evaluation
    )


def failed(report):
    return [check.name for check in report.checks if not check.passed]


def test_the_same_vectors_pass_and_their_recall_is_that_of_the_ranks(store, old):
    report = judge(old, tables(store, "again"), options=OPTIONS)
    assert report.passed and not report.same_model
    _, recall, overlap, norms = report.checks
    ranks = read_table(old.evaluation, "ranks").column("rank").to_numpy()
    assert recall.old == recall.new == pytest.approx(100 * np.mean(ranks <= 5))
    assert (recall.low, recall.high, recall.count) == (0.0, 0.0, 2 * VIDEOS)
    assert overlap.new == 1.0 and norms.new == pytest.approx(1.0, abs=1e-6)


def test_vectors_that_were_mixed_up_are_refused_with_the_interval(store, old):
    ids = list(store.videos)
    mixed = dict(zip(ids, [store.videos[key] for key in [*ids[7:], *ids[:7]]], strict=True))
    new = tables(store, "mixed", videos=mixed)
    report = judge(old, new, options=OPTIONS)
    assert "R@5 text to video" in failed(report)
    recall = report.checks[1]
    assert recall.low < recall.new - recall.old < recall.high < 0
    assert "fell from" in report.words and "may be chance" not in report.words
    assert judge(old, new, options=OPTIONS.model_copy(update={"max_recall_drop": 100.0})).passed
    page = render_gate(report, old=old, new=new).decode()
    assert "may not take its place" in page and "failed" in page and "t2v/R@1" in page


def test_neighbours_that_are_others_are_refused(store, old):
    rng = np.random.default_rng(9)
    other = dict(zip(store.videos, small_store.unit(rng, VIDEOS), strict=True))
    new = tables(store, "other", videos=other, scored=False)
    strict = OPTIONS.model_copy(update={"min_overlap": 0.9, "neighbours": 3})
    report = judge(old, new, options=strict)
    assert failed(report) == ["3 nearest videos"]
    recall, overlap = report.checks[1:3]
    assert recall.new is None and "not measured" in recall.words
    naive = []
    for key in store.videos:
        best = []
        for vectors in (store.videos, other):
            near = sorted(vectors, key=lambda one: (-float(vectors[one] @ vectors[key]), one))
            best.append({one for one in near if one != key})
            best[-1] = set([one for one in near if one != key][:3])
        naive.append(len(best[0] & best[1]) / 3)
    assert overlap.new == pytest.approx(np.mean(naive))


def test_lost_videos_and_wrong_lengths_are_refused(store, old):
    lost = judge(old, tables(store, "lost", without=("v003", "v004")), options=OPTIONS)
    assert "coverage" in failed(lost) and "2 usable videos of 30" in lost.words
    assert "v003" in lost.words
    long = {key: row * (3 if key == "v005" else 1) for key, row in store.videos.items()}
    report = judge(old, tables(store, "long", videos=long, scored=False), options=OPTIONS)
    assert "length of vectors" in failed(report) and "1 of 30" in report.words


def test_a_table_without_rows_is_refused(store, old):
    empty = tables(store, "empty", without=tuple(store.videos), scored=False)
    assert "coverage" in failed(judge(old, empty, options=OPTIONS))
