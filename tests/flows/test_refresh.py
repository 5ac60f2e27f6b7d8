"""Keeping the tables of every run true: each by itself, and the failure of one stops no other."""

import os
import shutil
from dataclasses import replace

import pytest

import reelvec
from reelvec.flows.refresh import (
    Reembedded,
    RefreshFailedError,
    RefreshOptions,
    check_refreshed,
    chosen_runs,
    refresh,
)
from reelvec.storage.errors import MissingArtifactError
from reelvec.storage.roots import open_root
from reelvec.storage.runs import find_run, list_runs, write_run
from reelvec.tasks.artifacts import Session
from reelvec.tasks.runs.listing import drop
from reelvec.tasks.runs.outcome import summary_of
from reelvec.tasks.runs.receipts import StageReceipt
from tests.drills.bitflips import config_of, draw
from tests.support.named_runs import named, run_named


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Runs alpha and beta over the same three videos, and a fourth that is not listed yet."""
    folder = tmp_path_factory.mktemp("two")
    videos, write = draw(folder, videos=4)
    write(videos[:3])
    base = config_of(folder, folder / "store")
    run_named(named(base, "alpha"))
    run_named(named(base, "beta", max_frames=1))
    write(videos)
    return folder / "store"


@pytest.fixture
def store(made, tmp_path):
    return str(shutil.copytree(made, tmp_path / "copy", copy_function=os.link))


def run(session, stages):
    """As the pipeline does it, without an engine."""
    snapshots = run_named(session.config, refreshes=session.refreshes)
    receipts = [
        StageReceipt.of(name, found, done={"new": 1}, seconds=0.0)
        for name, found in snapshots.items()
        if name in stages
    ]
    return summary_of(Session(session.config), receipts)


def refreshed(store, *names, lines=None, **options):
    due = chosen_runs(store, names)
    say = [].append if lines is None else lines.append
    done = [refresh(one, options=RefreshOptions(**options), run=run, say=say) for one in due]
    return Reembedded(runs=tuple(done))


def rows(store):
    opened = reelvec.open(store)
    return {name: len(opened.run(name).videos) for name in ("alpha", "beta")}


def test_every_run_is_kept_true_and_the_last_one_stays_the_last(store):
    lines = []
    would = refreshed(store, lines=lines, dry_run=True)
    assert [run.words for run in would.runs] == [
        "due: 1 new videos, 1 new, changed or removed captions"
    ] * 2
    assert lines[0] == "alpha: ingest: 1 new videos" and not would.changed
    assert rows(store) == {"alpha": 3, "beta": 3}
    done = check_refreshed(refreshed(store))
    assert [(run.name, run.changed) for run in done.runs] == [("alpha", True), ("beta", True)]
    assert rows(store) == {"alpha": 4, "beta": 4}
    root = open_root(store)
    assert [run.name for run in list_runs(root)] == ["alpha", "alpha", "beta", "beta"]
    assert (find_run(root).name, find_run(root).status) == ("beta", "refreshed")
    assert "checkpoint" in find_run(root, "alpha").artifacts
    again = refreshed(store)
    assert [run.words for run in again.runs] == ["up to date"] * 2
    assert len(list_runs(root)) == 4


def test_only_the_runs_that_are_named(store):
    assert refreshed(store, "alpha", "alpha").changed
    assert rows(store) == {"alpha": 4, "beta": 3}
    with pytest.raises(MissingArtifactError, match=r"called \(gamma\) .* alpha, beta"):
        chosen_runs(store, ["beta", "gamma"])
    drop(store, "alpha")
    assert [due.name for due in chosen_runs(store)] == ["beta"]
    drop(store, "beta")
    with pytest.raises(MissingArtifactError, match="dropped"):
        chosen_runs(store)


def test_a_run_that_fails_stops_no_other_and_is_named_at_the_end(store, monkeypatch):
    def fails_once(session, stages):
        if session.config.name == "alpha":
            raise KeyError("a defect")
        return run(session, stages)

    due = chosen_runs(store)
    lines = []
    done = [refresh(one, options=RefreshOptions(), run=fails_once, say=lines.append) for one in due]
    assert rows(store) == {"alpha": 3, "beta": 4}
    assert [bool(one.error) for one in done] == [True, False]
    assert "alpha: KeyError: 'a defect'" in lines
    with pytest.raises(RefreshFailedError, match=r"1 of 2 runs .*: \(alpha\) KeyError"):
        check_refreshed(Reembedded(runs=tuple(done)))


def test_a_run_that_was_never_scored_is_not_scored_at_night(store):
    _, beta = chosen_runs(store)
    assert beta.stages == ("ingest", "extract", "audio", "embed", "evaluate", "report")
    root = open_root(store)

    record = find_run(root, "alpha")
    artifacts = {k: v for k, v in record.artifacts.items() if k != "evaluation"}
    write_run(root, replace(record, name="embed clips", identifier="", artifacts=artifacts))
    found = {due.name: due.stages for due in chosen_runs(store)}
    assert found["embed clips"] == ("ingest", "extract", "audio", "embed")
