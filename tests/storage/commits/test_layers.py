"""Snapshots in layers: what many share is written once, and neither kills nor gc take it away."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import run_state_machine_as_test

from reelvec.storage.commits import layers
from reelvec.storage.commits.artifact import Artifact, Snapshot
from reelvec.storage.commits.retention import removals_after, write_removal
from reelvec.storage.places.local import LocalRoot
from reelvec.storage.store_format import PLAIN, WITH_LAYERS, format_of_store
from reelvec.storage.upkeep.erasing import Erasure, Holder, remove, rewrite
from reelvec.storage.upkeep.garbage import GcOptions, gc_artifact
from reelvec.storage.upkeep.repair import repair_store
from reelvec.storage.upkeep.verify import verify_artifact
from tests.storage.commits.contracts import (
    TABLE,
    FragileRoot,
    Machine,
    flip_bit,
    ok,
    rows_in_force,
    write_part,
)
from tests.storage.commits.test_snapshots_protocol import Protocol

IDENTITY = {"test": "layers"}
GREEDY = GcOptions(keep_snapshots=1, min_age_seconds=0.0)


@pytest.fixture(autouse=True)
def small_layers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(layers, "SMALLEST", 3)
    monkeypatch.setattr(layers, "LARGEST", 4)


@pytest.fixture
def artifact(tmp_path: Path) -> Artifact:
    return Artifact.open(LocalRoot(tmp_path), kind="corpus", identity=IDENTITY)


def latest(artifact: Artifact) -> Snapshot:
    """As a process reads it that knows nothing yet."""
    snapshot = Artifact.find(
        artifact.root, kind=artifact.kind, fingerprint=artifact.fingerprint
    ).latest()
    assert snapshot is not None
    return snapshot


def grow(artifact: Artifact, keys: str) -> None:
    for key in keys:
        artifact.publish(add=[write_part(artifact, ok(key))])


def files(artifact: Artifact, folder: str) -> set[str]:
    return {f"{folder}/{name}" for name in artifact.root.list(f"{artifact.folder}/{folder}")}


def test_what_did_not_change_is_named_and_not_written_again(artifact: Artifact) -> None:
    grow(artifact, "abcdefghijk")
    snapshot = latest(artifact)
    assert rows_in_force(snapshot) == ok(*"abcdefghijk")
    assert [len(layer.entries) for layer in snapshot.layers] == [3, 3, 3]
    shared = snapshot.layers[0].path
    grow(artifact, "lmn")
    artifact.publish(supersede={TABLE: {"e"}})  # of the second layer: it is written anew
    after = latest(artifact)
    assert rows_in_force(after) == ok(*"abcdfghijklmn")
    assert after.layers[0].path == shared
    assert snapshot.layers[1].path not in after.layer_files
    grow(artifact, "o")
    assert rows_in_force(latest(artifact)) == ok(*"abcdfghijklmno")
    assert rows_in_force(artifact.at(snapshot.number)) == ok(*"abcdefghijk")


def test_a_store_of_few_parts_is_written_as_ever(artifact: Artifact) -> None:
    grow(artifact, "ab")
    assert (latest(artifact).layer_files, files(artifact, "layers")) == (frozenset(), set())
    assert format_of_store(artifact.root) == PLAIN
    grow(artifact, "c")
    assert format_of_store(artifact.root) == WITH_LAYERS


def test_gc_leaves_what_is_named_and_takes_what_is_not(artifact: Artifact) -> None:
    grow(artifact, "abcdefgh")
    artifact.publish(supersede={TABLE: {"a"}})
    grow(artifact, "i")
    gc_artifact(artifact, options=GREEDY)
    assert files(artifact, "layers") == latest(artifact).layer_files
    assert rows_in_force(latest(artifact)) == ok(*"bcdefghi")
    assert verify_artifact(artifact) == []


def test_a_layer_that_gc_takes_before_it_is_named_is_not_missed(tmp_path: Path) -> None:
    root = FragileRoot(tmp_path, Machine())
    ours = Artifact.open(root, kind="corpus", identity=IDENTITY)
    theirs = Artifact.open(LocalRoot(tmp_path), kind="corpus", identity=IDENTITY)
    grow(ours, "ab")
    part = write_part(ours, ok("c"))
    root.before_snapshot = lambda: theirs.root.delete(
        *(f"{theirs.folder}/{path}" for path in files(theirs, "layers"))
    )
    ours.publish(add=[part])
    assert latest(ours).prepared and not files(ours, "layers")
    assert rows_in_force(latest(ours)) == ok(*"abc")
    grow(ours, "d")
    assert rows_in_force(latest(ours)) == ok(*"abcd")
    assert {layer.path for layer in latest(ours).layers} <= files(ours, "layers")
    assert verify_artifact(ours) == []


def test_a_layer_that_gc_is_about_to_delete_is_not_used(tmp_path: Path) -> None:
    """It was listed before a snapshot named it: the removal is seen by who would use it."""
    root = FragileRoot(tmp_path, Machine())
    ours = Artifact.open(root, kind="corpus", identity=IDENTITY)
    theirs = Artifact.open(LocalRoot(tmp_path), kind="corpus", identity=IDENTITY)
    grow(ours, "ab")
    part = write_part(ours, ok("c"))

    def listed_and_killed() -> None:
        latest_number = theirs.latest().number  # type: ignore[union-attr]
        listed = sorted(files(theirs, "layers"))
        assert listed
        write_removal(theirs.root, theirs.folder, latest=latest_number, snapshots=(), files=listed)

    root.before_snapshot = listed_and_killed
    ours.publish(add=[part])
    grow(ours, "d")
    named = {layer.path for layer in latest(ours).layers}
    assert named.isdisjoint(listed_files(ours))
    gc_artifact(ours, options=GREEDY)  # ends what the killed one began
    assert rows_in_force(latest(ours)) == ok(*"abcd")


def listed_files(artifact: Artifact) -> set[str]:
    return {
        file for r in removals_after(artifact.root, artifact.folder, number=0) for file in r.files
    }


def test_a_damaged_layer_is_found_and_repaired(tmp_path: Path, artifact: Artifact) -> None:
    grow(artifact, "abcdef")
    (first, *_) = latest(artifact).layers
    flip_bit(tmp_path / artifact.folder / first.path, 300)
    assert any(first.path in damage.what for damage in verify_artifact(artifact))
    assert repair_store(artifact.root)
    assert verify_artifact(artifact) == []
    again = Artifact.of(latest(artifact))
    again.publish(add=again.orphan_receipts())  # as the next run does
    assert rows_in_force(latest(artifact)) == ok(*"abcdef")


def test_what_is_erased_leaves_no_layer_that_named_it(artifact: Artifact) -> None:
    grow(artifact, "abcdefgh")
    erasure = Erasure(holder=Holder(artifact), keys={TABLE: frozenset("a")})
    rewrite(erasure, note="")
    remove(erasure)
    assert files(artifact, "layers") == latest(artifact).layer_files
    assert rows_in_force(latest(artifact)) == ok(*"bcdefgh")


def test_a_publication_writes_what_it_adds(artifact: Artifact, tmp_path: Path) -> None:
    sizes = {}
    for count in range(1, 97):
        number = artifact.publish(add=[write_part(artifact, ok(str(count)))]).number
        sizes[count] = (tmp_path / f"{artifact.folder}/snapshots/{number:08d}.json").stat().st_size
    entry = 300
    assert sizes[96] - sizes[48] < 48 * entry / 3, "a layer is named in a hundred bytes"


def test_the_protocol_holds_in_layers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Kills, races and gc at random, every snapshot in layers of one part or two."""
    monkeypatch.setattr(layers, "SMALLEST", 1)
    monkeypatch.setattr(layers, "LARGEST", 2)
    few = settings(
        max_examples=12, stateful_step_count=20, deadline=None,
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    run_state_machine_as_test(Protocol, settings=few)  # type: ignore[no-untyped-call]
