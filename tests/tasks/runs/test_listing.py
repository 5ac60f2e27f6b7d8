"""Runs by name in one store: listed, dropped, freed; what another run needs stays."""

import os
import re
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

import reelvec
from reelvec.storage import layout
from reelvec.storage.at_work import announced
from reelvec.storage.commits.artifact import Artifact
from reelvec.storage.errors import MissingArtifactError, StoreError
from reelvec.storage.places.contract import Writer
from reelvec.storage.places.local import LocalRoot
from reelvec.storage.roots import open_root
from reelvec.storage.runs import find_run, list_runs, write_run
from reelvec.storage.upkeep.verify import verify_store
from reelvec.tasks.runs.disk import disk_use
from reelvec.tasks.runs.holdings import Holdings
from reelvec.tasks.runs.listing import drop, list_names
from reelvec.tasks.upkeep.collect import collect_store
from tests.drills.bitflips import config_of, draw
from tests.support.named_runs import named, run_named


@pytest.fixture(scope="module")
def two(tmp_path_factory):
    """Two runs that share corpus and frames: alpha, then beta, which sees one frame a video."""
    folder = tmp_path_factory.mktemp("two")
    videos, write = draw(folder, videos=3)
    write(videos)
    base = config_of(folder, folder / "store")
    configs = named(base, "alpha"), named(base, "beta", max_frames=1)
    return {config.name: (config, run_named(config)) for config in configs}


@pytest.fixture
def store(two, tmp_path):
    config, _ = two["alpha"]
    return str(shutil.copytree(config.store, tmp_path / "copy", copy_function=os.link))


def checksums(store, made):
    found = {}
    for stage, snapshot in made.items():
        of = snapshot.artifact
        artifact = Artifact.find(open_root(store), kind=of.kind, fingerprint=of.fingerprint)
        found[stage] = artifact.latest().checksum
    return {stage: checksum for stage, checksum in found.items() if stage != "evaluate"}


def counted_by_du(store):
    command = ["du", "-s", "--block-size=1", store]
    return int(
        subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()[0]
    )


def test_runs_are_listed_by_name(store, two):
    beta, alpha = list_names(store)
    assert (alpha.name, alpha.runs, alpha.status, alpha.in_use) == ("alpha", 1, "completed", False)
    assert (beta.name, beta.in_use) == ("beta", True)
    assert beta.has == ("videos", "frames", "model", "tables", "metrics")
    assert 0 < alpha.bytes_alone < alpha.bytes < sum(use.bytes for use in disk_use(store))
    assert alpha.run == find_run(open_root(store), "alpha").identifier
    with announced(open_root(store), "beta"), announced(open_root(store), "gamma"):
        status = {one.name: one.status for one in list_names(store)}
        assert status == {"gamma": "running", "beta": "running", "alpha": "completed"}


def test_dropping_one_frees_what_the_other_does_not_need(store, two):
    before = checksums(store, two["beta"][1])
    said = drop(store, "alpha")
    assert {kind for kind, _ in said.frees} == {"checkpoint", "embeddings", "evaluation"}
    assert {kind for kind, _ in said.shared} == {"corpus", "frames"}
    assert (said.in_use, len(said.runs)) == ("beta", 1)
    would, done = (collect_store(store, dry_run=dry) for dry in (True, False))
    assert would == done
    assert {(one.kind, one.fingerprint) for one in done.removed} == set(said.frees)
    assert 0.9 * said.bytes < done.bytes <= said.bytes
    assert verify_store(open_root(store)) == []
    assert checksums(store, two["beta"][1]) == before
    opened = reelvec.open(store)
    assert len(opened.run().search("a shape", top=3)) == 3
    assert [run.name for run in opened.runs()] == ["beta"]
    assert [run.name for run in opened.runs(dropped=True)] == ["alpha", "beta"]
    assert [one.name for one in list_names(store)] == ["beta"]
    assert [one.status for one in list_names(store, dropped=True)] == ["completed", "dropped"]
    assert collect_store(store).removed == ()


@pytest.mark.parametrize("collected", [False, True])
def test_a_dropped_run_given_again_is_a_new_run(store, two, collected):
    config, made = two["alpha"]
    config = config.model_copy(update={"store": store})
    before = checksums(store, made)
    dropped = drop(store, "alpha").runs
    if collected:
        collect_store(store)
    run_named(config)
    assert checksums(store, made) == before
    again = find_run(open_root(store), "alpha")
    assert again.identifier not in dropped and set(again.artifacts) == {
        "corpus", "frames", "checkpoint", "embeddings", "evaluation",
    }  # fmt: skip
    assert collect_store(store, hours=0.0).left == {}
    assert checksums(store, made) == before
    assert len(reelvec.open(store).run("alpha").search("a shape", top=3)) == 3
    assert verify_store(open_root(store)) == []


def test_dropping_the_last_run_that_has_tables_is_said(store):
    drop(store, "alpha")
    said = drop(store, "beta")
    assert (said.in_use, said.shared) == ("", ())
    collect_store(store)
    assert {a.latest().rows for a in Artifact.all(open_root(store))} == {0}
    with pytest.raises(MissingArtifactError, match="all were dropped"):
        reelvec.open(store).run()


