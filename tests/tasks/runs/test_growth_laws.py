"""How often a store of many parts is asked: a publication and a shard ask for what is theirs."""

import gc
import threading
import time
import weakref
from collections import Counter
from pathlib import Path

import pytest

from reelvec.configs.schema import CompactionConfig
from reelvec.storage.at_once import at_once
from reelvec.storage.commits import ledgers
from reelvec.storage.commits.artifact import Artifact
from reelvec.storage.frames.reader import parts_with
from reelvec.storage.places.local import LocalRoot
from reelvec.storage.records import Outcome
from reelvec.storage.upkeep import garbage
from reelvec.storage.upkeep.compaction import plan_compaction
from reelvec.storage.upkeep.erasing import Erasure, Holder
from reelvec.storage.upkeep.garbage import GcOptions
from reelvec.storage.upkeep.repair import repair_store
from reelvec.storage.upkeep.verify import verify_store
from reelvec.tasks.artifacts import SnapshotRef
from reelvec.tasks.corpus.clips import ClipOutcomes, clip_outcomes
from reelvec.tasks.embedding.reading import frames_of_clips
from reelvec.tasks.shards import PartContents, Shard, run_shard, split_finished
from tests.support.counting_root import counted_calls
from tests.support.hasty_root import HastyRoot

PARTS = (60, 120, 240)


def write_part(artifact, keys, *, shard="0"):
    with artifact.new_part(table="frames", shard=shard, suffix=".arrow") as part:
        part.path.write_bytes(b"not read")
        return part.commit(rows=len(keys), outcomes=list(map(Outcome, keys)))


@pytest.fixture(scope="module")
def stores(tmp_path_factory):
    """Parts of two clips each: folders of 60, 120 and 240 of them, by their number."""
    folders = {}
    for parts in PARTS:
        folders[parts] = tmp_path_factory.mktemp("parts")
        artifact = Artifact.open(
            HastyRoot(folders[parts]), kind="frames", identity={"of": "a test"}
        )
        artifact.publish(
            add=[write_part(artifact, [f"{n}a", f"{n}b"], shard=str(n)) for n in range(parts)]
        )
    return folders


def opened(folder):
    return Artifact.open(LocalRoot(folder), kind="frames", identity={"of": "a test"})


def asked(monkeypatch, stores, work):
    """Calls of the store that `work` makes beside those of its preparation, by number of parts."""
    calls = {}
    for parts, folder in stores.items():
        act = work(opened(folder))
        with counted_calls(monkeypatch) as counted:
            act()
        calls[parts] = counted
    return calls


def test_a_publication_after_a_plan_reads_no_receipt_but_those_it_changes(monkeypatch, stores):
    def after_a_plan(artifact):
        ClipOutcomes(artifact.latest())
        receipt = write_part(artifact, ["new", "3a"])
        return lambda: artifact.publish(add=[receipt], supersede={"frames": ["3a"]})

    calls = asked(monkeypatch, stores, after_a_plan)
    totals = {parts: counted.total() for parts, counted in calls.items()}
    assert totals[240] == totals[120] == totals[60]
    for counted in calls.values():
        read = [path for verb, path in counted if verb == "read" and "/receipts/" in path]
        assert len(read) <= 1, "the receipt of the part that loses a row"


def test_all_plans_of_a_run_read_the_ledger_of_its_clips_once(monkeypatch, stores):
    monkeypatch.setattr(ledgers, "_KEPT_ROWS", 0)  # as in a ledger of many rows

    def of_one_snapshot(artifact):
        snapshot = artifact.latest()
        return lambda: [clip_outcomes(snapshot).places(["7a"]) for _ in range(3)]

    for parts, counted in asked(monkeypatch, stores, of_one_snapshot).items():
        assert counted.total() >= parts
        assert set(counted.values()) == {1}


def test_what_was_read_of_a_snapshot_is_forgotten_with_it(stores):
    snapshot = opened(stores[60]).latest()
    known = weakref.ref(clip_outcomes(snapshot))
    del snapshot
    gc.collect()
    assert known() is None


def test_a_part_that_is_published_is_asked_for_twice(monkeypatch, tmp_path):
    artifact, asked_for = opened(tmp_path), []
    artifact.publish(add=[write_part(artifact, ["the first one"])])
    for parts in (1, 3):
        receipts = [write_part(artifact, [f"{parts} and {n}"]) for n in range(parts)]
        with counted_calls(monkeypatch) as counted:
            artifact.publish(add=receipts)
        asked_for.append(counted.total())
    assert asked_for[1] - asked_for[0] == 2 * 2  # its receipt, and its size


