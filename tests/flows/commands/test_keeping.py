"""Words over a store as a person types them: a wrong path, a lost table, a shortened identity."""

import dataclasses
import errno
import json
import os
import shutil
from datetime import UTC, datetime
from pathlib import Path

import pytest

from reelvec.flows.launch import launch
from reelvec.storage import layout
from reelvec.storage.commits.artifact import Artifact
from reelvec.storage.places.failures import explained
from reelvec.storage.places.local import LocalRoot
from reelvec.storage.roots import open_root
from reelvec.storage.runs import latest_run, write_run
from reelvec.storage.store_format import FORMAT, PLAIN
from reelvec.tasks.artifacts import Session
from reelvec.tasks.runs.recording import record_run
from tests.drills.bitflips import config_of, draw, files_of, flip
from tests.support import s3_server
from tests.support.command_line import typed
from tests.support.engine_free import run_extract, run_ingest, stage_receipts

_STAGES = {"corpus": "ingest", "frames": "extract"}
WORDS = ["verify", "repair", "gc", "compact", "status", "failures"]


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A store after one run of two stages: five good videos in two parts of frames."""
    folder = tmp_path_factory.mktemp("keeping")
    videos, write_captions = draw(folder, videos=5)
    write_captions(videos)
    config = config_of(folder, folder / "store")
    run_ingest(config)
    run_extract(config)
    artifacts = Artifact.all(open_root(config.store))
    made = {_STAGES[artifact.kind]: artifact.latest() for artifact in artifacts}
    record_run(Session(config), stage_receipts(made), started=datetime.now(UTC))
    Artifact.open(open_root(config.store), kind="evaluation", identity={"planned": "only"})
    return config


@pytest.fixture
def store(made, tmp_path):
    return shutil.copytree(made.store, tmp_path / "copy")


@pytest.fixture
def reelvec(monkeypatch, capsys):
    def call(*words):
        return typed(monkeypatch, capsys, *words)

    return call


@pytest.mark.parametrize("word", WORDS)
@pytest.mark.parametrize("as_json", [[], ["--json"]])
def test_a_mistyped_store_is_refused(reelvec, tmp_path, word, as_json):
    (tmp_path / "file.csv").write_text("video_id,path\n")
    (tmp_path / "ordinary" / "runs" / "frames").mkdir(parents=True)
    (tmp_path / "ordinary" / "frames" / "0001.jpg").mkdir(parents=True)
    for name, why in (("nowhere", "no such"), ("file.csv", "a file"), ("ordinary", "none")):
        place = tmp_path / name
        code, out, err = reelvec(word, "--store", place, *as_json)
        assert (code, out) == (2, "")
        assert f"no store at ({place})" in err and why in err and "--store" in err
        assert err.count("\n") == 1
    assert not (tmp_path / "nowhere").exists()


def test_a_store_just_begun_is_one(reelvec, tmp_path):
    open_root(tmp_path / "begun").new_scratch()
    for word in ("verify", "repair", "gc", "status"):
        assert reelvec(word, "--store", tmp_path / "begun")[0] == 0
    without_scratch = tmp_path / "copied"
    Artifact.open(open_root(without_scratch), kind="frames", identity={"a": 1})
    shutil.rmtree(without_scratch / ".scratch")
    assert reelvec("verify", "--store", without_scratch)[0] == 0


def test_a_whole_store_is_whole(reelvec, store):
    assert reelvec("verify", "--store", store)[0] == 0
    code, out, _ = reelvec("repair", "--store", store)
    assert (code, "nothing is damaged" in out) == (0, True)


def test_what_the_last_run_made_and_is_gone_is_found(reelvec, store):
    (lost,) = (store / "frames").iterdir()
    shutil.rmtree(lost)
    code, out, _ = reelvec("verify", "--store", store, "--json")
    (damage,) = json.loads(out)["damage"]
    assert (code, damage["kind"], damage["identity"]) == (4, "frames", lost.name)
    assert "missing" in damage["what"] and damage["path"].endswith("snapshots/00000001.json")
    code, out, _ = reelvec("repair", "--store", store)
    assert code == 4 and "nothing is damaged" not in out
    assert damage["path"] in out and "give its command once more" in out


def test_a_record_of_what_is_gone_is_not_up_to_date(made, store, monkeypatch):
    """Else a run with nothing to do would leave the record that names what is gone in force."""
    config = made.model_copy(update={"store": str(store)})
    ran = []
    monkeypatch.setattr("reelvec.flows.alone.run_alone", lambda *_, **__: ran.append(1) or {})
    assert launch(config, stages=["ingest", "extract"]).changed is False
    root = open_root(store)
    last = latest_run(root)
    named = {kind: (found, number + 1) for kind, (found, number) in last.artifacts.items()}
    write_run(root, dataclasses.replace(last, artifacts=named, identifier="later"))
    launch(config, stages=["ingest", "extract"])
    assert ran == [1]


def test_an_object_store_is_asked_for_a_list(reelvec, tmp_path, monkeypatch):
    pytest.importorskip("s3fs", reason="the extra s3 is not installed")
    pytest.importorskip("moto.server", reason="moto's server is not installed")
    monkeypatch.setenv("REELVEC_CACHE", str(tmp_path / "cache"))
    with s3_server.s3_server() as url:
        for name, value in s3_server.environment(url).items():
            monkeypatch.setenv(name, value)
        s3_server.make_bucket(url)
        there, typo = (f"s3://{s3_server.BUCKET}/{name}" for name in ("store", "stroe"))
        Artifact.open(open_root(there), kind="frames", identity={"a": 1})
        assert reelvec("verify", "--store", there)[0] == 0
        code, out, err = reelvec("verify", "--store", typo, "--json")
        assert (code, out) == (2, "") and f"no store at ({typo})" in err


@pytest.mark.parametrize("command", ["status", "failures", "verify", "gc", "search"])
def test_a_disk_that_fails_is_no_wrong_call(reelvec, store, monkeypatch, command):
    def fail(self, path):
        with explained("read", path=self.local_folder / path):
            raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(LocalRoot, "exists", fail)
    words = ["a circle"] if command == "search" else []
    code, _, err = reelvec(command, *words, "--store", store)
    assert code == 1 and "the disk, or the network it is on, failed" in err


def test_damage_names_the_videos(reelvec, made, store):
    damaged = files_of(store)["frames part"][0]
    flip(damaged, 4321)
    code, out, _ = reelvec("verify", "--store", store, "--json")
    (damage,) = json.loads(out)["damage"]
    names = {path.stem for path in Path(made.corpus.videos).iterdir()}
    assert code == 4 and 0 < len(damage["videos"]) == len(damage["keys"]) < 5
    assert set(damage["videos"]) < names
    _, out, _ = reelvec("verify", "--store", store)
    assert all(video in out for video in damage["videos"])
    assert not any(key in out for key in damage["keys"])


def test_status_leaves_out_what_holds_nothing(reelvec, store):
    _, out, _ = reelvec("status", "--store", store)
    made, _, disk = out.partition("On disk")
    assert "frames" in made and "evaluation" not in made and "evaluation" in disk
    _, out, _ = reelvec("status", "--store", store, "--json")
    found = {artifact["kind"]: artifact["snapshot"] for artifact in json.loads(out)["artifacts"]}
    assert found == {"corpus": 1, "frames": 1, "evaluation": 0}


def test_convert_takes_the_digits_status_shows(reelvec, store):
    (source,) = [path.name for path in (store / "frames").iterdir()]
    words = ("convert", "--store", store, "--to", "hdf5", "--identity")
    for bad, why in (("12345", "6 or more"), ("xyzxyz", "6 or more"), ("000000", source)):
        code, out, err = reelvec(*words, bad)
        assert (code, out) == (1, "") and f"({bad})" in err and why in err
    code, out, _ = reelvec(*words, source[:12], "--json")
    assert (code, json.loads(out)["source"]) == (0, source)


@pytest.mark.parametrize(
    ("words", "settings"),
    [
        (["hdf5"], "with extract.format=hdf5\n"),
        (["arrow", "--payload", "jpeg"], "with extract.format=arrow, extract.payload=jpeg\n"),
    ],
)
def test_convert_says_what_a_run_must_be_given(reelvec, store, words, settings):
    code, out, _ = reelvec("convert", "--store", store, "--to", *words)
    assert code == 0 and out.endswith(settings)


def test_a_run_says_where_no_store_can_be(reelvec, tmp_path, monkeypatch):
    monkeypatch.setattr(
        "reelvec.flows.pipeline.pipeline", None
    )  # said before any work: nobody calls it
    file = tmp_path / "captions.csv"
    file.write_text("")
    code, _, err = reelvec("run", "demo", "--store", file)
    assert code == 2 and f"({file}): it is a file, not a folder" in err
    code, _, err = reelvec("run", "demo", "--store", file / "below")
    assert code == 1 and f"cannot make the store at {file / 'below'}" in err
    assert "was it removed" not in err and file.read_text() == ""


@pytest.mark.parametrize(
    "words",
    [*([word] for word in WORDS), ["convert", "--to", "hdf5"], ["search", "a cat"], ["retry"],
     ["evaluate"], ["run", "demo"]],
)  # fmt: skip
def test_a_store_of_a_newer_format_is_refused_by_every_word(reelvec, store, words):
    open_root(store).put_new(layout.store_format(FORMAT + 1), b"of another day")
    before = sorted(store.rglob("*"))
    code, out, err = reelvec(*words, "--store", store)
    assert (code, out) == (1, "")
    assert f"{store} is of format {FORMAT + 1}" in err and "pip install --upgrade" in err
    assert sorted(store.rglob("*")) == before


def test_status_tells_the_format(reelvec, store):
    _, out, _ = reelvec("status", "--store", store, "--json")
    assert json.loads(out)["format"] == PLAIN


def test_compact_merges_what_it_said_it_would(reelvec, store):
    (frames,) = [path.name for path in (store / "frames").iterdir()]
    words = ("compact", "--store", store, "--kind", "frames", "--identity", frames[:8])
    code, out, _ = reelvec(*words, "--dry-run", "--json")
    planned = json.loads(out)
    code, out, _ = reelvec(*words, "--json")
    done = json.loads(out)
    assert (code, planned["dry_run"], done["dry_run"]) == (0, True, False)
    (one,), (other,) = planned["compacted"], done["compacted"]
    assert one | {"snapshot": 2} == other
    assert (one["snapshot"], one["identity"], one["parts_before"], one["parts_after"]) == (
        1, frames, 2, 1,
    )  # fmt: skip
    assert "no small parts" in reelvec(*words)[1]
    assert reelvec("verify", "--store", store)[0] == 0


def test_a_video_is_forgotten_as_its_plan_said(reelvec, store):
    corpus = Artifact.find(
        open_root(store), kind="corpus", fingerprint=os.listdir(store / "corpus")[0]
    )
    one = min(corpus.latest().live("videos"))
    code, out, err = reelvec("forget", one, "nobody", "--store", store)
    assert code == 1 and "has a video (nobody)" in err and not out
    code, out, _ = reelvec("forget", one, "--store", store, "--plan", "--json")
    plan = json.loads(out)
    assert (
        code == 0 and plan["dry_run"] and {g["kind"] for g in plan["gone"]} == {"corpus", "frames"}
    )
    code, out, _ = reelvec("forget", one, "--store", store, "--why", "asked")
    assert code == 0 and "1 video forgotten" in out and f"{one}.mp4" in out
    assert reelvec("verify", "--store", store)[0] == 0
    assert f"nothing is left of {one}" in reelvec("forget", one, "--store", store)[1]
    assert "1 video: asked" in reelvec("history", "--store", store, "--csv")[1]
    assert reelvec("forget", one, "--store", store, "--take-back", "--plan")[0] == 2
    code, out, _ = reelvec("forget", one, "--store", store, "--take-back")
    assert code == 0 and "takes in again" in out
