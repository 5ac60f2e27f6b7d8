"""A video is forgotten: nothing of it is left, and everything else is as it was."""

import os
import shutil
import tempfile
from pathlib import Path

import pytest

import reelvec
from reelvec.errors import RequestError
from reelvec.storage import layout
from reelvec.storage.at_work import announced
from reelvec.storage.commits.aliases import alias_in_force
from reelvec.storage.commits.artifact import Artifact
from reelvec.storage.errors import BusyError, IntegrityError, MissingArtifactError
from reelvec.storage.forgotten import FORGOTTEN, Forgotten, forget_records, note_ids
from reelvec.storage.roots import open_root
from reelvec.storage.store_format import PLAIN, WITH_FORGOTTEN, format_of_store
from reelvec.storage.upkeep.garbage import GcOptions, gc
from reelvec.storage.upkeep.verify import verify_store
from reelvec.tasks.artifacts import Session
from reelvec.tasks.reports.report import report
from reelvec.tasks.reports.sources import report_sources
from reelvec.tasks.runs.history import history
from reelvec.tasks.upkeep import forget as forgetting
from reelvec.tasks.upkeep.collect import collect_store
from reelvec.tasks.upkeep.forget import forget, take_back
from tests.drills.bitflips import run_again
from tests.storage.commits.contracts import FragileRoot, Machine
from tests.support.engine_free import run_ingest
from tests.support.lived_in import GONE, found_in, lived_in, rows_of


@pytest.fixture(scope="module")
def fast():
    """In memory where there is such a place."""
    with tempfile.TemporaryDirectory(dir="/dev/shm" if Path("/dev/shm").is_dir() else None) as made:
        yield Path(made)


@pytest.fixture(scope="module")
def made(fast):
    """A store with every trace; never written in."""
    return lived_in(fast)


@pytest.fixture
def lived(made, tmp_path, monkeypatch):
    """A copy of it."""
    return copied(made, tmp_path, monkeypatch)


def copied(made, folder, monkeypatch):
    monkeypatch.setenv("REELVEC_CACHE", str(folder / "cache"))
    uri = shutil.copytree(made.uri, folder / "store")
    config = made.store.config.model_copy(update={"store": str(uri)})
    store = type(made.store)(**{**vars(made.store), "config": config})
    return type(made)(store, made.words, made.arrays)


def tree(folder):
    return {path: path.read_bytes() for path in Path(folder).rglob("*") if path.is_file()}


def test_nothing_is_left_of_it_and_all_else_is_as_it_was(lived):
    before, traces = rows_of(lived.root), found_in(lived)
    kinds = {path.split("/")[0] for path, _ in traces}
    assert kinds >= {*layout.KINDS, "logs", "reports", "gates", ".scratch", ".damaged"}, (
        "all are looked in"
    )
    done = forget(lived.uri, [GONE], why="she asked")
    assert found_in(lived) == []
    after = rows_of(lived.root)
    for place, rows in before.items():
        kind, _, table = place
        identity = Artifact(lived.root, kind=kind, fingerprint=place[1]).identity
        if kind == "evaluation":
            assert after.get(place, {}) == ({} if "ranks" in table else rows)
        elif identity == {"name": "begun"}:
            assert place not in after, "a training that was not finished begins anew"
        else:
            kept = after[place]
            assert list(kept) == [key for key in rows if key in kept], "in their order"
            assert all(rows[key] == kept[key] for key in kept), "bit for bit"
            goes = 0 if identity == {"corpus": "another"} else rows_that_go(kind, table)
            assert len(rows) - len(kept) == goes, (kind, table)
    assert verify_store(lived.root) == []
    assert done.tags == ("current",) and not done.twins and len(done.trained) == 1
    assert (lived.root.local_folder / "logs" / "train-b.log").exists()


def rows_that_go(kind, table):
    """A clip, two captions; of features one text, since another video says the other one, too."""
    if table in ("captions", "training_set"):
        return 1 if kind == "features" else 2
    return 1