def test_a_publication_out_of_nowhere_reads_each_receipt_once(monkeypatch, stores):
    def unprepared(artifact):
        receipts = [write_part(artifact, [f"{artifact.root.uri}-{n}"]) for n in range(2)]
        return lambda: [artifact.publish(add=[receipt]) for receipt in receipts]

    for parts, counted in asked(monkeypatch, stores, unprepared).items():
        read = [n for (verb, path), n in counted.items() if verb == "read" and "receipts" in path]
        assert parts <= sum(read) <= parts + 2


def test_a_shard_opens_frames_without_a_look_at_the_others(monkeypatch, stores):
    def of_two_parts(artifact):
        snapshot = artifact.latest()
        part_of = parts_with(snapshot, {"1a", "2b", "nobody"})
        assert part_of.keys() == {"1a", "2b"}
        ref = SnapshotRef.to(snapshot)
        return lambda: frames_of_clips(ref, part_of={**part_of, "nobody": None}).keys

    calls = asked(monkeypatch, stores, of_two_parts)
    assert {counted.total() for counted in calls.values()} == {calls[60].total()}
    for counted in calls.values():
        assert not [path for verb, path in counted if verb == "list" or "snapshots" in path]


def test_shards_in_a_row_look_once_for_what_was_begun(monkeypatch, stores):
    monkeypatch.setattr(time, "monotonic", lambda: 7.0)  # the listing is as fresh as ever

    def many_shards(artifact):
        shards = [Shard("frames", f"s{n}", (1,)) for n in range(4)]
        return lambda: [run_one(artifact, shard) for shard in [*shards, shards[0]]]

    for counted in asked(monkeypatch, stores, many_shards).values():
        listed = [
            n for (verb, path), n in counted.items() if (verb, path[-8:]) == ("list", "receipts")
        ]
        assert sum(listed) == 2, "one for all, and one for that which is there already"


def run_one(artifact, shard):
    def write(path):
        path.write_bytes(b"a part")
        return PartContents(rows=1, schema="", outcomes=(Outcome(shard.name),))

    return run_shard(artifact, shard, suffix=".arrow", write=write)


def test_a_shard_that_is_there_is_not_done_again(stores):
    artifact = opened(stores[60])
    shard = Shard("frames", "once", (1,))
    first = run_one(artifact, shard)
    assert run_one(opened(stores[60]), shard).part == first.part


def left_behind(folder, *, shards):
    """An artifact with a part of each shard that nobody has published."""
    artifact = Artifact.open(HastyRoot(folder), kind="frames", identity={"of": "a test"})
    for number in range(shards):
        write_part(artifact, [f"{number}a", f"{number}b"], shard=f"s{number}")
    return opened(folder)


def test_a_plan_reads_what_was_left_of_its_own_shards_and_no_more(monkeypatch, tmp_path):
    calls = {}
    for number in (5, 50):
        artifact = left_behind(tmp_path / str(number), shards=number)
        shards = [Shard("frames", name, (1,)) for name in ("s1", "s3", "s77")]
        with counted_calls(monkeypatch) as counted:
            adopted, todo = split_finished(artifact, shards)
        assert [one.shard for one in adopted] == ["s1", "s3"]
        assert [one.name for one in todo] == ["s77"]
        calls[number] = counted.total()
        read = [path for verb, path in counted if verb == "read" and "/receipts/" in path]
        assert len(read) == 2
    assert calls[5] == calls[50]


class FarRoot(LocalRoot):
    """Answers a receipt once so many are asked for, as a store does that is far away."""

    def __init__(self, folder):
        super().__init__(folder)
        self.copies_limit, self.waiting = 1, None

    def read(self, path):
        if self.waiting is not None and "/receipts/" in path:
            self.waiting.wait(timeout=20)
        return super().read(path)

    def read_into(self, path, *, start, out):
        if self.waiting is not None and "/parts/" in path:
            self.waiting.wait(timeout=20)
        return super().read_into(path, start=start, out=out)

    def age_seconds(self, path):
        if self.waiting is not None and "/parts/" in path:
            self.waiting.wait(timeout=20)
        return super().age_seconds(path)


