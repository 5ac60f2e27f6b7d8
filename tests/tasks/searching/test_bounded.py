"""Bounded search gives the answers of a score of every row, to the last bit, and scores few."""

import numpy as np
import pyarrow as pa
import pytest
import torch

from reelvec.storage import tables
from reelvec.storage.commits.artifact import Artifact
from reelvec.storage.records import Outcome
from reelvec.storage.roots import open_root
from reelvec.storage.tables import identity_metadata, write_table
from reelvec.tasks.scoring.logits import scoring_of
from reelvec.tasks.searching import bounded
from reelvec.tasks.searching.bounded import BoundedIndex
from reelvec.tasks.searching.search import best_videos
from reelvec.tasks.searching.searcher import Searcher
from tests.models.test_bounding import FAMILIES, drawn, made


def table_of(folder, video, *, half=False, parts=2, name="videos"):
    """A table of these features, in no order, with two splits; and its snapshot."""
    root = open_root(folder / "store")
    artifact = Artifact.open(root, kind="embeddings", identity={"kind": "embeddings"})
    columns, receipts = video.columns(), []
    order = np.random.default_rng(1).permutation(len(video))
    for number, rows in enumerate(np.array_split(order, parts)):
        names = [f"v{row:05d}" for row in rows]
        table = {
            "video_id": pa.array(names, pa.string()),
            "split": pa.array(["train" if row % 3 else "test" for row in rows], pa.string()),
        }
        if name == "windows":
            table = {"window_id": table["video_id"]} | table
            table["video_id"] = pa.array([f"v{row // 5:05d}" for row in rows], pa.string())
        for column, values in columns.items():
            some = values[torch.from_numpy(rows)].numpy()
            some = some.astype(np.float16) if half and column == "frames" else some
            flat = pa.array(some.reshape(-1))
            table[column] = pa.FixedSizeListArray.from_arrays(flat, some.shape[1])
        with artifact.new_part(table=name, shard=f"p{number}", suffix=".parquet") as part:
            write_table(part.path, pa.table(table), metadata=identity_metadata(artifact.identity))
            outcomes = [Outcome(one) for one in names]
            receipts.append(part.commit(rows=len(rows), outcomes=outcomes))
    return artifact.publish(add=receipts)


def index_of(table, scoring):
    return BoundedIndex.of(table, scoring=scoring, bound=scoring.bound)


def both(index, table, text, scoring, **options):
    """What the index finds, and what a score of every row does."""
    query = text.columns()
    expected = best_videos(query, embeddings=table, scoring=scoring, **options)
    return index.best(query, **options), expected


@pytest.mark.parametrize("name", FAMILIES)
def test_answers_are_those_of_every_row_s_score(name, tmp_path, monkeypatch):
    monkeypatch.setattr(bounded, "_AT_ONCE", 100)
    monkeypatch.setattr(bounded, "_FIRST", 8)
    model = made(name, seed=0)
    text, video = drawn(model, "equal rows", videos=190)
    scoring = scoring_of(model)
    table = table_of(tmp_path, video, half=True)
    index = index_of(table, scoring)
    for top, split in ((1, None), (10, "test"), (200, None)):
        found, expected = both(index, table, text, scoring, top=top, split=split)
        assert found == expected and found.videos == expected.videos
        assert top > 10 or found.scored < found.videos / 2
    only = pa.array([f"v{row:05d}" for row in range(0, 190, 7)] + ["elsewhere"])
    found, expected = both(index, table, text, scoring, top=5, only=only)
    assert found == expected and set(dict(found.best)) <= set(only.to_pylist())