def test_a_table_that_never_held_it_stays_and_so_does_its_tag(lived):
    apart = alias_in_force(lived.root, "apart")
    forget(lived.uri, [GONE])
    assert alias_in_force(lived.root, "apart") == apart
    moved = alias_in_force(lived.root, "current")
    for kind, (fingerprint, number) in moved.artifacts.items():
        latest = Artifact(lived.root, kind=kind, fingerprint=fingerprint).latest()
        assert latest.number == number, "all its tables are those in force"
    assert moved.change == "rewritten" and "forgot 1 video" in moved.why


def test_a_plan_says_what_goes_and_writes_nothing(lived):
    before = tree(lived.uri)
    plan = forget(lived.uri, [GONE], dry_run=True)
    assert tree(lived.uri) == before
    assert forget(lived.uri, [GONE]) == plan
    assert plan.rows > 15 and plan.bytes > 10_000 and plan.files == 5
    again = forget(lived.uri, [GONE])
    assert again.before == (GONE,) and not again.gone and not again.files


def test_frames_that_another_video_shares_stay_and_that_is_said(tmp_path):
    made = lived_in(tmp_path, twin=True)
    before = rows_of(made.root)
    done = forget(made.uri, [GONE])
    assert done.twins == ("v004",) and found_in(made) == []
    after = rows_of(made.root)
    for place in before:
        if place[0] == "frames" or place[::2] == ("features", "videos"):
            assert after[place] == before[place]
    assert verify_store(made.root) == []
    forget(made.uri, ["v004"])
    assert len(rows_of(made.root)[next(p for p in before if p[0] == "frames")]) == 4


def test_whoever_never_was_there_is_an_error_and_nothing_is_done(lived):
    before = tree(lived.uri)
    with pytest.raises(MissingArtifactError, match=r"\(v999\).*nothing was forgotten"):
        forget(lived.uri, [GONE, "v999"])
    with pytest.raises(RequestError, match="no video is named"):
        forget(lived.uri, [])
    assert tree(lived.uri) == before and format_of_store(lived.root) < WITH_FORGOTTEN


def test_beside_a_writer_it_refuses(lived):
    with announced(lived.root, "nightly"), pytest.raises(BusyError, match=r"run \(nightly\)"):
        forget(lived.uri, [GONE])
    assert found_in(lived) and not forget_records(lived.root)


def test_what_somebody_wrote_meanwhile_is_seen_at_the_end(lived, monkeypatch):
    erase = forgetting._erase

    def beside(root, traces, **how):
        erase(root, traces, **how)
        artifact = lived.store.embeddings.artifact
        root.put_new(f"{artifact.folder}/parts/videos-x-{'1' * 16}.parquet", b"somebody's")

    monkeypatch.setattr(forgetting, "_erase", beside)
    with pytest.raises(BusyError, match="once more"):
        forget(lived.uri, [GONE])
    monkeypatch.undo()
    forget(lived.uri, [GONE])
    assert found_in(lived) == []


def test_what_is_damaged_is_refused_before_anything_is_done(lived):
    part = next(Path(lived.uri).glob("corpus/*/receipts/*"))
    part.write_bytes(b"{}")
    with pytest.raises(IntegrityError):
        forget(lived.uri, [GONE])
    assert not forget_records(lived.root)


