"""Own videos that come, change, move and go: each costs its own work and nothing else."""

import shutil

import pytest
import torch

from reelvec.configs import PipelineConfig
from reelvec.configs.schema import SyntheticCorpus
from reelvec.storage.corpora import open_corpus
from reelvec.storage.tables import read_table
from reelvec.tasks.artifacts import Session
from reelvec.tasks.corpus.ingest import read_corpus
from reelvec.tasks.corpus.ledger import counts, failures, ledger
from reelvec.tasks.searching.search import best_videos
from reelvec.tasks.searching.vectors import VectorIndex
from tests.support.engine_free import run_all, run_extract, run_ingest


@pytest.fixture(scope="module")
def clips(tmp_path_factory):
    """Six real video files, and the captions they were drawn from."""
    config = SyntheticCorpus(videos=6, seconds=1.0, fps=4, size=64)
    listing = open_corpus(config, store_dir=tmp_path_factory.mktemp("source")).read()
    return [video.path for video in listing.videos]


@pytest.fixture
def videos(tmp_path, clips):
    """A folder with four of them: a, b, c, d."""
    folder = tmp_path / "videos"
    folder.mkdir()
    for name, clip in zip("abcd", clips, strict=False):
        shutil.copy(clip, folder / f"{name}.mp4")
    return folder


def config_of(videos, tmp_path, **more):
    return PipelineConfig.model_validate(
        {
            "store": str(tmp_path / "store"),
            "corpus": {"kind": "folder", "videos": str(videos)},
            "extract": {"size": 64, "shard_videos": 3, "sampling": {"rate": 4.0}},
            "model": {"family": "frozen", "max_frames": 4},
            "train": {"epochs": 0},
            "embed": {"shard_rows": 3},
            **more,
        }
    )


def rows(snapshot):
    table = read_table(snapshot, "videos")
    return {row["video_id"]: row for row in table.to_pylist()}


def test_a_second_run_does_nothing(videos, tmp_path):
    config = config_of(videos, tmp_path)
    _, first = run_all(config)
    plans, second = run_all(config)
    assert (plans["ingest"].shards, plans["extract"].shards, plans["embed"].shards) == ([], [], [])
    assert second.number == first.number
    assert set(rows(second)) == {"a", "b", "c", "d"}


def test_one_clip_added_is_one_clips_work(videos, tmp_path, clips):
    config = config_of(videos, tmp_path)
    _, before = run_all(config)
    shutil.copy(clips[4], videos / "e.mp4")
    plans, after = run_all(config)
    assert plans["ingest"].new == plans["extract"].clips == plans["embed"].new == 1
    assert rows(after) == rows(before) | {"e": rows(after)["e"]}
    kept = {entry.checksum for entry in before.entries}
    assert kept <= {entry.checksum for entry in after.entries}, "growth rewrote a part"


def test_a_replaced_clip_is_recomputed(videos, tmp_path, clips):
    config = config_of(videos, tmp_path)
    _, before = run_all(config)
    shutil.copy(clips[5], videos / "b.mp4")
    plans, after = run_all(config)
    assert plans["ingest"].changed == ["b"]
    assert plans["extract"].clips == 1
    assert plans["embed"].stale == ["b"]
    changed, old = rows(after), rows(before)
    assert changed["b"]["embedding"] != old["b"]["embedding"]
    assert {k: v for k, v in changed.items() if k != "b"} == {
        k: v for k, v in old.items() if k != "b"
    }


def test_a_renamed_clip_is_neither_decoded_nor_encoded(videos, tmp_path, monkeypatch):
    config = config_of(videos, tmp_path)
    _, before = run_all(config)
    (videos / "b.mp4").rename(videos / "z.mp4")
    monkeypatch.setattr(
        "reelvec.tasks.embedding.parts.encode_videos", None
    )  # would raise if called
    plans, after = run_all(config)
    assert plans["extract"].clips == 0
    assert (plans["embed"].copied, plans["embed"].orphaned) == (1, ["b"])
    assert rows(after)["z"] == rows(before)["b"] | {"video_id": "z"}


def test_a_removed_clip_leaves_the_table(videos, tmp_path):
    config = config_of(videos, tmp_path)
    run_all(config)
    (videos / "c.mp4").unlink()
    plans, after = run_all(config)
    assert (plans["ingest"].removed, plans["embed"].orphaned) == (["c"], ["c"])
    assert set(rows(after)) == {"a", "b", "d"}


def test_equal_bytes_are_decoded_once(videos, tmp_path):
    shutil.copy(videos / "a.mp4", videos / "twin.mp4")
    plans, after = run_all(config_of(videos, tmp_path))
    assert plans["extract"].clips == 4
    assert rows(after)["twin"]["embedding"] == rows(after)["a"]["embedding"]


