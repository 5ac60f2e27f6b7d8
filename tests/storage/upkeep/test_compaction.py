from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from reelvec.configs.schema import CompactionConfig
from reelvec.storage import tables
from reelvec.storage.commits.artifact import Artifact
from reelvec.storage.errors import IntegrityError, StoreError
from reelvec.storage.frames.contract import ClipFrames, Payload
from reelvec.storage.frames.formats import SUFFIXES, Format, open_writer
from reelvec.storage.frames.reader import FrameReader
from reelvec.storage.records import Outcome
from reelvec.storage.roots import open_root
from reelvec.storage.tables import write_table
from reelvec.storage.upkeep.compaction import EVERYTHING, compact, plan_compaction
from reelvec.storage.upkeep.verify import verify_artifact
from tests.storage.commits.contracts import (
    TABLE,
    Row,
    flip_bit,
    ok,
    rows_in_force,
    up_to,
    write_part,
)
from tests.storage.frames.contracts import SIZE, make_clips


@pytest.fixture
def artifact(tmp_path: Path) -> Artifact:
    return Artifact.open(open_root(tmp_path), kind="embeddings", identity={"a": 1})


def test_nothing_to_do(artifact: Artifact) -> None:
    assert compact(artifact) is None
    artifact.publish(add=[write_part(artifact, ok("a"))])
    same = compact(artifact)
    assert same is not None
    assert same.number == 1


@settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    parts=st.lists(
        st.dictionaries(
            st.sampled_from("abcdefghij"),
            st.sampled_from([("ok", 1), ("salvaged", 2), ("quarantined", None)]),
            min_size=1,
        ),
        min_size=1,
        max_size=6,
    ),
    target=st.sampled_from([1, 900, 2500, 1 << 20]),
)
def test_readers_see_the_same_rows(
    tmp_path_factory: pytest.TempPathFactory, parts: list[dict[str, Row]], target: int
) -> None:
    root = open_root(tmp_path_factory.mktemp("s"))
    artifact = Artifact.open(root, kind="embeddings", identity={"a": 1})
    for number, rows in enumerate(parts):
        add = [write_part(artifact, rows), write_part(artifact, ok(f"c{number}"), table="captions")]
        before = artifact.publish(add=add, supersede={TABLE: rows})
    after = compact(artifact, options=up_to(target))
    assert after is not None
    for table in (TABLE, "captions"):
        assert rows_in_force(after, table=table) == rows_in_force(before, table=table)
        assert after.live(table) == before.live(table)
        assert after.counts(table) == before.counts(table)
    assert after.rows == before.rows
    assert all(not entry.dropped for entry in after.entries)
    if target == 1 << 20:
        assert len(after.entries) == 2
    assert verify_artifact(artifact) == []
    assert artifact.orphan_receipts() == []
    again = compact(artifact, options=up_to(target))
    assert again is not None
    assert rows_in_force(again) == rows_in_force(before)


def grow(artifact: Artifact, *sizes: int, table: str = TABLE) -> int:
    """Parts of so many rows each, keys counted up; the bytes of the largest."""
    first = sum(snapshot.rows for snapshot in [artifact.latest()] if snapshot)
    receipts = []
    for size in sizes:
        keys = [f"k{first + n:05d}" for n in range(size)]
        receipts.append(write_part(artifact, ok(*keys), table=table))
        first += size
    artifact.publish(add=receipts)
    return max(receipt.bytes for receipt in receipts)


def keys_in_order(artifact: Artifact) -> list[str]:
    snapshot = artifact.latest()
    return [row.key for row in snapshot.outcomes(TABLE)] if snapshot else []


