"""Ids and paths that try to leave the store, or to be taken for one another: text, all the way."""

import json
import os
import re
import shutil
import unicodedata
from pathlib import Path

import pytest
import torch

from reelvec.configs import PipelineConfig
from reelvec.configs.schema import SyntheticCorpus
from reelvec.storage.corpora import open_corpus
from reelvec.storage.roots import open_root
from reelvec.storage.tables import read_table
from reelvec.storage.upkeep.verify import verify_store
from reelvec.tasks.artifacts import Session
from reelvec.tasks.corpus.ingest import read_corpus
from reelvec.tasks.scoring.logits import dot_product
from reelvec.tasks.searching.searcher import Searcher
from tests.support.engine_free import run_all, run_ingest

CAFE = unicodedata.normalize("NFC", "café")
IDS = [
    "../../escape",
    "/etc/passwd",
    "..",
    ".",
    "a/../b",
    "~root",
    "$(touch escaped)",
    "`touch escaped`",
    "; rm -rf .",
    "--help",
    "C:\\Windows\\x",
    "CON",
    "line\nbreak",
    "tab\tand 'quote' \"quotes\"",
    "%s%n{0}{x}",
    "x" * 300,
    CAFE,
    unicodedata.normalize("NFD", CAFE),
    "Twin",
    "twin",
    "\u202eevil\u202c",
    "file:///etc/passwd",
    "http://127.0.0.1:9/x.mp4",
    "\U0001f600",
    "__proto__",
    "null",
    "0123",
    " space ",
]
FILES = [
    "$(touch escaped).mp4",
    "-y.mp4",
    "concat:a|b.mp4",
    "line\nbreak.mp4",
    "'q' \"q\".mp4",
    f"{CAFE}.mp4",
    f"{unicodedata.normalize('NFD', CAFE)}.mp4",
    "Twin.mp4",
    "twin.mp4",
    "%d.mp4",
    "n" * 250 + ".mp4",
    "http:host.mp4",
]


@pytest.fixture(scope="module")
def clips(tmp_path_factory):
    """As many different clips as there are names of files."""
    config = SyntheticCorpus(videos=len(FILES), seconds=0.5, fps=4, size=64)
    listing = open_corpus(config, store_dir=tmp_path_factory.mktemp("drawn")).read()
    return [video.path for video in listing.videos]


def config_of(tmp_path, **corpus):
    return PipelineConfig.model_validate(
        {
            "store": str(tmp_path / "store"),
            "corpus": {"kind": "folder", "videos": str(tmp_path / "videos"), **corpus},
            "extract": {"size": 64, "shard_videos": 16, "sampling": {"rate": 4.0}},
            "model": {"family": "frozen", "max_frames": 2},
            "train": {"epochs": 0},
        }
    )


def found_by_its_own_vector(config, snapshot):
    """video_id -> (best video_id, its path) for every row of the table."""
    corpus = read_corpus(Session(config)).ref.open()
    searcher, answers = Searcher(snapshot, corpus=corpus), {}
    for row in read_table(snapshot, "videos").to_pylist():
        query = {"embedding": torch.tensor([row["embedding"]], dtype=torch.float32)}
        best = searcher.best([query], scoring=dot_product(), top=1)[0].rows[0]
        json.dumps(best.as_dict())
        answers[row["video_id"]] = (best.video_id, best.path)
    return answers


def check_store(tmp_path, beside):
    """Only names of ours in the store, nothing new beside it, and it verifies."""
    assert {path.name for path in tmp_path.iterdir()} == beside | {"store"}
    names = [str(p.relative_to(tmp_path / "store")) for p in (tmp_path / "store").rglob("*")]
    assert [name for name in names if not re.fullmatch(r"[A-Za-z0-9_./-]+", name)] == []
    assert verify_store(open_root(tmp_path / "store")) == []


