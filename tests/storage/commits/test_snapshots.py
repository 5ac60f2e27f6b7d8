"""The commit protocol, rule by rule; test_snapshots_protocol drives it at random."""

from __future__ import annotations

import errno
import pickle
import threading
from pathlib import Path

import pytest

from reelvec.storage import layout
from reelvec.storage.commits.artifact import Artifact
from reelvec.storage.commits.receipts import Counts
from reelvec.storage.errors import (
    CommitError,
    IdentityError,
    IntegrityError,
    MissingArtifactError,
    StoreError,
)
from reelvec.storage.places.local import LocalRoot
from reelvec.storage.records import Outcome
from reelvec.storage.roots import Root, open_root
from tests.storage.commits.contracts import (
    TABLE,
    FragileRoot,
    Machine,
    flip_bit,
    keys_of,
    ok,
    rows_in_force,
    write_part,
)

IDENTITY = {"size": 224, "policy": "uniform", "windows": [1, 2.5]}


@pytest.fixture
def root(tmp_path: Path) -> Root:
    return open_root(tmp_path / "store")


@pytest.fixture
def artifact(root: Root) -> Artifact:
    return Artifact.open(root, kind="frames", identity=IDENTITY)


# -- artifacts -------------------------------------------------------------------------------


def test_the_same_identity_is_the_same_artifact(root: Root, artifact: Artifact) -> None:
    again = Artifact.open(root, kind="frames", identity=dict(reversed(IDENTITY.items())))
    assert again.fingerprint == artifact.fingerprint
    other = Artifact.open(root, kind="frames", identity={**IDENTITY, "size": 96})
    assert other.fingerprint != artifact.fingerprint
    found = Artifact.find(root, kind="frames", fingerprint=artifact.fingerprint)
    assert found.identity == IDENTITY
    assert {a.fingerprint for a in Artifact.all(root)} == {artifact.fingerprint, other.fingerprint}


def test_what_was_never_made_is_missing(root: Root, artifact: Artifact) -> None:
    with pytest.raises(MissingArtifactError, match=artifact.fingerprint):
        Artifact.find(root, kind="frames", fingerprint="0" * 32)
    assert artifact.latest() is None
    with pytest.raises(MissingArtifactError):
        artifact.at(1)
    with pytest.raises(MissingArtifactError), artifact.pinned():
        pass


def test_a_damaged_identity_is_noticed(root: Root, artifact: Artifact, tmp_path: Path) -> None:
    path = tmp_path / "store" / layout.identity(artifact.folder)
    flip_bit(path, 100)
    with pytest.raises(IntegrityError, match="damaged"):
        Artifact.open(root, kind="frames", identity=IDENTITY)
    path.unlink()
    from reelvec.storage.sealing import seal

    root.put_new(layout.identity(artifact.folder), seal({"another": 1}))
    with pytest.raises(IdentityError, match="another"):
        Artifact.open(root, kind="frames", identity=IDENTITY)


# -- parts and receipts ----------------------------------------------------------------------


def test_a_part_comes_with_its_receipt(root: Root, artifact: Artifact) -> None:
    outcomes = [
        Outcome("a", detail="fine"),
        Outcome("b", status="salvaged", reason="truncated", message="half", attempts=2),
        Outcome("c/../\0\u00e9", status="quarantined", reason="timeout"),
    ]
    with artifact.new_part(table="frames", shard="00001", suffix=".arrow") as part:
        part.path.write_bytes(b"frames of a and b")
        receipt = part.commit(rows=2, schema="frame", outcomes=outcomes, extra={"seconds": 1.5})
    again = artifact.receipt(receipt.path)
    assert again == receipt
    assert again.outcomes == tuple(outcomes)
    assert again.counts == Counts(planned=3, ok=1, salvaged=1, quarantined=1)
    assert root.read(f"{artifact.folder}/{receipt.part}") == b"frames of a and b"
    assert root.list(".scratch") == []


