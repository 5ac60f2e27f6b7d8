"""Promote, tag, roll back: what is searched follows `current`, at the snapshots it was given."""

import dataclasses

import pytest

import reelvec
from reelvec.storage.errors import AliasError, MissingArtifactError
from reelvec.storage.naming import choose_run
from reelvec.storage.runs import RunRecord, find_run, list_runs, write_run
from reelvec.tasks.runs.listing import drop, list_names
from reelvec.tasks.runs.promotion import list_tags, promote, rollback, tag, untag
from reelvec.tasks.runs.recording import last_config
from reelvec.tasks.upkeep.collect import collect_store
from tests.storage.commits.contracts import flip_bit
from tests.support.small_store import commit, make_store, plain_captions, plain_videos


@pytest.fixture
def made(tmp_path):
    """A store with the runs `old` and then `new`, whose tables are the same artifact's."""
    videos = plain_videos(6)
    store = make_store(tmp_path, videos=videos, captions=plain_captions(videos))
    record(store, "old")
    record(store, "new")
    return store


def record(store, name, *, embeddings=None):
    snapshots = {
        "corpus": store.session.latest(store.session.corpus),
        "frames": store.frames,
        "embeddings": embeddings or store.embeddings,
    }
    config = store.config.model_dump(mode="json") | {"name": name}
    artifacts = {kind: (one.artifact.fingerprint, one.number) for kind, one in snapshots.items()}
    started = f"2026-01-02T03:04:{len(list_runs(store.root)):02d}+00:00"
    return write_run(
        store.root, RunRecord(name=name, config=config, artifacts=artifacts, started=started)
    )


def lose_a_video(store):
    """The tables of a later night, without v005."""
    artifact = store.embeddings.artifact
    return artifact.publish(supersede={"videos": ["v005"]})


def seen(store, name=None):
    return len(reelvec.open(store.config.store).run(name).videos)


def test_what_is_searched_is_the_last_run_until_current_is_set(made):
    where = made.config.store
    assert reelvec.open(where).run().name == "new"
    moved = promote(where, "old", why="the new one is not looked at yet")
    assert moved.changed and moved.before is None
    assert (reelvec.open(where).run().name, last_config(where).name) == ("old", "old")
    assert [one.name for one in list_names(where) if one.in_use] == ["old"]
    assert not promote(where, "old").changed
    promote(where, "new")
    assert rollback(where).after.name == "old"
    assert reelvec.open(where).run().name == "old"
    untag(where, "current")
    assert reelvec.open(where).run().name == "new"


def test_current_stays_at_its_snapshots_and_a_follower_sees_what_is_published(made):
    where = made.config.store
    promote(where, "new")
    tag(where, "live", "new", follows=True)
    lose_a_video(made)
    assert [seen(made, name) for name in (None, "live", "new")] == [6, 5, 5]
    promote(where, "new")
    assert seen(made) == 5
    rollback(where)
    assert seen(made) == 6
    assert promote(where, "new", follows=True).changed
    assert seen(made) == 5


def test_a_follower_does_not_go_over_to_another_model_of_the_same_name(made):
    where = made.config.store
    promote(where, "new", follows=True)
    other = dataclasses.replace(find_run(made.root, "new"), identifier="")
    artifacts = {**other.artifacts, "embeddings": ("cd" * 16, 1)}
    write_run(
        made.root, dataclasses.replace(other, artifacts=artifacts, started="2027-01-01T00:00Z")
    )
    assert choose_run(made.root).record.artifacts["embeddings"][0] != "cd" * 16
    again = record(made, "new")
    assert choose_run(made.root).record.identifier == again


def test_tags_are_names_that_run_takes(made):
    where = made.config.store
    tag(where, "paper", "old", why="ICCV")
    lose_a_video(made)
    assert seen(made, "paper") == 6
    with pytest.raises(AliasError, match=r"stands for old .*--move"):
        tag(where, "paper", "new")
    assert tag(where, "paper", "new", moves=True).after.name == "new"
    for name, words in (("current", "promote"), ("old", "run is called"), ("Paper", "small")):
        with pytest.raises(AliasError, match=words):
            tag(where, name)
    with pytest.raises(MissingArtifactError, match=r"there are: old, new; tags: paper"):
        promote(where, "none such")
    assert [(one.alias, one.record.name) for one in list_tags(where)] == [("paper", "new")]
    untag(where, "paper")
    with pytest.raises(AliasError, match=r"no tag \(paper\) is set"):
        untag(where, "paper")
    assert list_tags(where) == []


def test_a_run_that_an_alias_stands_for_is_not_dropped_and_gc_leaves_its_tables(made):
    where = made.config.store
    promote(where, "old")
    lose_a_video(made)
    with pytest.raises(AliasError, match=r"is what \(current\) stands for: .*promote RUN"):
        drop(where, "old")
    assert drop(where, "new").in_use == "old"
    collect_store(where, keep=1, hours=0.0)
    assert seen(made) == 6
    assert reelvec.open(where).verify() == []


def test_rollback_to_a_run_that_was_dropped_is_refused_with_words(made):
    where = made.config.store
    promote(where, "old")
    promote(where, "new")
    drop(where, "old")
    with pytest.raises(AliasError, match=r"the run \(old, .* was dropped: .*promote RUN"):
        rollback(where)
    assert reelvec.open(where).run().name == "new"


def test_rollback_to_tables_that_gc_removed_is_refused_and_changes_nothing(made):
    where = made.config.store
    promote(where, "old")
    for value in range(3):
        receipt_of_a_night(made, value)
        record(made, "old", embeddings=made.embeddings.artifact.latest())
        promote(where, "old")
    collect_store(where, keep=1, hours=0.0)
    with pytest.raises(MissingArtifactError, match="embeddings"):
        rollback(where)
    assert seen(made) == 6


def receipt_of_a_night(store, value):
    """Another snapshot of the tables: one row is written anew."""
    import pyarrow as pa

    from reelvec.storage.records import Outcome
    from reelvec.storage.tables import read_table

    rows = read_table(store.embeddings, "videos").slice(0, 1)
    rows = rows.set_column(4, "outcome", pa.array(["ok"], pa.string()))
    commit(
        store.embeddings.artifact,
        [("videos", rows, [Outcome("v000")], f"night{value}")],
        supersede={"videos": ["v000"]},
    )


def test_a_damaged_current_is_said_and_promoted_anew(made):
    where = made.config.store
    promote(where, "old")
    flip_bit(made.root.local_folder / "aliases/current/00000001.json", 150)
    with pytest.raises(AliasError, match="promote RUN"):
        reelvec.open(where).run()
    assert list_tags(where)[0].wrong
    assert [one.in_use for one in list_names(where)] == [False, False]
    assert promote(where, "new").after.number == 2
    assert reelvec.open(where).run().name == "new"