@pytest.mark.parametrize("ask", ["orphans", "keys", "clips", "merges", "erasure"])
def test_receipts_of_a_far_store_are_read_some_at_once_and_in_their_order(
    monkeypatch, tmp_path, ask
):
    monkeypatch.setattr(ledgers, "_KEPT_ROWS", 0)
    left = left_behind(tmp_path, shards=8).orphan_receipts()
    if ask != "orphans":
        opened(tmp_path).publish(add=left)
    root = FarRoot(tmp_path)
    root.waiting = threading.Barrier(4)  # two times four of eight
    artifact = Artifact.open(root, kind="frames", identity={"of": "a test"})
    if ask == "orphans":
        assert artifact.orphan_receipts() == left
    elif ask == "keys":
        entries = artifact.latest().entries
        assert artifact.keys.holding(entries, ["3a", "6b"]) == [entries[3], entries[6]]
    elif ask == "clips":
        known = ClipOutcomes(artifact.latest())
        assert known.places(["0a", "7b", "nobody"]).tolist() == [0, 7, -1]
    elif ask == "merges":
        (merge,) = plan_compaction(artifact.latest())
        assert [part.entry for part in merge.parts] == list(artifact.latest().entries)
    else:
        hits = Erasure(holder=Holder(artifact), keys={"frames": frozenset({"3a", "6b"})}).hits
        assert sorted(hits.values(), key=sorted) == [{"3a"}, {"6b"}]


def test_gc_asks_a_far_store_after_many_files_at_once(tmp_path):
    artifact = opened(tmp_path)
    artifact.publish(add=left_behind(tmp_path, shards=8).orphan_receipts())
    artifact.publish(replace=[entry.part for entry in artifact.latest().entries])
    expected = garbage.gc(LocalRoot(tmp_path), options=GcOptions(1, 0.0, dry_run=True))
    assert [len(one.files) for one in expected] == [16]
    root = FarRoot(tmp_path)
    root.waiting = threading.Barrier(4)
    assert garbage.gc(root, options=GcOptions(1, 0.0)) == expected
    assert opened(tmp_path).root.list("frames") and not left_in(tmp_path, "parts")


def test_a_far_store_is_verified_some_parts_at_once_and_in_their_order(tmp_path):
    artifact = opened(tmp_path)
    receipts = left_behind(tmp_path, shards=8).orphan_receipts()
    artifact.publish(add=receipts[:4])  # four are published, four are not
    for receipt in receipts[1:6:2]:
        (tmp_path / artifact.folder / receipt.part).write_bytes(b"not reac")
    expected = verify_store(LocalRoot(tmp_path))
    assert [Path(damage.part).name for damage in expected if damage.keys] == [
        Path(receipt.part).name for receipt in (receipts[1], receipts[3])
    ]
    root = FarRoot(tmp_path)
    root.waiting = threading.Barrier(2)
    assert verify_store(root) == expected


def left_in(folder, kind):
    artifact = opened(folder)
    return artifact.root.list(f"{artifact.folder}/{kind}")


def test_parts_that_are_too_few_to_merge_are_not_looked_into(monkeypatch, tmp_path):
    options = CompactionConfig(least_parts=16)
    for parts, reads in ((15, 0), (16, 16)):
        folder = tmp_path / str(parts)
        opened(folder).publish(add=left_behind(folder, shards=parts).orphan_receipts())
        snapshot = opened(folder).latest()
        with counted_calls(monkeypatch) as counted:
            merges = plan_compaction(snapshot, options=options)
        assert (len(merges), counted.total()) == (bool(reads), reads)


def test_a_repair_that_finds_nothing_reads_every_part_once(monkeypatch, stores):
    root = LocalRoot(stores[60])
    with counted_calls(monkeypatch) as counted:
        assert repair_store(root) == []
    read = Counter(verb for verb, path in counted.elements() if "/parts/" in path)
    assert (
        read["read_into"]
        == read.total()
        == len(opened(stores[60]).root.list(f"{opened(stores[60]).folder}/parts"))
    )


def test_what_is_asked_at_once_waits_in_bounded_numbers_and_fails_in_its_place(tmp_path):
    asked = []

    def ask(number):
        asked.append(number)
        if number == 40:
            raise ValueError("the fortieth")
        return number

    answers = at_once(FarRoot(tmp_path), ask, iter(range(1000)))
    assert [next(answers) for _ in range(40)] == list(range(40))
    with pytest.raises(ValueError, match="fortieth"):
        next(answers)
    assert len(asked) <= 40 + 1 + 32
    assert list(at_once(LocalRoot(tmp_path), str, range(3))) == ["0", "1", "2"]
