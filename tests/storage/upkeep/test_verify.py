from __future__ import annotations

import random
from datetime import UTC, datetime
from pathlib import Path

import pytest

from reelvec.storage import layout
from reelvec.storage.commits.artifact import Artifact
from reelvec.storage.frames.formats import SUFFIXES, open_writer
from reelvec.storage.records import Outcome
from reelvec.storage.roots import Root, open_root
from reelvec.storage.runs import RunRecord, write_run
from reelvec.storage.sealing import seal
from reelvec.storage.upkeep.garbage import GcOptions, gc_artifact
from reelvec.storage.upkeep.verify import verify_artifact, verify_store
from tests.storage.commits.contracts import TABLE, flip_bit, ok, rows_in_force, write_part
from tests.storage.frames.contracts import SIZE, make_clips


def build(folder: Path) -> Root:
    """A store with every kind of file: growth, supersedes, orphans, gc's traces, a pin, a run."""
    root = open_root(folder)
    corpus = Artifact.open(root, kind="corpus", identity={"a": 1})
    for number in range(3):
        keys = [f"{number}{letter}" for letter in "abc"]
        rows = {**ok(*keys, value=number), f"{number}q": ("quarantined", None)}
        corpus.publish(add=[write_part(corpus, rows)], supersede={TABLE: [f"{number - 1}a"]})
    frames = Artifact.open(root, kind="frames", identity={"size": SIZE})
    for format, suffix in SUFFIXES.items():
        clips = make_clips([2, 3], seed=len(suffix))
        with frames.new_part(table="frames", shard=format, suffix=suffix) as part:
            with open_writer(part.path, format=format, payload="raw", size=SIZE) as writer:
                for clip in clips:
                    writer.add(clip)
            receipt = part.commit(rows=2, outcomes=[Outcome(clip.clip_key) for clip in clips])
        frames.publish(add=[receipt])
    gc_artifact(frames, options=GcOptions(keep_snapshots=1, min_age_seconds=0.0))
    write_part(corpus, ok("orphan"))
    root.put_new(layout.pin(corpus.folder, 2), seal({"pinned": 2}))  # of a killed reader
    write_run(root, RunRecord("n", {}, started=datetime.now(UTC).isoformat()))
    return root


