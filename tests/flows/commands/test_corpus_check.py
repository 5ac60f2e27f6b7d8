"""`reelvec corpus check`: what is there beside what was published, and what is missing."""

import json
from pathlib import Path

import pytest
from typer import Typer
from typer.testing import CliRunner

from reelvec.configs import ConfigError
from reelvec.flows.commands import corpora
from reelvec.storage.corpora.benchmarks import published
from reelvec.storage.corpora.benchmarks.published import Published
from tests.support.corpus_layouts import LAYOUTS, Item, some_items, write_layout

app = Typer()
corpora.register(app)


def check(*words):
    """Exit code and output; an error that the command line would print is raised."""
    result = CliRunner().invoke(app, ["corpus", "check", *map(str, words)], catch_exceptions=False)
    return result.exit_code, result.stdout


def folders(layout):
    return ["--videos", layout.config.videos, "--annotations", layout.config.annotations]


@pytest.fixture
def source(tmp_path):
    file = tmp_path / "source.mp4"
    file.write_bytes(b"never opened")
    return file


@pytest.fixture
def items(source):
    return [Item(i.name, i.split, i.captions, source) for i in some_items(6)]


@pytest.mark.parametrize("kind", LAYOUTS)
def test_every_layout_is_counted(tmp_path, items, kind):
    layout = write_layout(kind, tmp_path / "corpus", items)
    code, out = check(kind, *folders(layout), "--protocol", "default", "--json")
    found = json.loads(out)
    counts = {s["split"]: (s["videos"], s["captions"]) for s in found["splits"]}
    assert counts["train"] == (4, 4) and counts["test"] == (1, 1)
    assert {s["missing_videos"] for s in found["splits"]} == {0}
    assert found["problems"] == []
    assert any("annotations" in line for line in found["obtain"])
    assert found["complete"] == (kind == "adaclip")  # six videos; adaclip's format has no counts
    assert code == (0 if found["complete"] else 1)


def test_one_root_is_as_good_as_two_folders(tmp_path, items):
    layout = write_layout("msvd", tmp_path / "corpus", items)
    code, both = check("msvd", *folders(layout), "--json")
    home = tmp_path / "home"
    home.mkdir()
    for name in ("videos", "annotations"):
        (home / name).symlink_to(getattr(layout.config, name))
    assert check("msvd", "--root", home, "--json") == (code, both)
    flat = tmp_path / "flat"
    flat.mkdir()
    for folder in (layout.config.videos, layout.config.annotations):
        for file in Path(folder).rglob("*"):
            if file.is_file():
                (flat / file.name).symlink_to(file)
    assert check("msvd", "--root", flat, "--json") == (code, both)


def test_complete_is_exit_code_0(tmp_path, items, monkeypatch):
    layout = write_layout("msvd", tmp_path / "corpus", items)
    small = {"train": Published(4, 4), "val": Published(1, 1), "test": Published(1, 1)}
    monkeypatch.setitem(published.PUBLISHED, ("msvd", "all"), small)
    code, out = check("msvd", *folders(layout))
    assert code == 0 and "complete" in out.splitlines()
    assert "obtain" not in out


def test_a_missing_video_is_incomplete(tmp_path, items, monkeypatch):
    items[0] = Item(items[0].name, "train", items[0].captions)
    layout = write_layout("adaclip", tmp_path / "corpus", items)
    code, out = check("adaclip", *folders(layout), "--json")
    missing = {(s["protocol"], s["split"]): s["missing_videos"] for s in json.loads(out)["splits"]}
    assert code == 1
    assert missing["sentences", "train"] == missing["paragraph", "train"] == 1


def test_a_person_reads_what_is_missing_and_where_it_is(tmp_path, items):
    layout = write_layout("msrvtt", tmp_path / "corpus", items, protocol="9k")
    code, out = check("msrvtt", *folders(layout))
    assert code == 1
    assert "4 of 9,000" in out and "1 of 1,000" in out
    assert "problem: " in out and "MSRVTT_train.7k.csv: no such file" in out
    assert "incomplete; where to obtain what is missing:" in out and "msrvtt_data.zip" in out
    one = check("msrvtt", *folders(layout), "--protocol", "9k")[1]
    assert "7k" not in one and "problem" not in one


def test_overlaps_are_told(tmp_path, items):
    layout = write_layout("vatex", tmp_path / "corpus", items, protocol="random1k5")
    test_list = layout.annotations / "test1k5_sec_list.txt"
    test_list.write_text((layout.annotations / "val_list.txt").read_text())
    out = check("vatex", *folders(layout))[1]
    assert "overlap: hgr val and random1k5 test share 1 videos" in out


def test_presets_and_files_name_their_corpus(tmp_path, items):
    layout = write_layout("didemo", tmp_path / "corpus", items)
    by_preset = check("xclip/didemo-vit-b-16", *folders(layout), "--json")
    assert by_preset == check("didemo", *folders(layout), "--json")
    file = tmp_path / "run.yaml"
    file.write_text(json.dumps({"corpus": layout.config.model_dump()}))
    assert check(file, "--json") == by_preset


def test_folders_are_counted(tmp_path, items, source):
    file = tmp_path / "run.yaml"
    captions = tmp_path / "captions.csv"
    captions.write_text("video_id,caption\nsource,one\nsource,two\n")
    corpus = {"kind": "folder", "videos": str(tmp_path), "captions": str(captions)}
    file.write_text(json.dumps({"corpus": corpus}))
    code, out = check(file, "--json")
    found = json.loads(out)
    assert (code, found["complete"]) == (0, True)
    assert [(s["videos"], s["captions"]) for s in found["splits"]] == [(1, 2)]
    captions.write_text("video_id,caption\nsource,one\ngone,two\n")
    code, out = check(file)
    assert code == 1 and "incomplete" in out
    captions.write_text("clip,caption\nsource,one\n")
    code, out = check(file)
    assert code == 1 and "no column names the video" in out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["msvd", "--videos", "v"], r"\(msvd\) needs --annotations"),
        (["msvd", "--annotations", "a"], r"\(msvd\) needs --videos"),
        (["msvdd"], r"no benchmark is called \(msvdd\); did you mean msvd\?"),
        (["synthetic/clip4clip"], "draws its own videos"),
        (["demo"], r"\(demo\) draws its own videos"),  # a preset, not a mistyped didemo
    ],
)
def test_a_persons_mistake_is_named(words, message):
    with pytest.raises(ConfigError, match=message):
        check(*words)