def test_killed_at_any_point_the_same_call_goes_on(made, monkeypatch, fast):
    first, machine = copied(made, fast / "whole", monkeypatch), Machine()
    dying(monkeypatch, first, machine, None)
    wanted = rows_of(first.root)
    assert machine.points > 100
    for point in range(7, machine.points, max(1, machine.points // _KILLS)):
        lived = copied(made, fast / str(point), monkeypatch)
        dying(monkeypatch, lived, Machine(), point)
        rows_of(lived.root)  # a reader finds the old or the new, and all of it
        assert verify_store(lived.root) == [], point
        forget(lived.uri, [GONE])
        assert found_in(lived) == [] and rows_of(lived.root) == wanted, point
        assert verify_store(lived.root) == []


_KILLS = int(os.environ.get("REELVEC_FORGET_KILLS", "5"))
"""As many as there are points, and more, for all of them."""


def dying(monkeypatch, lived, machine, point):
    """`forget` on a machine that dies there, and its process with it."""
    with monkeypatch.context() as patch, machine.dies_after(point):
        patch.setattr(forgetting, "open_root", lambda uri: FragileRoot(Path(uri), machine))
        forget(lived.uri, [GONE])
    assert machine.crashed == (point is not None)
    shutil.rmtree(Path(lived.uri) / layout.AT_WORK)


def test_gc_finds_nothing_wrong_and_history_says_it(lived):
    forget(lived.uri, [GONE], why="by letter")
    gc(lived.root, options=GcOptions(keep_snapshots=1, min_age_seconds=0.0))
    collect_store(lived.uri)
    assert verify_store(lived.root) == [] and found_in(lived) == []
    told = [(one.what, one.why) for one in history(lived.uri)]
    assert ("forgotten", "1 video: by letter") in told
    assert any(what == "rewritten" for what, _ in told)


def test_ids_are_kept_as_hashes_and_can_be_taken_back(tmp_path):
    root = open_root(tmp_path)
    assert Forgotten.of(root).among(["a", "b"]) == frozenset()
    note_ids(root, ["a", "b"], change=FORGOTTEN)
    note_ids(root, ["a"], change=FORGOTTEN)
    assert len(forget_records(root)) == 1 and format_of_store(root) == WITH_FORGOTTEN > PLAIN
    assert Forgotten.of(root).among(iter(["a", "b", "c"])) == {"a", "b"}
    with pytest.raises(MissingArtifactError, match=r"\(c\) is not forgotten"):
        take_back(str(tmp_path), ["a", "c"])
    take_back(str(tmp_path), ["a"])
    assert Forgotten.of(root).among(["a", "b"]) == {"b"}
    note_ids(root, ["a"], change=FORGOTTEN)
    assert len(Forgotten.of(root)) == 2
    assert len({record.salt for record in forget_records(root)}) == 1
    record = tmp_path / layout.forgotten(2)
    record.write_bytes(record.read_bytes().replace(b"taken", b"token"))
    assert [one.path for one in verify_store(root)] == [layout.forgotten(2)]
    with pytest.raises(IntegrityError):
        Forgotten.of(root)


def test_runs_leave_it_out_until_it_is_taken_back(real_store, tmp_path):
    store = str(shutil.copytree(real_store.store, tmp_path / "store"))
    config = real_store.config.model_copy(update={"store": store})
    gone = {"clip5", "broken"}  # of the one all was made, the other failed
    forget(store, gone)
    plan, corpus = run_ingest(config)
    assert gone.isdisjoint(row.video_id for shard in plan.shards for row in shard.items)
    assert "2 of the corpus' videos were forgotten" in plan.notes[-1]
    assert gone.isdisjoint(corpus.live("videos")) and len(corpus.live("videos")) == 8
    run_again(config)
    session = Session(config)
    page = report(session, report_sources(session)).path.read_text()
    assert "clip4" in page and not any(name in page for name in gone)
    found = {row.video_id for row in reelvec.open(store).run().search("a shape", top=20)}
    assert found and gone.isdisjoint(found)
    collect_store(store, keep=1, hours=0.0)
    assert verify_store(open_root(store)) == []
    take_back(store, ["clip5"])
    plan, corpus = run_ingest(config)
    assert [video.video_id for video in plan.due] == ["clip5"] and "clip5" in corpus.live("videos")


def test_frames_of_who_left_the_corpus_before_go_with_the_unclaimed(lived):
    root, corpus = lived.root, lived.store.session.corpus
    names = [row.key for row in corpus.latest().outcomes("captions") if row.key.startswith(GONE)]
    corpus.publish(supersede={"videos": [GONE], "captions": names})
    gc(root, options=GcOptions(keep_snapshots=1, min_age_seconds=0.0))
    before = rows_of(root)
    plan = forget(lived.uri, [], unclaimed=True, dry_run=True)
    assert not any(one.kind == "frames" and one.rows for one in plan.gone), "a training claims them"
    for artifact in Artifact.all(root):
        if artifact.kind == "checkpoint":
            artifact.publish(replace=[entry.part for entry in artifact.latest().entries])
    forget(lived.uri, [], unclaimed=True)
    after = rows_of(root)
    for place, rows in before.items():
        if place[0] == "frames":
            assert len(after[place]) == len(rows) - 1
            assert all(after[place][key] == rows[key] for key in after[place])
    assert not forget_records(root) and verify_store(root) == []