def test_merged_parts_stand_where_the_old_ones_stood(artifact: Artifact) -> None:
    large = grow(artifact, 1, 2, 5000, 1, 1, 5000, 1)
    before = keys_in_order(artifact)
    after = compact(artifact, options=up_to(large // 2))
    assert after is not None
    assert [entry.rows for entry in after.entries] == [3, 5000, 2, 5000, 1]
    assert keys_in_order(artifact) == before


def test_large_and_few_parts_are_left_to_another_night(artifact: Artifact) -> None:
    large = grow(artifact, *[1] * 7, 5000, *[1] * 5)
    options = up_to(large // 2).model_copy(update={"least_parts": 6, "superseded": 0.5})
    after = compact(artifact, options=options)
    assert after is not None
    assert [entry.rows for entry in after.entries] == [7, 5000, *[1] * 5]
    same = compact(artifact, options=options)
    assert same is not None
    assert same.number == after.number


def test_a_part_is_written_anew_once_most_of_it_is_superseded(artifact: Artifact) -> None:
    options = CompactionConfig(superseded=0.5, small_mb=1e-6)
    grow(artifact, 10, 10)
    keys = keys_in_order(artifact)
    artifact.publish(supersede={TABLE: keys[:5]})
    snapshot = artifact.latest()
    assert snapshot is not None
    assert plan_compaction(snapshot, options=options) == []
    artifact.publish(supersede={TABLE: keys[5:6]})
    after = compact(artifact, options=options)
    assert after is not None
    assert [(e.rows, len(e.dropped)) for e in after.entries] == [(4, 0), (10, 0)]
    assert keys_in_order(artifact) == keys[6:]


def test_no_more_than_the_limit_is_read(artifact: Artifact) -> None:
    for table in ("a", "b", "c"):
        grow(artifact, 1, 1, table=table)
    snapshot = artifact.latest()
    assert snapshot is not None
    pair = snapshot.bytes // 3
    options = EVERYTHING.model_copy(update={"limit_mb": 2.5 * pair / 2**20})
    assert len(plan_compaction(snapshot)) == 3
    assert [m.parts[0].entry.table for m in plan_compaction(snapshot, options=options)] == [
        "a",
        "b",
    ]
    nothing = options.model_copy(update={"limit_mb": 0.0})
    assert plan_compaction(snapshot, options=nothing) == []


@pytest.mark.parametrize("format", ["arrow", "hdf5"])
@pytest.mark.parametrize("payload", ["raw", "jpeg"])
def test_frames_are_copied_as_they_are_stored(
    artifact: Artifact, format: Format, payload: Payload
) -> None:
    expected: dict[str, np.ndarray] = {}
    for number in range(4):
        clips = [*make_clips([2, 3], seed=number), make_clips([number + 1], seed=99)[0]]
        suffix = SUFFIXES[format]
        with artifact.new_part(table="frames", shard=str(number), suffix=suffix) as part:
            with open_writer(part.path, format=format, payload=payload, size=SIZE) as writer:
                for clip in clips:
                    writer.add(clip)
            outcomes = [
                *(Outcome(clip.clip_key) for clip in clips),
                Outcome(f"q{number}", "quarantined"),
            ]
            receipt = part.commit(rows=3, outcomes=outcomes)
        snapshot = artifact.publish(add=[receipt], supersede={"frames": receipt.keys})
    reader = FrameReader(snapshot)
    expected = {key: reader.frames(key).copy() for key in reader.keys}
    after = compact(artifact)
    assert after is not None
    assert len(after.entries) == 1
    assert after.counts() == snapshot.counts()
    reader = FrameReader(after)
    assert set(reader.keys) == set(expected)
    for key, frames in expected.items():
        np.testing.assert_array_equal(reader.frames(key), frames)
    assert verify_artifact(artifact) == []


def test_the_same_parts_compact_to_the_same_bytes(tmp_path: Path) -> None:
    sums = []
    for name in ("one", "two"):
        artifact = Artifact.open(open_root(tmp_path / name), kind="corpus", identity={"a": 1})
        for key in "abc":
            artifact.publish(add=[write_part(artifact, ok(key))])
        after = compact(artifact)
        assert after is not None
        sums.append(after.checksum)
    assert sums[0] == sums[1]


def test_what_somebody_supersedes_meanwhile_stays_superseded(
    artifact: Artifact, monkeypatch: pytest.MonkeyPatch
) -> None:
    for key in "abc":
        artifact.publish(add=[write_part(artifact, ok(key, value=1))])
    from reelvec.storage.upkeep import compaction

    real = compaction.copy_parts

    def meanwhile(*args, **options):
        receipt = real(*args, **options)
        new = write_part(artifact, ok("a", value=2))
        artifact.publish(add=[new], supersede={TABLE: ["a", "b"]})
        return receipt

    monkeypatch.setattr(compaction, "copy_parts", meanwhile)
    after = compact(artifact)
    assert rows_in_force(after) == ok("a", value=2) | ok("c", value=1)


def test_a_killed_compaction_is_never_adopted(
    artifact: Artifact, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its part lists keys that may be deleted before anybody looks for orphans."""
    for key in "ab":
        artifact.publish(add=[write_part(artifact, ok(key, value=1))])

    def killed(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Artifact, "publish", killed)
        with pytest.raises(KeyboardInterrupt):
            compact(artifact)
    artifact.publish(supersede={TABLE: ["a"]})
    assert artifact.orphan_receipts() == []


def test_damage_stops_it_before_anything_is_published(artifact: Artifact, tmp_path: Path) -> None:
    receipts = [write_part(artifact, ok(key)) for key in "ab"]
    artifact.publish(add=receipts)
    flip_bit(tmp_path / artifact.folder / receipts[1].part, 50)
    fresh = Artifact.find(artifact.root, kind="embeddings", fingerprint=artifact.fingerprint)
    with pytest.raises(IntegrityError):
        compact(fresh)
    latest = artifact.latest()
    assert latest is not None
    assert latest.number == 1
    assert artifact.root.list(".scratch") == []


def test_parts_of_a_type_nobody_can_merge_are_named(artifact: Artifact) -> None:
    for key in "ab":
        with artifact.new_part(table="t", shard="0", suffix=".bin") as part:
            part.path.write_bytes(b"x")
            receipt = part.commit(rows=1, outcomes=[Outcome(key)])
        artifact.publish(add=[receipt])
    with pytest.raises(StoreError, match=r"\.bin cannot be copied"):
        compact(artifact)


def test_parts_with_rows_that_are_not_finite_are_left_alone(
    artifact: Artifact, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only stores of before such rows were refused have them; no night ends for that."""
    receipts = []
    with monkeypatch.context() as before:
        before.setattr(tables, "check_finite", lambda _: None)
        for key, value in (("a", 1.0), ("b", float("nan"))):
            column = pa.FixedSizeListArray.from_arrays(pa.array([value, 0.0], pa.float32()), 2)
            with artifact.new_part(table=TABLE, shard=key, suffix=".parquet") as part:
                write_table(part.path, pa.table({"key": [key], "v": column}), metadata={})
                receipts.append(part.commit(rows=1, outcomes=[Outcome(key)]))
    snapshot = artifact.publish(add=receipts)
    same = compact(artifact)
    assert same is not None and same.number == snapshot.number
    assert keys_in_order(artifact) == ["a", "b"]
    assert len(artifact.root.list(f"{artifact.folder}/parts")) == 2


@pytest.mark.slow
def test_memory_does_not_grow_with_the_parts(artifact: Artifact) -> None:
    """190 MB of frames and 200 MB of rows, compacted with 60 MB of Arrow's memory more."""
    size = 224
    frames = np.zeros((64, size, size, 3), np.uint8)
    times, indices = np.arange(64.0), np.arange(64)
    receipts = []
    for number in range(20):
        clip = ClipFrames(f"k{number}", frames + number, times, indices)
        with artifact.new_part(table="frames", shard="0", suffix=".arrow") as part:
            with open_writer(part.path, format="arrow", payload="raw", size=size) as writer:
                writer.add(clip)
            receipts.append(part.commit(rows=1, outcomes=[Outcome(clip.clip_key)]))
    for number in range(20):
        keys = [f"{number}-{row}" for row in range(5000)]
        values = np.random.default_rng(number).random(5000 * 512, np.float32)
        table = pa.table({"k": keys, "e": pa.FixedSizeListArray.from_arrays(pa.array(values), 512)})
        with artifact.new_part(table="rows", shard="0", suffix=".parquet") as part:
            write_table(part.path, table, metadata={})
            receipts.append(part.commit(rows=5000, outcomes=[Outcome(key) for key in keys]))
    artifact.publish(add=receipts)
    del table, values, frames
    start = pa.default_memory_pool().max_memory()
    after = compact(artifact, options=up_to(1 << 30))
    assert after is not None
    assert len(after.entries) == 2
    assert pa.default_memory_pool().max_memory() - start < 60 << 20
