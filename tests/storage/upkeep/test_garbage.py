from __future__ import annotations

import dataclasses
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from reelvec.storage import layout
from reelvec.storage.commits.artifact import Artifact
from reelvec.storage.commits.retention import removals_after
from reelvec.storage.errors import CommitError, IntegrityError, MissingArtifactError, StoreError
from reelvec.storage.places.contract import Writer
from reelvec.storage.roots import Root, open_root
from reelvec.storage.upkeep.garbage import GcOptions, gc, gc_artifact
from reelvec.storage.upkeep.verify import verify_artifact
from tests.storage.commits.contracts import TABLE, flip_bit, ok, rows_in_force, write_part

NOW = GcOptions(keep_snapshots=1, min_age_seconds=0.0)


@pytest.fixture
def root(tmp_path: Path) -> Root:
    return open_root(tmp_path)


@pytest.fixture
def artifact(root: Root) -> Artifact:
    """Three snapshots; each replaces the rows of the one before."""
    artifact = Artifact.open(root, kind="corpus", identity={"a": 1})
    for value in (1, 2, 3):
        receipt = write_part(artifact, ok("a", "b", value=value))
        artifact.publish(add=[receipt], supersede={TABLE: ["a", "b"]})
    return artifact


def make_old(folder: Path, *, hours: float) -> None:
    for path in folder.rglob("*"):
        stamp = time.time() - hours * 3600
        os.utime(path, (stamp, stamp))


def test_what_no_kept_snapshot_reaches_is_removed(root: Root, artifact: Artifact) -> None:
    kept = rows_in_force(artifact.latest())
    parts = root.list(f"{artifact.folder}/parts")
    would = gc_artifact(artifact, options=GcOptions(1, 0.0, dry_run=True))
    assert root.list(f"{artifact.folder}/parts") == parts
    (did,) = gc(root, options=NOW)
    assert did == would
    assert did.snapshots == (1, 2)
    assert len(did.files) == 4
    assert did.bytes > 0
    assert artifact.numbers() == [3]
    assert len(root.list(f"{artifact.folder}/parts")) == 1
    assert rows_in_force(artifact.latest()) == kept
    assert verify_artifact(artifact) == []
    assert gc(root, options=NOW) == []
    for number in (1, 2):
        with pytest.raises(MissingArtifactError):
            artifact.at(number)
    assert artifact.publish(add=[write_part(artifact, ok("c"))]).number == 4


def test_age_keep_and_protection(root: Root, artifact: Artifact, tmp_path: Path) -> None:
    assert gc(root) == []  # all is young
    make_old(tmp_path, hours=48)
    orphan = write_part(artifact, ok("young"))
    assert gc(root) == []  # three snapshots are kept
    protect = frozenset({(artifact.fingerprint, 1)})
    (did,) = gc(root, options=GcOptions(keep_snapshots=1, protect=protect))
    assert did.snapshots == (2,)
    assert rows_in_force(artifact.at(1)) == ok("a", "b", value=1)
    assert artifact.orphan_receipts() == [orphan]  # a writer may still publish it


def test_a_snapshot_replaced_only_now_is_left_alone(
    root: Root, artifact: Artifact, tmp_path: Path
) -> None:
    make_old(tmp_path, hours=48)
    artifact.publish(supersede={TABLE: ["a"]})
    (did,) = gc(root, options=GcOptions(keep_snapshots=1))
    assert did.snapshots == (1, 2)  # 3 was the latest until this moment
    assert artifact.numbers() == [3, 4]


def test_a_clock_that_went_back_removes_nothing(
    root: Root, artifact: Artifact, tmp_path: Path
) -> None:
    make_old(tmp_path, hours=-24)
    assert gc(root, options=GcOptions(keep_snapshots=1, min_age_seconds=60)) == []


def test_pinned_readers_are_left_alone_until_their_pin_expires(
    root: Root, artifact: Artifact, tmp_path: Path
) -> None:
    with artifact.pinned(1) as snapshot:
        (did,) = gc(root, options=NOW)
        assert did.snapshots == (2,)
        assert rows_in_force(snapshot) == ok("a", "b", value=1)
        make_old(tmp_path / artifact.folder / "pins", hours=24 * 31)
        (did,) = gc(root, options=NOW)
        assert did.snapshots == (1,)
    assert root.list(f"{artifact.folder}/pins") == []