def test_windows_are_searched_as_videos_are(tmp_path, monkeypatch):
    monkeypatch.setattr(bounded, "_FIRST", 4)
    model = made("ts2net", seed=0)
    text, video = drawn(model, "near", videos=150)
    scoring = scoring_of(model)
    table = table_of(tmp_path, video, half=True, name="windows")
    index = BoundedIndex.of(table, scoring=scoring, bound=scoring.bound, table="windows")
    only = pa.array([f"v{row:05d}" for row in range(0, 30, 2)])
    for options in ({"top": 4}, {"top": 2, "split": "test", "only": only}):
        found = index.best(text.columns(), **options)
        expected = best_videos(
            text.columns(), embeddings=table, scoring=scoring, table="windows", **options
        )
        assert found == expected and found.scored < found.videos == expected.videos


@pytest.mark.parametrize("name", ["xpool_heads", "ts2net", "ucofia", "xclip"])
def test_several_queries_are_each_answered_as_alone(name, tmp_path, monkeypatch):
    monkeypatch.setattr(bounded, "_FIRST", 8)
    monkeypatch.setattr(bounded, "_TOGETHER", 3)
    model = made(name, seed=0)
    texts, videos = zip(*(drawn(model, "near", videos=90, seed=s) for s in range(4)), strict=True)
    scoring = scoring_of(model)
    table = table_of(tmp_path, videos[0], half=True)
    index, queries = index_of(table, scoring), [text.columns() for text in texts]
    found = [best(top=6, split="test") for best in index.each(queries)]
    alone = [index.best(query, top=6, split="test") for query in queries]
    assert [(one, one.scored) for one in found] == [(one, one.scored) for one in alone]
    searcher = Searcher(table, corpus=table)
    monkeypatch.setattr(searcher, "_answers", lambda ranking, unit: ranking)
    assert found == searcher.best(queries, scoring=scoring, top=6, split="test")
    for text, one in zip(texts, found, strict=True):
        _, expected = both(index, table, text, scoring, top=6, split="test")
        assert one == expected


@pytest.mark.parametrize("name", ["ts2net", "xclip"])
def test_a_short_list_counts_all_that_could_be_missing(name, tmp_path, monkeypatch):
    monkeypatch.setattr(bounded, "_FIRST", 8)
    model = made(name, seed=0)
    text, video = drawn(model, "near", videos=120)
    scoring = scoring_of(model)
    table = table_of(tmp_path, video, half=True)
    index = index_of(table, scoring)
    query = text.columns()
    expected = dict(index.best(query, top=10).best)
    missed, exact = 0, 0
    for at_most in (1, 10, 14, 20, 40, 120):
        found = index.best(query, top=10, at_most=at_most)
        missing = set(expected) - set(dict(found.best))
        assert found.undecided >= len(missing) and found.scored <= max(10, at_most)
        assert found.undecided or dict(found.best) == expected
        missed, exact = missed + len(missing), exact + (found.undecided == 0)
    assert missed and exact  # both happened


@pytest.mark.parametrize("kind", ["zeros", "long"])
@pytest.mark.parametrize("name", FAMILIES)
def test_the_same_where_nothing_can_be_proven(name, kind, tmp_path, monkeypatch):
    monkeypatch.setattr(tables, "check_finite", lambda table: None)  # a store of before
    model = made(name, seed=3, spread=1.0, scale=20.0)
    text, video = drawn(model, kind, videos=70)
    video.tensors["frames"][5, 0, 0] = torch.nan
    table, scoring = table_of(tmp_path, video), scoring_of(model)
    found, expected = both(index_of(table, scoring), table, text, scoring, top=8)
    assert found == expected and found.not_finite >= 1


@pytest.mark.parametrize("videos", [0, 1, 3])
def test_fewer_videos_than_are_asked_for(videos, tmp_path):
    model = made("ts2net", seed=0)
    text, video = drawn(model, "near", videos=3)
    table = table_of(tmp_path, video.index(torch.arange(videos)), parts=1)
    scoring = scoring_of(model)
    found, expected = both(index_of(table, scoring), table, text, scoring, top=10)
    assert found == expected and len(found.best) == found.scored == videos
