"""The session of a run: each artifact opened once, and what other writers do meanwhile."""

import pickle

import pytest

from reelvec.configs import PipelineConfig
from reelvec.storage.errors import MissingArtifactError
from reelvec.storage.records import Outcome
from reelvec.storage.runs import RunRecord
from reelvec.tasks.artifacts import Session, SnapshotRef
from tests.support.counting_root import counted_calls


@pytest.fixture
def config(tmp_path):
    return PipelineConfig(store=str(tmp_path / "store"))


def part_with(artifact, key):
    with artifact.new_part(table="videos", shard=key, suffix=".bin") as part:
        part.path.write_bytes(key.encode())
        return part.commit(rows=1, outcomes=[Outcome(key)])


def publish(session, key):
    receipt = part_with(session.corpus, key)
    return session.publish(session.corpus, add=[receipt], supersede={}, note=key)


def test_a_snapshot_has_one_name_in_every_process(config):
    snapshot = publish(Session(config), "a")
    ref = SnapshotRef.to(snapshot)
    assert (ref.kind, ref.number) == ("corpus", 1)
    assert pickle.loads(pickle.dumps(ref)) == ref
    assert len(pickle.dumps(ref)) < 400
    assert ref.open().checksum == snapshot.checksum
    with pytest.raises(MissingArtifactError):
        SnapshotRef.of(snapshot.artifact, number=2).open()


def test_what_was_read_is_not_read_again(config, monkeypatch):
    publish(Session(config), "a")
    session = Session(config)
    ref = session.ref(session.corpus)
    with counted_calls(monkeypatch) as calls:
        assert session.latest(session.corpus) is session.at(ref)
        assert session.find("corpus", ref.fingerprint) is session.corpus
        assert session.publish(session.corpus, add=[], supersede={}, note="").number == 1
    assert calls.total() == 0


def test_another_writer_is_seen_by_the_next_session(config):
    ours, theirs = Session(config), Session(config)
    publish(ours, "a")
    assert theirs.latest(theirs.corpus).number == 1
    publish(ours, "b")
    assert theirs.latest(theirs.corpus).number == 1, "a run works on one state of the store"
    assert Session(config).latest(Session(config).corpus).number == 2
    theirs.forget(theirs.corpus)
    assert theirs.latest(theirs.corpus).number == 2


def test_publishing_starts_from_the_latest_whatever_the_session_has_read(config):
    ours, theirs = Session(config), Session(config)
    publish(ours, "a")
    assert theirs.latest(theirs.corpus).number == 1
    publish(ours, "b")
    published = publish(theirs, "c")
    assert published.number == 3
    assert set(published.live("videos")) == {"a", "b", "c"}
    assert theirs.latest(theirs.corpus) is published


def test_a_first_run_over_nothing_says_so(config):
    session = Session(config)
    assert session.ref(session.corpus).number == 0
    nothing = session.publish(session.corpus, add=[], supersede={"videos": []}, note="no videos")
    assert (nothing.number, nothing.counts().planned) == (1, 0)


def test_a_run_is_all_there_or_not(config):
    session = Session(config)
    named = {"corpus": (session.corpus.fingerprint, publish(session, "a").number)}
    assert Session(config).has_all_of(RunRecord("x", {}, named))
    later = {"corpus": (session.corpus.fingerprint, 2)}
    assert not Session(config).has_all_of(RunRecord("x", {}, later))
    gone = {"frames": ("ab" * 16, 1)}
    assert not Session(config).has_all_of(RunRecord("x", {}, named | gone))
