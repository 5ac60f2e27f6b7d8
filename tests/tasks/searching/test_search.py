"""Search over parts: the same rows as one sort, with paths and times."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from reelvec.storage.records import Outcome
from reelvec.tasks.scoring.logits import Scoring
from reelvec.tasks.scoring.split_rows import MissingColumnError
from reelvec.tasks.searching.search import best_videos, search
from tests.support.small_store import commit, make_store, plain_captions, plain_videos


@pytest.fixture
def store(tmp_path):
    videos = plain_videos(20)
    failed = {"v003": Outcome("", "quarantined", "timeout", "120 s")}
    return make_store(
        tmp_path, videos=videos, captions=plain_captions(videos), failed=failed, parts=3
    )


def query_of(store, caption):
    return {"embedding": torch.from_numpy(store.captions[caption])[None]}


@pytest.mark.parametrize("top", [1, 4, 19, 500])
def test_rows_are_those_of_one_sort(store, top):
    query = query_of(store, "v007-0")
    rows = search(query, embeddings=store.embeddings, corpus=store.corpus, top=top)
    scores = {
        name: float(store.captions["v007-0"] @ vector)
        for name, vector in store.videos.items()
        if name != "v003"
    }
    expected = sorted(scores, key=lambda name: -scores[name])[:top]
    assert [row.video_id for row in rows] == expected
    assert [row.rank for row in rows] == list(range(1, len(expected) + 1))
    assert [row.score for row in rows] == pytest.approx([scores[n] for n in expected], abs=1e-6)


def test_rows_say_where_and_when(store):
    row = search(
        query_of(store, "v007-0"),
        embeddings=store.embeddings,
        corpus=store.corpus,
        frames=store.frames,
        top=1,
    )[0]
    assert (row.video_id, row.path) == ("v007", "/videos/v007.mp4")
    assert (row.start_seconds, row.end_seconds) == (0.0, 2.0)
    assert (row.frames, row.pts_seconds) == (4, (0.0, 0.5, 1.0, 1.5))
    assert json.loads(json.dumps(row.as_dict()))["pts_seconds"] == [0.0, 0.5, 1.0, 1.5]


def test_a_window_is_said(store):
    videos = [replace(v, start_seconds=3.0, end_seconds=9.5) for v in store.corpus.videos]
    corpus = replace(store.corpus, videos=videos)
    row = search(query_of(store, "v001-0"), embeddings=store.embeddings, corpus=corpus, top=1)[0]
    assert (row.start_seconds, row.end_seconds, row.frames) == (3.0, 9.5, 0)


def test_superseded_rows_are_not_found(store):
    newer = commit(store.embeddings.artifact, [], supersede={"videos": ["v007"]})
    found = best_videos(query_of(store, "v007-0"), embeddings=newer, top=100)
    assert len(found) == 18
    assert "v007" not in [name for name, _ in found]


def test_pieces_do_not_change_the_answer(store, monkeypatch):
    query = query_of(store, "v010-0")
    whole = best_videos(query, embeddings=store.embeddings, top=7)
    from reelvec.storage import tables
    from reelvec.tasks.searching import search as searching

    monkeypatch.setattr(
        searching,
        "iter_tables",
        lambda *a, **k: tables.iter_tables(*a, **k, batch_rows=2),
    )
    pieces = best_videos(query, embeddings=store.embeddings, top=7)
    assert [name for name, _ in pieces] == [name for name, _ in whole]
    np.testing.assert_allclose([s for _, s in pieces], [s for _, s in whole], atol=1e-6)


def test_any_score_will_do(store):
    def smallest_first(texts, videos):
        return -(texts["embedding"] @ videos["embedding"].T)

    query = query_of(store, "v007-0")
    first = best_videos(query, embeddings=store.embeddings, top=1)[0]
    last = best_videos(
        query, embeddings=store.embeddings, top=100, scoring=Scoring(smallest_first)
    )[-1]
    assert last[0] == first[0] == "v007"
    with pytest.raises(MissingColumnError, match="no column tokens"):
        best_videos(
            query,
            embeddings=store.embeddings,
            top=1,
            scoring=Scoring(smallest_first, video_columns=("tokens",)),
        )


def test_one_query_at_a_time(store):
    both = {"embedding": torch.zeros(2, 8)}
    with pytest.raises(ValueError, match="takes one text"):
        best_videos(both, embeddings=store.embeddings, top=1)


def test_an_empty_table_has_no_answer(tmp_path):
    store = make_store(tmp_path, videos=[], captions=[])
    assert best_videos({"embedding": torch.zeros(1, 8)}, embeddings=store.embeddings, top=3) == []