def files_of(folder: Path) -> list[Path]:
    """Of the store, without those of processes that write now."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    return sorted(path for path in files if path.parent.name != layout.WRITERS)


def test_a_healthy_store_is_healthy(tmp_path: Path) -> None:
    root = build(tmp_path)
    assert verify_store(root) == []
    kinds = {str(path.relative_to(tmp_path)).split("/")[-2] for path in files_of(tmp_path)}
    assert {"parts", "receipts", "snapshots", "removals", "pins", "runs"} <= kinds


def test_every_flipped_bit_is_found(tmp_path: Path) -> None:
    root = build(tmp_path)
    generator = random.Random(0)
    files = files_of(tmp_path)
    for number in range(200):
        path = files[number % len(files)]
        bit = generator.randrange(path.stat().st_size * 8)
        flip_bit(path, bit)
        paths = {damage.path for damage in verify_store(root)}
        assert str(path.relative_to(tmp_path)) in paths, (path, bit)
        flip_bit(path, bit)
    assert verify_store(root) == []


def test_every_cut_and_every_loss_of_what_is_in_use_is_found(tmp_path: Path) -> None:
    root = build(tmp_path)
    orphan = {f"receipts/{name}" for a in Artifact.all(root) for name in _orphans(a)}
    for path in files_of(tmp_path):
        whole = path.read_bytes()
        name = str(path.relative_to(tmp_path))
        path.write_bytes(whole[: len(whole) // 2])
        assert name in {damage.path for damage in verify_store(root)}
        path.unlink()
        found = {damage.path for damage in verify_store(root)}
        unneeded = "/pins/" in name or name.startswith("runs/") or "/removals/" in name
        unneeded |= name.startswith("format/")  # without it the store is of format 1
        unneeded |= any(name.endswith(known) for known in orphan)
        newest = name.endswith("snapshots/00000003.json")  # as if it was never published
        assert name in found or unneeded or newest
        path.write_bytes(whole)
    assert verify_store(root) == []


def _orphans(artifact: Artifact) -> list[str]:
    return [Path(receipt.path).name for receipt in artifact.orphan_receipts()]


def test_damage_names_what_must_be_done_again(tmp_path: Path) -> None:
    root = open_root(tmp_path)
    artifact = Artifact.open(root, kind="corpus", identity={"a": 1})
    rows = {**ok("a", "b", "c", value=1), "q": ("quarantined", None)}
    first = write_part(artifact, rows)
    second = write_part(artifact, ok("d", value=1))
    artifact.publish(add=[first, second])
    artifact.publish(add=[write_part(artifact, ok("b", value=2))], supersede={TABLE: ["b"]})
    before = rows_in_force(artifact.latest())
    flip_bit(tmp_path / artifact.folder / first.part, 99)
    (damage,) = verify_artifact(artifact)
    assert (damage.kind, damage.fingerprint) == ("corpus", artifact.fingerprint)
    assert damage.path == f"{artifact.folder}/{first.part}"
    assert set(damage.keys) == {"a", "c", "q"}
    # repair: take the part out of force, and do exactly these again
    artifact.publish(replace=[damage.part])
    latest = artifact.latest()
    assert latest is not None
    assert set(before) - set(latest.live(TABLE)) == set(damage.keys)
    again = {key: rows[key] for key in damage.keys}
    repaired = artifact.publish(add=[write_part(artifact, again)])
    assert rows_in_force(repaired) == before


@pytest.mark.parametrize("lost", [False, True])
def test_without_its_receipt_a_part_names_its_own_rows(tmp_path: Path, lost: bool) -> None:
    root = open_root(tmp_path)
    artifact = Artifact.open(root, kind="frames", identity={"a": 1})
    clips = make_clips([2, 3])
    with artifact.new_part(table="frames", shard="0", suffix=".arrow") as part:
        with open_writer(part.path, format="arrow", payload="raw", size=SIZE) as writer:
            for clip in clips:
                writer.add(clip)
        frames = part.commit(rows=2, outcomes=[Outcome(clip.clip_key) for clip in clips])
    table = write_part(artifact, ok("x", "y"))
    artifact.publish(add=[frames, table])
    for receipt in (frames, table):
        path = tmp_path / artifact.folder / receipt.path
        path.unlink() if lost else flip_bit(path, 40)
    keys = {key for damage in verify_artifact(artifact) for key in damage.keys}
    assert keys == {"x", "y", *(clip.clip_key for clip in clips)}
    fresh = Artifact.find(root, kind="frames", fingerprint=artifact.fingerprint)
    assert fresh.publish(replace=[frames.part, table.part]).rows == 0


def test_a_copied_identity_is_noticed(tmp_path: Path) -> None:
    root = open_root(tmp_path)
    one = Artifact.open(root, kind="corpus", identity={"a": 1})
    other = Artifact.open(root, kind="corpus", identity={"a": 2})
    data = root.read(layout.identity(one.folder))
    root.delete(layout.identity(other.folder))
    root.put_new(layout.identity(other.folder), data)
    (damage,) = verify_store(root)
    assert "another identity" in damage.what


def test_what_the_last_run_names_and_is_gone_is_found(tmp_path: Path) -> None:
    root = build(tmp_path)
    corpus, frames = Artifact.all(root)
    gone = Artifact(root, kind="embeddings", fingerprint="0" * 32)
    named = {"corpus": (corpus.fingerprint, 3), "frames": (frames.fingerprint, 1)}
    write_run(root, RunRecord("n", {}, named, started=datetime.now(UTC).isoformat()))
    assert 1 not in frames.numbers(), "gc retired it: that is no loss"
    assert verify_store(root) == []
    (tmp_path / layout.snapshot(corpus.folder, 3)).unlink()
    named["embeddings"] = (gone.fingerprint, 1)
    write_run(root, RunRecord("n", {}, named, started=datetime.now(UTC).isoformat()))
    found = verify_store(root)
    assert [damage.path for damage in found] == [
        layout.snapshot(corpus.folder, 3),
        layout.snapshot(gone.folder, 1),
    ]
    assert all("last run (n)" in damage.what for damage in found)
    (tmp_path / layout.RUNS / root.list(layout.RUNS)[-1]).write_bytes(b"?")
    assert [damage.kind for damage in verify_store(root)] == ["runs"]
