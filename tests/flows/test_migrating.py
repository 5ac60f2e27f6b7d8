"""A migration: its price, tables beside the old, the gate, the switch, and the way back."""

import json
import os
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

import reelvec
from reelvec.configs import ConfigError
from reelvec.flows.migrating import MigrationOptions, migrate
from reelvec.flows.refresh import RefreshFailedError, RefreshOptions, chosen_runs, refresh
from reelvec.storage.errors import AliasError
from reelvec.storage.roots import open_root
from reelvec.storage.runs import find_run, list_runs
from reelvec.tasks.migration import switching
from reelvec.tasks.migration.errors import GateRefusedError
from reelvec.tasks.runs.listing import drop
from reelvec.tasks.runs.promotion import list_tags, promote, rollback
from reelvec.tasks.upkeep.collect import collect_store
from tests.support.command_line import typed
from tests.support.migrating import make_ground, run, seen

NEW = "base new"
plain = switching.judge


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return make_ground(tmp_path_factory.mktemp("ground"))


@pytest.fixture(scope="module")
def migrated(made, tmp_path_factory):
    """A copy where the migration has gone through, and what it said."""
    store = str(tmp_path_factory.mktemp("migrated") / "store")
    shutil.copytree(made.store, store, copy_function=os.link)
    made.list_videos(6)  # one comes while the new tables are made
    lines = []
    done = migrate(
        store, options=MigrationOptions(weights=str(made.weights)), run=run, say=lines.append
    )
    return store, done, lines


@pytest.fixture
def store(made, tmp_path):
    made.list_videos(5)
    return str(shutil.copytree(made.store, tmp_path / "copy", copy_function=os.link))


@pytest.fixture
def after(made, migrated, tmp_path):
    made.list_videos(6)
    return str(shutil.copytree(migrated[0], tmp_path / "after", copy_function=os.link))


def go(store, made, **options):
    chosen = MigrationOptions(weights=str(made.weights), **options)
    return migrate(store, options=chosen, run=run, say=lambda _: None)


def files(store):
    found = (os.path.join(place, name) for place, _, names in os.walk(store) for name in names)
    return {path for path in found if not path.startswith(os.path.join(store, ".writers"))}


def test_a_plan_says_what_it_costs_and_changes_nothing(store, made):
    before = files(store)
    planned = go(store, made, plan=True)
    price = planned.price
    videos, captions = (len(reelvec.open(store).run().table(t)) for t in ("videos", "captions"))
    assert price.captions == captions and price.videos >= videos
    assert price.seconds > 0 and "by MACs" in price.by
    assert planned.switched is None and "about" in planned.words
    assert files(store) == before and reelvec.open(store).run().name == "base"


def test_the_new_tables_stand_beside_the_old_and_are_searched_in_one_step(migrated, made):
    store, done, lines = migrated
    assert done.switched.moved.changed and done.switched.gate.report.passed
    assert lines[0].startswith(f"base -> {NEW}: ") and "from cached frames" not in lines[0]
    name, vectors = seen(store)
    old_name, old = seen(store, "base")
    assert (name, old_name) == (NEW, "base")
    assert vectors.keys() == old.keys() and len(old) == 6, "the new video is in both"
    assert all(vectors[key] != old[key] for key in old)
    frames = {record.artifacts["frames"][0] for record in list_runs(open_root(store))}
    assert len(frames) == 1, "nothing was decoded twice"
    page = Path(done.switched.gate.page).read_text()
    assert "may take its place" in page and "t2v/R@1" in page and NEW in page
    assert reelvec.open(store).verify() == []


def test_rollback_is_one_step_and_a_migration_given_again_does_nothing(after, made):
    before = seen(after)
    assert not go(after, made).switched.moved.changed
    assert rollback(after).after.name == "base"
    assert seen(after)[0] == "base"
    records = len(list_runs(open_root(after)))
    assert go(after, made).switched.moved.changed, "all is there: only the gate is asked"
    assert (seen(after), len(list_runs(open_root(after)))) == (before, records)


def test_old_tables_are_there_to_go_back_to_after_gc(after):
    collect_store(after, keep=2, hours=0.0)
    rollback(after)
    name, vectors = seen(after)
    assert name == "base" and len(vectors) == 6, "as the night before the switch left it"
    assert reelvec.open(after).verify() == []


