"""Everything a snapshot names outlasts a loss of power, whatever was killed before.

A run of commits is killed after every single operation; the next run goes on with what it finds,
and the power goes right after each of its publications.
"""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable
from pathlib import Path

from reelvec.storage.commits.artifact import Artifact, Receipt, Snapshot
from reelvec.storage.places.local import LocalRoot
from reelvec.storage.records import Outcome
from reelvec.storage.roots import open_root
from reelvec.storage.runs import RunRecord, latest_run, write_run
from reelvec.storage.upkeep.garbage import GcOptions, gc
from reelvec.storage.upkeep.verify import verify_artifact, verify_store
from tests.support.power import Disk

STARTED = "2026-01-01T00:00:00+00:00"
STORE = "somewhere/store"
Look = Callable[[Snapshot | None], None]


def one_run(disk: Path, look: Look) -> None:
    """Two artifacts, of two shards each; the first shard is superseded, and gc takes it away."""
    root = LocalRoot(disk / STORE)
    made = {}
    for kind in ("corpus", "embeddings"):
        artifact = Artifact.open(root, kind=kind, identity={"kind": kind})
        first = "first" in keys_in_force(artifact)
        publish(artifact, "second", look=look, gone=["first"] if first else [])
        if not first and artifact.numbers() == [1]:
            publish(artifact, "third", look=look, gone=["second"])
        snapshot = artifact.latest()
        assert snapshot is not None
        made[kind] = (artifact.fingerprint, snapshot.number)
    gc(root, options=GcOptions(keep_snapshots=1, min_age_seconds=0.0))
    record = latest_run(root)
    if record is None or record.artifacts != made:
        write_run(root, RunRecord(name="r", config={}, artifacts=made, started=STARTED))
    look(None)


def keys_in_force(artifact: Artifact) -> list[str]:
    latest = artifact.latest()
    return list(latest.live("rows")) if latest else []


def publish(artifact: Artifact, key: str, *, look: Look, gone: list[str]) -> None:
    """Puts a part with one row in force: the one a killed run left, where it left one."""
    if key in keys_in_force(artifact):
        return
    left = {receipt.shard: receipt for receipt in artifact.orphan_receipts()}
    receipt = left.get(key) or write_part(artifact, key)
    snapshot = artifact.publish(add=[receipt], supersede={"rows": gone})
    look(snapshot)


def write_part(artifact: Artifact, key: str) -> Receipt:
    with artifact.new_part(table="rows", shard=key, suffix=".bin") as part:
        part.path.write_bytes(key.encode() * 50)
        return part.commit(rows=1, outcomes=[Outcome(key)])


class Watch:
    """What the power goes after, and what must be found then."""

    def __init__(self, disk: Disk, folder: Path, rng: random.Random | None) -> None:
        self.disk, self.folder, self.rng, self.looks = disk, folder, rng, 0

    def look(self, snapshot: Snapshot | None) -> None:
        self.looks += 1
        image = self.disk.after_power_loss(self.folder / f"image-{self.looks}", rng=self.rng)
        root = open_root(image / STORE)
        if snapshot is not None:
            artifact = Artifact(
                root, kind=snapshot.artifact.kind, fingerprint=snapshot.artifact.fingerprint
            )
            found = artifact.at(snapshot.number)
            assert found.checksum == snapshot.checksum
            assert verify_artifact(artifact) == []
        else:
            assert verify_store(root) == []
            assert latest_run(root) is not None
            for artifact in Artifact.all(root):
                assert artifact.orphan_receipts() == []  # what gc removed stays removed
        shutil.rmtree(image)


def operations(folder: Path) -> list[str]:
    """Of an undisturbed run."""
    disk = Disk(folder / "whole")
    with disk.process():
        one_run(disk.folder, lambda _: None)
    return disk.operations


def looks_after_a_kill(folder: Path, *, number: int, seed: int | None) -> int:
    """How often the power went, and everything was there; `seed`: a coin for what is unsynced."""
    folder.mkdir()
    disk = Disk(folder / "disk")
    with disk.process(dies_after=number):
        one_run(disk.folder, lambda _: None)
    watch = Watch(disk, folder, random.Random(seed) if seed is not None else None)
    with disk.process():
        one_run(disk.folder, watch.look)
    shutil.rmtree(folder)
    return watch.looks


def test_what_a_snapshot_names_outlasts_a_kill_and_a_loss_of_power(tmp_path: Path) -> None:
    """After each operation that an fsync has yet to make durable; `drills.faults`: all."""
    names = operations(tmp_path)
    unsynced = [number for number, name in enumerate(names, 1) if name != "fsync"]
    for number in unsynced:
        assert looks_after_a_kill(tmp_path / f"{number}", number=number, seed=None)
    assert len(unsynced) > 40


def test_syncs_are_paid_for_what_is_adopted_alone(tmp_path: Path) -> None:
    disk = Disk(tmp_path / "disk")

    def syncs(work: Callable[[Artifact], object]) -> int:
        """Of one process with one artifact."""
        with disk.process():
            work(Artifact.open(LocalRoot(disk.folder), kind="corpus", identity={}))
        return disk.operations.count("fsync")

    def put(artifact: Artifact, key: str) -> None:
        artifact.publish(add=[write_part(artifact, key)])

    syncs(lambda artifact: put(artifact, "first"))
    names_and_bytes = 2 * 3  # of a part, its receipt and the snapshot
    base = 1  # whose number must not be outlasted by the next one
    assert syncs(lambda artifact: put(artifact, "second")) == names_and_bytes + base
    assert syncs(lambda artifact: artifact.orphan_receipts()) == 0
    syncs(lambda artifact: write_part(artifact, "left"))
    assert syncs(lambda artifact: artifact.orphan_receipts()) == 1
    assert syncs(lambda artifact: artifact.publish(add=artifact.orphan_receipts())) == 4
    assert syncs(lambda artifact: artifact.publish()) == 0
