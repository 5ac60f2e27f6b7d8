"""Search over parts: the same rows as one sort, with paths and times."""

import json
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest
import torch

from reelvec.configs import PipelineConfig
from reelvec.errors import RequestError
from reelvec.storage import tables
from reelvec.storage.records import Outcome
from reelvec.storage.tables import identity_metadata, read_table, write_table
from reelvec.tasks.scoring.logits import Scoring, dot_product
from reelvec.tasks.scoring.split_rows import MissingColumnError
from reelvec.tasks.searching.search import (
    Answers,
    best_videos,
    check_request,
    with_warning,
)
from reelvec.tasks.searching.searcher import Searcher
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


def search(query, store, *, top, embeddings=None, frames=None):
    searcher = Searcher(
        embeddings or store.embeddings, corpus=store.corpus.ref.open(), frames=frames
    )
    return searcher.best([query], scoring=dot_product(), top=top)[0]


@pytest.mark.parametrize("top", [1, 4, 19, 500])
def test_rows_are_those_of_one_sort(store, top):
    query = query_of(store, "v007-0")
    rows = search(query, store, top=top).rows
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
    row = search(query_of(store, "v007-0"), store, frames=store.frames, top=1).rows[0]
    assert (row.video_id, row.path) == ("v007", "/videos/v007.mp4")
    assert (row.start_seconds, row.end_seconds) == (0.0, 2.0)
    assert (row.frames, row.pts_seconds) == (4, (0.0, 0.5, 1.0, 1.5))
    assert json.loads(json.dumps(row.as_dict()))["pts_seconds"] == [0.0, 0.5, 1.0, 1.5]


def test_a_window_is_said(tmp_path):
    videos = [replace(v, start_seconds=3.0, end_seconds=9.5) for v in plain_videos(3)]
    store = make_store(tmp_path, videos=videos, captions=plain_captions(videos))
    (row,) = search(query_of(store, "v001-0"), store, top=1).rows
    assert (row.start_seconds, row.end_seconds, row.frames) == (3.0, 9.5, 0)


def test_a_length_that_is_not_declared_is_counted(tmp_path):
    undeclared = {"duration_seconds_from_header": 0.0, "frames_counted": 300, "fps_container": 25.0}
    videos = [replace(v, **undeclared) for v in plain_videos(3)]
    store = make_store(tmp_path, videos=videos, captions=plain_captions(videos))
    (row,) = search(query_of(store, "v001-0"), store, top=1).rows
    assert (row.start_seconds, row.end_seconds) == (0.0, 12.0)


def test_superseded_rows_are_not_found(store):
    newer = commit(store.embeddings.artifact, [], supersede={"videos": ["v007"]})
    found = best_videos(query_of(store, "v007-0"), embeddings=newer, top=100).best
    assert len(found) == 18
    assert "v007" not in [name for name, _ in found]


def test_pieces_do_not_change_the_answer(store, monkeypatch):
    query = query_of(store, "v010-0")
    whole = best_videos(query, embeddings=store.embeddings, top=7).best
    from reelvec.tasks.searching import search as searching

    monkeypatch.setattr(
        searching,
        "iter_tables",
        lambda *a, **k: tables.iter_tables(*a, **k, batch_rows=2),
    )
    pieces = best_videos(query, embeddings=store.embeddings, top=7).best
    assert [name for name, _ in pieces] == [name for name, _ in whole]
    np.testing.assert_allclose([s for _, s in pieces], [s for _, s in whole], atol=1e-6)


def test_any_score_will_do(store):
    def smallest_first(texts, videos):
        return -(texts["embedding"] @ videos["embedding"].T)

    query = query_of(store, "v007-0")
    first = best_videos(query, embeddings=store.embeddings, top=1).best[0]
    last = best_videos(
        query, embeddings=store.embeddings, top=100, scoring=Scoring(smallest_first)
    ).best[-1]
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
    query = {"embedding": torch.zeros(1, 8)}
    assert best_videos(query, embeddings=store.embeddings, top=3).best == []


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_rows_that_are_not_finite_are_left_out_and_counted(store, monkeypatch, value):
    """Stores of before such rows were refused hold some."""
    monkeypatch.setattr(tables, "check_finite", lambda _: None)
    artifact = store.embeddings.artifact
    with artifact.new_part(table="videos", shard="old", suffix=".parquet") as part:
        rows = read_table(store.embeddings, "videos").slice(0, 2)
        vectors = np.full((2, 8), value, np.float32)
        vectors[1] = 0.0
        rows = rows.set_column(0, "video_id", pa.array(["bad", "zero"], pa.string()))
        at = rows.schema.get_field_index("embedding")
        column = pa.FixedSizeListArray.from_arrays(pa.array(vectors.reshape(-1)), 8)
        rows = rows.set_column(at, "embedding", column)
        write_table(part.path, rows, metadata=identity_metadata(artifact.identity))
        receipt = part.commit(rows=2, outcomes=[Outcome("bad"), Outcome("zero")])
    older = artifact.publish(add=[receipt])
    query = query_of(store, "v007-0")
    before = best_videos(query, embeddings=store.embeddings, top=3)
    found = best_videos(query, embeddings=older, top=3)
    assert (found.best, found.not_finite, before.not_finite) == (before.best, 1, 0)
    answers = search(query, store, embeddings=older, top=99)
    assert len(answers.rows) == 20 and "1 videos are left out" in answers.notes[0]
    assert answers.unit == "cosine" and max(row.score for row in answers.rows) <= 1.0001


def test_a_query_that_is_not_finite_is_said(store):
    with pytest.raises(RequestError, match="no vector for this text: its embedding holds NaN"):
        best_videos(
            {"embedding": torch.full((1, 8), torch.nan)}, embeddings=store.embeddings, top=1
        )


def test_nothing_is_found_for_no_words():
    for text in ("", " \n\t"):
        with pytest.raises(RequestError, match="the text is empty"):
            check_request(text, top=1)
    check_request("a", top=1)


def test_the_order_of_an_untrained_model_is_said_to_be_chance():
    answers = Answers([], "cosine", ("else",))
    plain = PipelineConfig.model_validate(
        {"name": "x", "store": "s", "corpus": {"kind": "folder", "videos": "v"}}
    )
    untrained = plain.model_copy(update={"train": plain.train.model_copy(update={"epochs": 0})})
    assert with_warning(answers, plain) is answers
    assert "UNTRAINED" in with_warning(answers, untrained).notes[0]
    with_weights = plain.model.model_copy(update={"weights": "w.pt"})
    assert with_warning(answers, untrained.model_copy(update={"model": with_weights})) is answers