def test_the_price_of_a_repeat_is_what_it_took(after, made):
    record = find_run(open_root(after), NEW)
    took = {stage["name"]: stage["seconds"] for stage in record.stages}
    promote(after, "base")
    drop(after, NEW)
    collect_store(after, keep=1, hours=0.0)
    price = go(after, made, plan=True).price
    assert price.videos == price.captions == 6 and price.decodes == 0
    assert price.by == f"as the run ({NEW}) took with this model"
    whole = sum(took[name] for name in ("train", "embed", "evaluate"))
    assert abs(price.seconds - whole) < 0.2 * whole


def test_a_refused_gate_leaves_all_as_it_was_and_says_why(store, made, monkeypatch, capsys):
    before, price = seen(store), go(store, made, plan=True).price
    monkeypatch.setattr(
        switching,
        "judge",
        lambda old, new, options: plain(
            old, new, options=options.model_copy(update={"norm_tolerance": 1e-12})
        ),
    )
    words = ("migrate", "--weights", made.weights, "--store", store)
    code, out, err = typed(monkeypatch, capsys, *words)
    assert (code, out) == (5, ""), err
    assert "do not take the place of (base)" in err and "length of vectors" in err
    assert "Nothing has changed" in err and "gates" in err
    assert seen(store)[0] == "base" and before[1].items() <= seen(store, "base")[1].items()
    assert [(tag.alias, tag.record.name) for tag in list_tags(store)] == [("current", "base")]
    record = json.loads(
        next(iter(sorted((open_root(store).local_folder / "gates").glob("*.json")))).read_text()
    )
    assert record["body"]["passed"] is False
    monkeypatch.undo()
    code, out, err = typed(monkeypatch, capsys, *words)
    assert code == 0 and "current: base new" in out and "Gate:" in out
    tables = reelvec.open(store).run().videos._snapshot
    assert abs(price.bytes - tables.bytes) < 0.2 * tables.bytes


def test_current_that_was_moved_meanwhile_is_left_alone(store, made, monkeypatch):
    def judged(old, new, options):
        promote(store, NEW, why="by hand")
        promote(store, "base", why="by hand")
        return plain(old, new, options=options)

    monkeypatch.setattr(switching, "judge", judged)
    with pytest.raises(AliasError, match="was moved meanwhile"):
        go(store, made)
    assert seen(store)[0] == "base"


def test_a_name_of_another_model_is_refused(store, made):
    with pytest.raises(ConfigError, match=r"has a run \(base\) of another model"):
        go(store, made, name="base")


def nightly(store, **gate):
    (due,) = chosen_runs(store, ["base"])
    plain_config = due.config

    def config():
        found = plain_config()
        return found.model_copy(update={"gate": found.gate.model_copy(update=gate)})

    due = replace(due, config=config)
    return refresh(due, options=RefreshOptions(), run=run, say=lambda _: None)


def test_the_nightly_moves_current_on_behind_its_gate(store, made):
    promote(store, "base")
    made.list_videos(6)
    done = nightly(store)
    assert done.switched.gate.report.same_model and done.switched.moved.after.change == "kept true"
    assert len(seen(store)[1]) == 6
    assert nightly(store).switched is None
    made.list_videos(4)  # the others have no caption any more
    refused = nightly(store, norm_tolerance=1e-12)
    assert "do not take the place" in refused.error and "length of vectors" in refused.error
    assert (captions(store), captions(store, "base")) == (6, 4)
    done = nightly(store, nightly=False)
    assert done.switched.gate is None and done.switched.moved.changed
    assert captions(store) == 4


def captions(store, name=None):
    return len(reelvec.open(store).run(name).captions)


def test_without_current_the_nightly_asks_no_gate(store, made):
    made.list_videos(6)
    assert nightly(store, norm_tolerance=1e-12).error == ""
    assert len(seen(store)[1]) == 6 and list_tags(store) == []


def test_a_run_that_fails_stops_the_migration_and_current_stays(store, made):
    def fails(session, stages):
        if session.refreshes:
            raise KeyError("a defect")
        return run(session, stages)

    go_wrong = MigrationOptions(weights=str(made.weights))

    def late(session, stages):
        done = fails(session, stages)
        made.list_videos(6)
        return done

    with pytest.raises(RefreshFailedError, match="a defect"):
        migrate(store, options=go_wrong, run=late, say=lambda _: None)
    assert seen(store)[0] == "base"


def test_tables_that_lose_videos_are_refused(after, made):
    new = reelvec.open(after).run(NEW)._recorded.snapshot("embeddings")
    promote(after, "base")
    new.artifact.publish(supersede={"videos": sorted(new.live("videos"))[:1]})
    with pytest.raises(GateRefusedError, match=r"coverage: 1 usable videos of 6 have no row"):
        switching.switch(open_root(after), NEW, options=made.config.gate, change="promoted")
    assert seen(after)[0] == "base"