def test_bad_files_are_typed_rows_and_counts_reconcile(videos, tmp_path, clips):
    (videos / "text.mp4").write_text("this is no video")
    (videos / "empty.mp4").write_bytes(b"")
    whole = (videos / "a.mp4").read_bytes()
    (videos / "cut.mp4").write_bytes(whole[: len(whole) * 6 // 10])
    captions = tmp_path / "captions.csv"
    names = ["a", "b", "c", "d", "text", "empty", "cut", "gone"]
    lines = [f"{name},{name}.mp4,caption of {name}" for name in names]
    captions.write_text("\n".join(["video_id,path,caption", *lines]))
    corpus = {"kind": "folder", "videos": str(videos), "captions": str(captions)}
    config = config_of(videos, tmp_path, corpus=corpus)
    _, snapshot = run_all(config)
    corpus = read_corpus(Session(config))
    _, frames = run_extract(config)
    outcome = list(ledger(corpus, frames=frames))
    found = {row.video_id: row.reason for row in failures(outcome)}
    assert found.keys() == {"text", "empty", "cut", "gone"}
    assert (found["text"], found["empty"], found["gone"]) == ("unreadable", "empty", "missing")
    assert counts(outcome).to_json() == {
        "planned": 8, "ok": 4, "salvaged": 0, "quarantined": 4, "pending": 0,
    }  # fmt: skip
    total = snapshot.counts("videos")
    assert (total.planned, total.ok, total.quarantined) == (8, 4, 4)
    assert set(rows(snapshot)) == {"a", "b", "c", "d"}


def test_a_file_that_appears_later_is_taken(videos, tmp_path, clips):
    captions = tmp_path / "captions.csv"
    captions.write_text("video_id,path,caption\na,a.mp4,x\nlate,late.mp4,y")
    corpus = {"kind": "folder", "videos": str(videos), "captions": str(captions)}
    config = config_of(videos, tmp_path, corpus=corpus)
    run_all(config)
    shutil.copy(clips[4], videos / "late.mp4")
    plans, after = run_all(config)
    assert plans["ingest"].changed == ["late"]
    assert "late" in rows(after)


def test_a_failed_clip_is_tried_again_when_asked(videos, tmp_path):
    whole = (videos / "a.mp4").read_bytes()
    (videos / "cut.mp4").write_bytes(whole[: len(whole) * 6 // 10])
    config = config_of(videos, tmp_path)
    run_ingest(config)
    run_extract(config)
    quarantined_at_extract = [
        row
        for row in ledger(read_corpus(Session(config)), frames=run_extract(config)[1])
        if row.status == "quarantined" and row.stage == "extract"
    ]
    plan, snapshot = run_extract(config, retry=lambda outcome: outcome.reason == "truncated")
    assert plan.clips == len(quarantined_at_extract)
    for row in quarantined_at_extract:
        assert snapshot.live("frames")[row.clip_key].attempts == 2


def test_an_interrupted_extract_adopts_what_was_committed(videos, tmp_path):
    from reelvec.tasks.frames import extract

    config = config_of(videos, tmp_path)
    run_ingest(config)
    plan = extract.plan_extract(Session(config))
    assert len(plan.shards) == 2
    extract.extract_shard(plan.target, plan.shards[1], extract=config.extract)  # then: kill -9
    resumed, snapshot = run_extract(config)
    assert [shard.name for shard in resumed.shards] == [plan.shards[0].name]
    assert snapshot.counts("frames").ok == 4


def test_tables_grown_in_steps_are_those_of_one_run_to_the_last_bit(videos, clips, tmp_path):
    """Whatever stood beside a row when it was encoded, and in whatever order rows came."""
    model = {"family": "clip4clip", "options": {"sim_header": "seqTransf"}, "max_frames": 3}
    grown = config_of(
        videos, tmp_path / "grown", model=model, embed={"shard_rows": 2, "batch_size": 1}
    )
    for name in ("d", "b"):
        (videos / f"{name}.mp4").rename(tmp_path / f"{name}.mp4")
    run_all(grown)
    (tmp_path / "b.mp4").rename(videos / "b.mp4")
    run_all(grown)
    (tmp_path / "d.mp4").rename(videos / "d.mp4")
    shutil.copy(clips[4], videos / "aa.mp4")
    shutil.copy(clips[0], videos / "copy.mp4")  # of a
    _, by_steps = run_all(grown)
    _, at_once = run_all(config_of(videos, tmp_path / "clean", model=model))
    found, expected = rows(by_steps), rows(at_once)
    assert list(found) != list(expected) and len(found) == 6
    assert all(found[name] == expected[name] for name in expected)
    query = {"embedding": torch.tensor([expected["c"]["embedding"]])}
    answers = [best_videos(query, embeddings=tables, top=6) for tables in (by_steps, at_once)]
    assert answers[0] == answers[1]
    vectors = query["embedding"].numpy()
    assert [VectorIndex.of(t).best(vectors, top=6)[0] for t in (by_steps, at_once)] == answers
    names, scores = zip(*answers[0].best, strict=True)
    assert scores[names.index("a")] == scores[names.index("copy")]