def test_hostile_ids_round_trip(tmp_path, clips, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "videos").mkdir()
    paths = {}
    for number, video_id in enumerate(IDS):
        paths[video_id] = tmp_path / "videos" / f"{number}.mp4"
        shutil.copy(clips[number % len(clips)], paths[video_id])
        with paths[video_id].open("ab") as stream:  # the same frames, other bytes
            stream.write(b"\0\0\0\x08free" * number)
    captions = tmp_path / "captions.jsonl"
    captions.write_text(
        "\n".join(
            json.dumps({"video_id": name, "path": path.name, "caption": f"caption of {name}"})
            for name, path in paths.items()
        )
    )
    config = config_of(tmp_path, captions=str(captions))
    _, snapshot = run_all(config)
    listed = {video.video_id: video for video in read_corpus(Session(config)).videos}
    assert {name: video.path for name, video in listed.items()} == {
        name: str(path) for name, path in paths.items()
    }
    assert snapshot.counts("videos").ok == len(IDS)
    table = read_table(snapshot, "captions").to_pylist()
    assert {row["video_id"]: row["text"] for row in table} == {
        name: f"caption of {name}" for name in IDS
    }
    answers = found_by_its_own_vector(config, snapshot)
    assert set(answers) == set(IDS)
    for name, (best, path) in answers.items():  # clips that show the same score the same
        assert IDS.index(best) % len(clips) == IDS.index(name) % len(clips)
        assert path == str(paths[best])
    check_store(tmp_path, {"videos", "captions.jsonl"})
    plans, _ = run_all(config)
    assert (plans["ingest"].shards, plans["extract"].shards, plans["embed"].shards) == ([], [], [])


def test_hostile_names_of_files_round_trip(tmp_path, clips, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "videos").mkdir()
    for name, clip in zip(FILES, clips, strict=True):
        shutil.copy(clip, tmp_path / "videos" / name)
    config = config_of(tmp_path)
    _, snapshot = run_all(config)
    answers = found_by_its_own_vector(config, snapshot)
    assert {name: Path(path).name for name, path in answers.values()} == {
        name.removesuffix(".mp4"): name for name in FILES
    }
    assert all(name == best for name, (best, _) in answers.items())
    check_store(tmp_path, {"videos"})


@pytest.mark.parametrize("row", [{"video_id": "a\0b"}, {"video_id": "a", "path": "a\0.mp4"}])
def test_a_zero_byte_costs_its_row_and_is_told_with_its_line(tmp_path, clips, row):
    (tmp_path / "videos").mkdir()
    shutil.copy(clips[0], tmp_path / "videos" / "a.mp4")
    captions = tmp_path / "captions.jsonl"
    captions.write_text(json.dumps({"video_id": "a", "caption": "x"}) + "\n" + json.dumps(row))
    config = config_of(tmp_path, captions=str(captions))
    plan, _ = run_ingest(config)
    (note,) = [note for note in plan.notes if "zero byte" in note]
    assert f"{captions}, line 2" in note
    assert [video.video_id for video in read_corpus(Session(config)).videos] == ["a"]


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("../outside.mp4", "ok"),
        ("/dev/zero", "unreadable"),
        ("/dev/stdin", "unreadable"),
        ("pipe.mp4", "unreadable"),
        ("x" * 300 + ".mp4", "missing"),
        ("http://127.0.0.1:9/x.mp4", "missing"),
    ],
)
def test_paths_that_are_no_files_of_the_folder(tmp_path, clips, path, reason):
    """A person's own list may name files elsewhere; what is no regular file is a ledger row."""
    (tmp_path / "videos").mkdir()
    shutil.copy(clips[0], tmp_path / "videos" / "a.mp4")
    shutil.copy(clips[1], tmp_path / "outside.mp4")
    os.mkfifo(tmp_path / "videos" / "pipe.mp4")
    captions = tmp_path / "captions.jsonl"
    captions.write_text(json.dumps({"video_id": "v", "path": path, "caption": "x"}))
    config = config_of(tmp_path, captions=str(captions))
    run_ingest(config)
    found = {video.video_id: video for video in read_corpus(Session(config)).videos}
    assert (found["v"].reason or found["v"].status) == reason
    assert found["a"].status == "ok"