def test_who_is_not_there_or_is_at_work_is_not_dropped(store):
    with pytest.raises(MissingArtifactError, match=r"called \(gamma\) .* there are: alpha, beta"):
        drop(store, "gamma")
    with announced(open_root(store), "beta"), pytest.raises(StoreError, match="is at work since"):
        drop(store, "beta")
    drop(store, "beta")
    with pytest.raises(MissingArtifactError, match=r"\(beta\) was dropped .* there are: alpha"):
        drop(store, "beta")


def test_nothing_dropped_is_freed_while_a_run_is_at_work(store, two, monkeypatch):
    drop(store, "alpha")
    with announced(open_root(store), "alpha"):
        left = collect_store(store, hours=0.0)
        ((why, paths),) = left.left.items()
        assert left.removed == () and "the run (alpha) is at work" in why
        assert [path.partition("/")[0] for path in paths] == [
            "checkpoint", "embeddings", "evaluation",
        ]  # fmt: skip
    writers = [Writer("process 7 on a machine", seconds=60.0, known=True)]
    with monkeypatch.context() as patch:
        patch.setattr(LocalRoot, "writers", lambda _: writers)
        left = collect_store(store, hours=0.0)
        assert left.removed == () and "process 7 on a machine writes here" in next(iter(left.left))
    before = {run.identifier for run in list_runs(open_root(store), dropped=True)}
    assert checksums(store, two["alpha"][1]) == checksums(two["alpha"][0].store, two["alpha"][1])
    assert collect_store(store).files > 0
    assert {run.identifier for run in list_runs(open_root(store), dropped=True)} == before


def test_a_run_that_only_scored_keeps_what_its_tables_were_made_from(store, two):
    root = open_root(store)
    (alpha,) = list_runs(root, name="alpha")
    scored = {"evaluation": alpha.artifacts["evaluation"]}
    write_run(root, replace(alpha, name="scored", identifier="", artifacts=scored))
    listed = {one.name: one.has for one in list_names(store)}
    assert listed["scored"] == listed["alpha"] == ("videos", "frames", "model", "tables", "metrics")
    assert drop(store, "alpha").frees == {}
    assert collect_store(store, hours=0.0).files == 0
    assert len(reelvec.open(store).run("scored").search("a shape", top=3)) == 3


def test_the_checkpoint_a_run_starts_from_is_needed(store):
    root = open_root(store)
    alpha, beta = (find_run(root, name) for name in ("alpha", "beta"))
    start = Artifact.find(root, kind="checkpoint", fingerprint=alpha.artifacts["checkpoint"][0])
    weights = str(start.latest().parts()[0].path)
    config = {**beta.config, "model": {**beta.config["model"], "weights": weights}}
    write_run(root, replace(beta, name="tuned", identifier="", config=config))
    holdings = Holdings(root)
    assert ("checkpoint", start.fingerprint) in holdings.of(list_runs(root, name="tuned"))
    assert {kind for kind, _ in drop(store, "alpha").frees} == {"embeddings", "evaluation"}


def test_the_table_of_the_disk_is_what_du_says(store):
    place = Path(store)
    (place / ".scratch").mkdir(exist_ok=True)
    (place / ".scratch" / "1-left.arrow").write_bytes(bytes(70_000))
    (place / "mine").mkdir()
    (place / "mine" / "notes.txt").write_text("of somebody")
    (place / "mine" / "link").symlink_to("/etc")
    os.link(place / "mine" / "notes.txt", place / "mine" / "twin.txt")
    orphan = next(place.glob("frames/*/parts/*"))
    shutil.copyfile(orphan, orphan.with_name(f"frames-x-{'0' * 16}.arrow"))
    drop(store, "alpha")
    use = {(one.kind, one.what): one for one in disk_use(store)}
    assert sum(one.bytes for one in use.values()) == counted_by_du(store)
    assert use[".scratch", "files being written, or left by a killed writer"].files == 1
    assert use["mine", "not reelvec's"].files == 2
    assert use["frames", "named by no snapshot"].files == 1
    assert use["checkpoint", "of dropped runs"].bytes > 2**20 < use["checkpoint", "in force"].bytes
    collect_store(store)
    assert ("checkpoint", "of dropped runs") not in {(u.kind, u.what) for u in disk_use(store)}
    assert sum(one.bytes for one in disk_use(store)) == counted_by_du(store)


def test_every_place_of_a_store_is_called_by_what_it_is(tmp_path):
    """The paths of the layout's table that are no artifact's."""
    places = re.findall(r"^    ([a-z.-]+)/", layout.__doc__, re.MULTILINE)
    assert {"runs", "known", ".scratch"} <= set(places)
    for name in places:
        (tmp_path / name).mkdir()
        (tmp_path / name / "file").write_text("x")
    found = {one.kind: one.what for one in disk_use(str(tmp_path))}
    assert found.keys() >= set(places) and "not reelvec's" not in found.values()