def test_a_pin_set_while_gc_decides_is_seen(
    root: Root, artifact: Artifact, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The pin comes after gc has looked for pins, and before it writes its intent."""
    from reelvec.storage.upkeep import garbage as module

    real = module.write_removal
    pin = artifact.pinned(2)

    def pin_first(*args, **kwargs):
        pin.__enter__()
        return real(*args, **kwargs)

    monkeypatch.setattr(module, "write_removal", pin_first)
    (did,) = gc(root, options=NOW)
    assert did.snapshots == (1,)
    assert rows_in_force(artifact.at(2)) == ok("a", "b", value=2)
    pin.__exit__(None, None, None)


def test_a_reader_that_comes_too_late_is_told(
    root: Root, artifact: Artifact, monkeypatch: pytest.MonkeyPatch
) -> None:
    """gc has written its intent and looked again; the reader pins before it deletes."""
    from reelvec.storage.upkeep import garbage as module

    real = module._reachable
    told = []

    def reachable(*args):
        result = real(*args)
        if removals_after(root, artifact.folder, number=0):
            with pytest.raises(MissingArtifactError, match="gc removed"), artifact.pinned(1):
                pass
            told.append(1)
        return result

    monkeypatch.setattr(module, "_reachable", reachable)
    gc(root, options=NOW)
    assert told


def test_a_killed_gc_is_finished_by_the_next(
    root: Root, artifact: Artifact, monkeypatch: pytest.MonkeyPatch
) -> None:
    from reelvec.storage.upkeep import garbage as module

    def killed(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    write_part(artifact, ok("orphan"))
    with monkeypatch.context() as patch:
        patch.setattr(module, "_carry_out", killed)
        with pytest.raises(KeyboardInterrupt):
            gc(root, options=NOW)
    assert artifact.orphan_receipts() == []  # doomed: not offered any more
    assert artifact.numbers() == [1, 2, 3]
    assert verify_artifact(artifact) == []
    gc(root, options=NOW)
    assert artifact.numbers() == [3]
    assert all(removal.done for removal in removals_after(root, artifact.folder, number=0))
    assert len(root.list(f"{artifact.folder}/parts")) == 1


def test_collected_parts_cannot_be_published(root: Root, artifact: Artifact) -> None:
    late = write_part(artifact, ok("late"))
    gc(root, options=NOW)
    with pytest.raises(CommitError, match="redo shard"):
        artifact.publish(add=[late])


def test_nothing_goes_while_a_snapshot_is_unreadable(
    root: Root, artifact: Artifact, tmp_path: Path
) -> None:
    flip_bit(tmp_path / layout.snapshot(artifact.folder, 3), 500)
    files = sorted(path for path in tmp_path.rglob("*") if path.is_file())
    with pytest.raises(IntegrityError):
        gc(root, options=NOW)
    assert sorted(path for path in tmp_path.rglob("*") if path.is_file()) == files


def test_stray_files_of_killed_writers_go(root: Root, artifact: Artifact, tmp_path: Path) -> None:
    stray = root.new_scratch(".arrow")
    stray.write_bytes(b"half a part")
    gc(root)
    assert stray.exists()
    make_old(tmp_path, hours=48)
    gc(root)
    assert not stray.exists()


def test_what_only_dropped_runs_had_goes_at_once(root: Root, artifact: Artifact) -> None:
    orphan = write_part(artifact, ok("young"))
    other = Artifact.open(root, kind="corpus", identity={"b": 1})
    other.publish(add=[write_part(other, ok("a"))])
    drop = GcOptions(unneeded=frozenset({(artifact.kind, artifact.fingerprint)}))
    (would,) = gc(root, options=dataclasses.replace(drop, dry_run=True))
    assert artifact.numbers() == [1, 2, 3]
    (did,) = gc(root, options=drop)
    assert did == would
    assert (did.fingerprint, did.snapshots, len(did.files)) == (
        artifact.fingerprint, (1, 2, 3), 6,
    )  # fmt: skip
    assert rows_in_force(artifact.latest()) == {}
    assert rows_in_force(other.latest()) == ok("a")
    assert artifact.orphan_receipts() == [orphan]  # somebody may be about to publish it
    assert verify_artifact(artifact) == []
    assert gc(root, options=drop) == []
    artifact.publish(add=[write_part(artifact, ok("a", "b", value=7))])
    assert rows_in_force(artifact.latest()) == ok("a", "b", value=7)


def test_a_reader_of_what_was_dropped_is_waited_for(root: Root, artifact: Artifact) -> None:
    drop = GcOptions(unneeded=frozenset({(artifact.kind, artifact.fingerprint)}))
    with artifact.pinned(3) as snapshot:
        (would,) = gc(root, options=dataclasses.replace(drop, dry_run=True))
        (did,) = gc(root, options=drop)
        assert would == did
        assert did.snapshots == (1, 2)
        assert rows_in_force(snapshot) == ok("a", "b", value=3)
    (did,) = gc(root, options=drop)
    assert did.snapshots == (3,)


@pytest.mark.parametrize("at", ["publish", "carry_out"])
def test_a_gc_killed_while_it_frees_is_finished_by_the_next(
    root: Root, artifact: Artifact, monkeypatch: pytest.MonkeyPatch, at: str
) -> None:
    from reelvec.storage.upkeep import garbage as module

    drop = GcOptions(unneeded=frozenset({(artifact.kind, artifact.fingerprint)}))
    with monkeypatch.context() as patch:
        place = (Artifact, "publish") if at == "publish" else (module, "_carry_out")
        patch.setattr(*place, lambda *_, **__: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            gc(root, options=drop)
    assert verify_artifact(artifact) == []
    gc(root, options=drop)
    assert (rows_in_force(artifact.latest()), root.list(f"{artifact.folder}/parts")) == ({}, [])


def test_superseded_checkpoints_are_kept_two_minutes_and_others_a_day(root: Root) -> None:
    folders = []
    for kind in ("checkpoint", "embeddings"):
        made = Artifact.open(root, kind=kind, identity={"of": kind})
        for value in (1, 2, 3, 4):
            made.publish(add=[write_part(made, ok("a", value=value))], supersede={TABLE: ["a"]})
        folders.append(made.folder)
    assert gc(root) == []
    make_old(Path(root.uri), hours=0.1)
    (did,) = gc(root)
    assert (did.kind, did.snapshots, len(did.files)) == ("checkpoint", (1, 2, 3), 6)
    assert [len(root.list(f"{folder}/parts")) for folder in folders] == [1, 4]


# Beside writers.

WRITER = """
import sys
from reelvec.storage.commits.artifact import Artifact
from reelvec.storage.roots import open_root
from tests.storage.commits.contracts import ok, write_part
artifact = Artifact.open(open_root(sys.argv[1]), kind="corpus", identity={"a": 1})
written = write_part(artifact, ok("live"))
print("ready", flush=True)
sys.stdin.readline()
print(artifact.publish(add=[written]).number, flush=True)
"""


@contextmanager
def live_writer(folder: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process that has written a part, and publishes it once it is given a line."""
    with subprocess.Popen(
        [sys.executable, "-c", WRITER, str(folder)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    ) as writer:  # fmt: skip
        assert writer.stdout is not None
        try:
            assert writer.stdout.readline() == "ready\n"
            yield writer
        finally:
            writer.kill()


def keys_of_orphans(artifact: Artifact) -> set[str]:
    return {key for receipt in artifact.orphan_receipts() for key in receipt.keys}


def test_what_a_live_writer_needs_stays_whatever_the_hours(
    root: Root, artifact: Artifact, tmp_path: Path
) -> None:
    make_old(tmp_path, hours=1)
    old = write_part(artifact, ok("of a run before"))
    make_old(tmp_path, hours=2)
    with live_writer(tmp_path) as writer:
        artifact.publish(supersede={TABLE: ["a"]})  # 3 was in force when the writer looked
        (did,) = gc(root, options=NOW)
        assert did.snapshots == (1, 2)
        assert did.files and not any(old.part in file for file in did.files)
        assert {f"{artifact.folder}/{old.part}", layout.snapshot(artifact.folder, 3)} <= {
            left.path for left in did.left
        }
        (why,) = {left.why.removeprefix("not published yet, and ") for left in did.left}
        assert why.startswith(f"process {writer.pid} on ")
        assert keys_of_orphans(artifact) == {"live", "of a run before"}
        assert artifact.publish(add=artifact.orphan_receipts()[:0]).number == 4
        out, _ = writer.communicate("go\n")
        assert out == "5\n"
    assert "live" in rows_in_force(artifact.latest())
    (did,) = gc(root, options=NOW)
    assert did.left == ()
    assert artifact.numbers() == [5]
    assert artifact.orphan_receipts() == []


def test_a_killed_writer_holds_nothing_up(root: Root, artifact: Artifact, tmp_path: Path) -> None:
    with live_writer(tmp_path) as writer:
        writer.kill()
        writer.wait()
        gc(root, options=NOW)
    assert artifact.orphan_receipts() == []
    assert len(root.list(layout.WRITERS)) == 1  # this process' own


def test_a_writer_that_begins_while_gc_decides_is_seen(root: Root, artifact: Artifact) -> None:
    orphan = write_part(artifact, ok("orphan"))
    answers = iter([[], [Writer("a late one", seconds=0.0, known=True)]])
    gc_artifact(artifact, options=NOW, writers=lambda: next(answers))
    assert artifact.orphan_receipts() == [orphan]


def test_where_nobody_can_tell_the_hours_have_a_bound(
    root: Root, artifact: Artifact, tmp_path: Path
) -> None:
    def perhaps() -> list[Writer]:
        return [Writer("somebody", seconds=86_400, known=False)]

    write_part(artifact, ok("orphan"))
    did = gc_artifact(artifact, options=NOW, writers=perhaps)
    assert (did.snapshots, did.files) == ((), ())
    assert any("may have been writing here for 24 hours" in left.why for left in did.left)
    make_old(tmp_path, hours=25)
    did = gc_artifact(artifact, options=NOW, writers=perhaps)
    assert did.snapshots == (1, 2)
    assert artifact.orphan_receipts() == []


def test_a_writer_on_another_machine_counts_for_a_day(tmp_path: Path) -> None:
    root = open_root(tmp_path)
    assert root.writers() == []
    lease = tmp_path / layout.WRITERS / "0123456789abcdef-01234567.json"
    lease.parent.mkdir()
    about = {"process": 7, "host": "elsewhere", "boot": "other", "locked": True, "began": 0.0}
    lease.write_text(json.dumps(about))
    (writer,) = root.writers()
    assert writer.who == "process 7 on elsewhere"
    make_old(lease.parent, hours=25)
    assert root.writers() == []
    assert not lease.exists()
    lease.write_text("")  # made a moment ago, and not yet written
    (writer,) = root.writers()
    assert "unknown machine" in writer.who


# Links lead out of the store.


def test_no_link_is_followed(root: Root, artifact: Artifact, tmp_path: Path) -> None:
    stranger = tmp_path.parent / f"{tmp_path.name}-stranger"
    shutil.copytree(tmp_path, stranger)
    (stranger / "1-0123456789abcdef.arrow").write_text("kept")
    (stranger / "letters.txt").write_text("kept")
    before = sorted(path for path in stranger.rglob("*"))
    shutil.rmtree(tmp_path / layout.SCRATCH)
    (tmp_path / layout.SCRATCH).symlink_to(stranger)
    parts = tmp_path / artifact.folder / "parts"
    shutil.rmtree(parts)
    parts.symlink_to(stranger / artifact.folder / "parts")
    found = gc(root, options=NOW)
    assert sorted(path for path in stranger.rglob("*")) == before
    whys = {left.why for one in found for left in one.left}
    assert {why.partition(" is a symbolic link")[0] for why in whys} == {
        str(parts), str(tmp_path / layout.SCRATCH)
    }  # fmt: skip
    with pytest.raises(StoreError, match="is a symbolic link"):
        root.delete(f"{layout.SCRATCH}/letters.txt")
    assert (stranger / "letters.txt").exists()


def test_what_is_none_of_ours_in_scratch_is_left(root: Root, artifact: Artifact) -> None:
    scratch = root.local_folder / layout.SCRATCH
    (scratch / "notes.txt").write_text("kept")
    (scratch / "folder").mkdir()
    (scratch / "1-0123456789abcdef").symlink_to("notes.txt")
    (*_, did) = gc(root, options=NOW)
    assert did.files == ()
    assert len(did.left) == 3
    assert sorted(path.name for path in scratch.iterdir()) == [
        "1-0123456789abcdef", "folder", "notes.txt"
    ]  # fmt: skip