def test_a_part_that_is_not_committed_leaves_no_trace(root: Root, artifact: Artifact) -> None:
    with artifact.new_part(table="frames", shard="0", suffix=".arrow") as part:
        part.path.write_bytes(b"x")
    with (
        pytest.raises(ZeroDivisionError),
        artifact.new_part(table="frames", shard="0", suffix=".arrow") as part,
    ):
        part.path.write_bytes(bytes(1 // 0))
    assert root.list(".scratch") == root.list(f"{artifact.folder}/parts") == []
    with artifact.new_part(table="frames", shard="0", suffix=".arrow") as part:
        with pytest.raises(StoreError, match="nothing was written"):
            part.commit(rows=0)
        part.path.write_bytes(b"x")
        part.commit(rows=0)
        with pytest.raises(StoreError, match="committed already"):
            part.commit(rows=0)


@pytest.mark.parametrize(
    ("outcomes", "rows", "words"),
    [
        ([Outcome("a", status="lost")], 1, "'lost'"),
        ([Outcome("a"), Outcome("a")], 2, "twice"),
        ([Outcome("a"), Outcome("b", status="quarantined")], 3, "3 rows"),
        ([Outcome("a"), Outcome("b", status="quarantined")], 0, "0 rows"),
    ],
)
def test_counts_that_do_not_reconcile_are_refused(
    root: Root, artifact: Artifact, outcomes: list[Outcome], rows: int, words: str
) -> None:
    with artifact.new_part(table="frames", shard="0", suffix=".arrow") as part:
        part.path.write_bytes(b"x")
        with pytest.raises(CommitError, match=words):
            part.commit(rows=rows, outcomes=outcomes)
    assert root.list(f"{artifact.folder}/receipts") == []


def test_a_full_disk_while_writing_is_explained(root: Root, artifact: Artifact) -> None:
    with (
        pytest.raises(StoreError, match="free space"),
        artifact.new_part(table="frames", shard="0", suffix=".arrow"),
    ):
        raise OSError(errno.ENOSPC, "No space left on device")
    assert root.list(".scratch") == []


# -- publishing ------------------------------------------------------------------------------


def test_snapshots_add_up(artifact: Artifact) -> None:
    one = artifact.publish(add=[write_part(artifact, ok("a", "b"))])
    two = artifact.publish(add=[write_part(artifact, ok("c"))], note="growth")
    assert (one.number, two.number) == (1, 2)
    assert rows_in_force(one).keys() == {"a", "b"}
    assert rows_in_force(two).keys() == {"a", "b", "c"}
    latest = artifact.latest()
    assert latest is not None
    assert (latest.number, latest.note, latest.rows) == (2, "growth", 3)
    assert latest.counts() == Counts(planned=3, ok=3)
    assert [row.key for row in latest.outcomes()] == ["a", "b", "c"]
    assert set(latest.live(TABLE)) == {"a", "b", "c"}
    assert artifact.numbers() == [1, 2]


def test_publishing_nothing_new_publishes_nothing(artifact: Artifact) -> None:
    receipt = write_part(artifact, ok("a"))
    first = artifact.publish(add=[receipt, receipt])
    assert artifact.publish(add=[receipt]).number == first.number
    assert artifact.publish().number == first.number
    assert artifact.publish(supersede={TABLE: ["never"]}).number == first.number
    assert rows_in_force(first).keys() == {"a"}


def test_an_empty_artifact_can_be_published(artifact: Artifact) -> None:
    snapshot = artifact.publish()
    assert (snapshot.number, snapshot.rows, snapshot.counts()) == (1, 0, Counts())


def test_keys_in_force_are_not_doubled(artifact: Artifact) -> None:
    artifact.publish(add=[write_part(artifact, ok("a", "b", value=1))])
    snapshot = artifact.publish(add=[write_part(artifact, ok("b", "c", value=2))])
    assert rows_in_force(snapshot) == ok("a", "b", value=1) | ok("c", value=2)
    assert snapshot.rows == 3
    assert snapshot.counts() == Counts(planned=3, ok=3)


def test_superseded_rows_give_way(artifact: Artifact) -> None:
    artifact.publish(add=[write_part(artifact, ok("a", "b", value=1))])
    new = write_part(artifact, {"b": ("quarantined", None), "c": ("salvaged", 2)})
    snapshot = artifact.publish(add=[new], supersede={TABLE: {"b"}, "other": {"a"}})
    assert rows_in_force(snapshot) == {
        "a": ("ok", 1),
        "b": ("quarantined", None),
        "c": ("salvaged", 2),
    }
    assert snapshot.counts(TABLE) == Counts(planned=3, ok=1, salvaged=1, quarantined=1)
    assert snapshot.rows_of(TABLE) == 2
    deleted = artifact.publish(supersede={TABLE: ["a", "b", "c"]})
    assert rows_in_force(deleted) == {}
    assert (deleted.rows, deleted.parts()) == (0, [])
    assert rows_in_force(artifact.at(1)) == ok("a", "b", value=1)


def test_tables_are_published_together_and_apart(artifact: Artifact) -> None:
    videos = write_part(artifact, ok("x"), table="videos")
    captions = write_part(artifact, ok("x", "y"), table="captions")
    snapshot = artifact.publish(add=[videos, captions])
    assert snapshot.tables == ("captions", "videos")
    assert snapshot.counts("videos").planned == 1
    assert snapshot.counts("captions").planned == 2
    dropped = artifact.publish(supersede={"videos": ["x"]})
    assert rows_in_force(dropped, table="captions").keys() == {"x", "y"}


def test_parts_without_inputs_stay_until_replaced(artifact: Artifact) -> None:
    def weights(shard: str) -> str:
        with artifact.new_part(table="weights", shard=shard, suffix=".safetensors") as part:
            part.path.write_text(shard)
            receipt = part.commit(rows=0)
        artifact.publish(add=[receipt])
        return receipt.part

    first, second = weights("1"), weights("2")
    latest = artifact.latest()
    assert latest is not None
    assert [part.part for part in latest.parts()] == [first, second]
    kept = artifact.publish(replace=[first])
    assert [part.part for part in kept.parts()] == [second]
    assert artifact.orphan_receipts() == []


def test_a_replacement_cannot_bring_back_what_was_superseded(artifact: Artifact) -> None:
    old = write_part(artifact, ok("a", "b", value=1))
    artifact.publish(add=[old])
    large = write_part(artifact, ok("a", "b", value=1))  # a compaction reads here …
    artifact.publish(supersede={TABLE: ["a"]})  # … somebody deletes a …
    snapshot = artifact.publish(add=[large], replace=[old.part])  # … and it publishes now
    assert rows_in_force(snapshot) == ok("b", value=1)
    assert snapshot.counts().planned == 1


def test_the_loser_of_a_race_rebases(tmp_path: Path) -> None:
    slow_root = FragileRoot(tmp_path / "store", Machine())
    slow = Artifact.open(slow_root, kind="frames", identity=IDENTITY)
    fast = Artifact.open(LocalRoot(tmp_path / "store"), kind="frames", identity=IDENTITY)
    mine = write_part(slow, ok("a", "b", value=1))
    slow_root.before_snapshot = lambda: keys_of(
        fast.publish(add=[write_part(fast, ok("b", "c", value=2))]).receipts
    )
    snapshot = slow.publish(add=[mine])
    assert snapshot.number == 2
    assert rows_in_force(snapshot) == ok("a", value=1) | ok("b", "c", value=2)


def test_a_part_that_vanished_is_not_published(root: Root, artifact: Artifact) -> None:
    receipt = write_part(artifact, ok("a"))
    root.delete(f"{artifact.folder}/{receipt.part}")
    with pytest.raises(CommitError, match="redo shard 00000"):
        artifact.publish(add=[receipt])
    assert artifact.latest() is None


class Far(LocalRoot):
    """Answers whether a receipt is there when another one is asked after, too."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.copies_limit = 1 << 30
        self.both = threading.Barrier(2, timeout=30)

    def exists(self, path: str) -> bool:
        if "/receipts/" in path:
            self.both.wait()
        return super().exists(path)


def test_what_is_far_away_is_asked_after_side_by_side(tmp_path: Path) -> None:
    root = Far(tmp_path / "store")
    artifact = Artifact.open(root, kind="frames", identity=IDENTITY)
    first, second = write_part(artifact, ok("a")), write_part(artifact, ok("b"), shard="00001")
    snapshot = artifact.publish(add=[first, second])
    assert rows_in_force(snapshot) == ok("a", "b")
    third, fourth = write_part(artifact, ok("c")), write_part(artifact, ok("d"), shard="00003")
    root.delete(f"{artifact.folder}/{fourth.part}")
    with pytest.raises(CommitError, match="redo shard 00003"):
        artifact.publish(add=[third, fourth])
    latest = artifact.latest()
    assert latest is not None and latest.number == snapshot.number


def test_a_receipt_that_its_writer_gave_is_not_read(artifact: Artifact, root: Root) -> None:
    receipt = write_part(artifact, ok("a"))
    assert Artifact.of(artifact.publish(add=[receipt])) is artifact
    artifact.keep(receipt)
    root.delete(f"{artifact.folder}/{receipt.path}")
    assert artifact.receipt(receipt.path) is receipt


# -- orphans ---------------------------------------------------------------------------------


def test_orphans_are_adopted_once(artifact: Artifact) -> None:
    write_part(artifact, ok("a"))
    write_part(artifact, ok("b"))
    orphans = artifact.orphan_receipts()
    assert keys_of(orphans) == {"a", "b"}
    assert rows_in_force(artifact.publish(add=orphans)).keys() == {"a", "b"}
    assert artifact.orphan_receipts() == []


def test_damaged_orphans_are_left_alone(artifact: Artifact, tmp_path: Path) -> None:
    folder = tmp_path / "store" / artifact.folder
    good, flipped, cut, lost, scratched = (write_part(artifact, ok(key)) for key in "abcde")
    flip_bit(folder / flipped.part, 77)
    (folder / cut.part).write_bytes((folder / cut.part).read_bytes()[:-1])
    (folder / lost.part).unlink()
    flip_bit(folder / scratched.path, 77)
    assert artifact.orphan_receipts() == [good]
    unverified = Artifact.open(artifact.root, kind="frames", identity=IDENTITY)
    assert keys_of(unverified.orphan_receipts(verify=False)) == {"a", "b", "c", "d"}


def test_what_was_settled_never_comes_back(artifact: Artifact) -> None:
    """An orphan somebody else's rows made useless is not adopted after those rows are deleted."""
    artifact.publish(add=[write_part(artifact, ok("a", value=1))])
    late = write_part(artifact, ok("a", value=2))
    artifact.publish(add=[late])  # nothing of it counts: a is in force already
    artifact.publish(supersede={TABLE: ["a"]})
    assert artifact.orphan_receipts() == []
    assert rows_in_force(artifact.publish(add=[late])) == {}


# -- reading ---------------------------------------------------------------------------------


def test_a_pinned_snapshot_does_not_move(artifact: Artifact) -> None:
    artifact.publish(add=[write_part(artifact, ok("a", value=1))])
    with artifact.pinned() as pinned:
        artifact.publish(supersede={TABLE: ["a"]}, add=[write_part(artifact, ok("z"))])
        assert rows_in_force(pinned) == ok("a", value=1)
        assert len(artifact.root.list(f"{artifact.folder}/pins")) == 1
    assert artifact.root.list(f"{artifact.folder}/pins") == []


def test_checksums_are_verified_on_first_open(artifact: Artifact, tmp_path: Path) -> None:
    receipt = write_part(artifact, ok("a"))
    artifact.publish(add=[receipt])
    flip_bit(tmp_path / "store" / artifact.folder / receipt.part, 7)
    fresh = Artifact.open(artifact.root, kind="frames", identity=IDENTITY).latest()
    assert fresh is not None
    with pytest.raises(IntegrityError, match="reelvec verify"):
        _ = fresh.parts()[0].path
    flip_bit(tmp_path / "store" / artifact.folder / receipt.path, 7)
    with pytest.raises(IntegrityError):
        _ = fresh.parts()[0].receipt


def test_a_receipt_swapped_for_another_is_noticed(artifact: Artifact, root: Root) -> None:
    one, two = write_part(artifact, ok("a")), write_part(artifact, ok("b"))
    artifact.publish(add=[one, two])
    data = root.read(f"{artifact.folder}/{two.path}")
    root.delete(f"{artifact.folder}/{one.path}")
    root.put_new(f"{artifact.folder}/{one.path}", data)
    snapshot = Artifact.open(root, kind="frames", identity=IDENTITY).latest()
    assert snapshot is not None
    with pytest.raises(IntegrityError, match="not the receipt that was published"):
        _ = snapshot.parts()[0].receipt


def test_a_damaged_snapshot_is_never_read(artifact: Artifact, tmp_path: Path) -> None:
    artifact.publish(add=[write_part(artifact, ok("a"))])
    flip_bit(tmp_path / "store" / layout.snapshot(artifact.folder, 1), 200)
    with pytest.raises(IntegrityError):
        artifact.latest()


def test_a_listing_that_hides_everything_costs_nothing(
    artifact: Artifact, monkeypatch: pytest.MonkeyPatch
) -> None:
    for key in "abc":
        artifact.publish(add=[write_part(artifact, ok(key))])
    monkeypatch.setattr(LocalRoot, "list", lambda self, prefix: [])
    latest = artifact.latest()
    assert latest is not None
    assert latest.number == 3
    assert artifact.numbers() == [1, 2, 3]
    assert artifact.publish(add=[write_part(artifact, ok("d"))]).number == 4


def test_content_decides_the_checksum_not_names_or_order(tmp_path: Path) -> None:
    sums = []
    for number, order in enumerate(("ab", "ba")):
        store = open_root(tmp_path / str(number))
        artifact = Artifact.open(store, kind="frames", identity=IDENTITY)
        for key in order:
            artifact.publish(add=[write_part(artifact, ok(key), shard=key)])
        latest = artifact.latest()
        assert latest is not None
        sums.append(latest.checksum)
    assert sums[0] == sums[1]
    assert artifact.publish(supersede={TABLE: ["a"]}).checksum != sums[0]


def test_snapshots_cross_process_borders(artifact: Artifact) -> None:
    snapshot = artifact.publish(add=[write_part(artifact, ok("a"))])
    again = pickle.loads(pickle.dumps(snapshot))
    assert rows_in_force(again) == rows_in_force(snapshot)
