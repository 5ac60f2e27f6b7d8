"""A store that grows by one video a night, a hundred nights long, beside a twin left alone."""

import tempfile
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pytest

from reelvec.configs import PipelineConfig
from reelvec.configs.schema import CompactionConfig, FolderCorpus
from reelvec.storage.commits.artifact import Artifact
from reelvec.storage.errors import MissingArtifactError, StoreError
from reelvec.storage.frames.contract import ClipFrames
from reelvec.storage.frames.formats import SUFFIXES, open_writer
from reelvec.storage.frames.reader import FrameReader
from reelvec.storage.records import (
    CAPTION_SCHEMA,
    VIDEO_SCHEMA,
    Caption,
    Outcome,
    records_to_table,
)
from reelvec.storage.roots import open_root
from reelvec.storage.tables import read_table
from reelvec.storage.upkeep.garbage import GcOptions, gc
from reelvec.storage.upkeep.verify import verify_store
from reelvec.tasks.artifacts import Session
from reelvec.tasks.corpus.ingest import key_of
from reelvec.tasks.upkeep import compact as compacting
from reelvec.tasks.upkeep.compact import compact_run, compact_store
from tests.support.small_store import column, commit, unit, video

WEIGHTS = "ab" * 16
SIZE = 16
LEAST = CompactionConfig().least_parts
NOW = GcOptions(keep_snapshots=1, min_age_seconds=0.0)


@pytest.fixture(autouse=True)
def _trained(monkeypatch):
    trained = SimpleNamespace(weights_hash=WEIGHTS)
    monkeypatch.setattr(compacting, "find_trained", lambda session: trained)


@pytest.fixture
def place():
    """In memory where there is such a place: a hundred nights are thousands of syncs."""
    fast = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=fast if fast.is_dir() else None) as folder:
        yield Path(folder)


def config_at(store, **options):
    return PipelineConfig(store=str(store), corpus=FolderCorpus(videos="/videos"), **options)


def artifacts_of(config):
    session = Session(config)
    return [session.corpus, session.frames, session.embeddings(weights_hash=WEIGHTS)]


def add_videos(config, numbers, *, again=()):
    """What is written for new videos: a part of each table for each; `again`: rows they replace."""
    corpus, frames, embeddings = artifacts_of(config)
    listed, vectors, receipts = [], [], []
    for number in numbers:
        one, caption = video(number), Caption(f"c{number:03d}", f"v{number:03d}", f"text {number}")
        listed += [
            part_of("videos", records_to_table([one], schema=VIDEO_SCHEMA), number),
            part_of("captions", records_to_table([caption], schema=CAPTION_SCHEMA), number),
        ]
        rows = unit(np.random.default_rng(number), 2)
        for table, name, row in (
            ("videos", one.video_id, rows[0]),
            ("captions", caption.caption_id, rows[1]),
        ):
            data = pa.table({"id": [name], "embedding": column([row], np.float32)})
            vectors.append(part_of(table, data, number))
        receipts.append(add_frames(frames, one, number, format=config.extract.format))
    replaced = {"videos": [f"v{n:03d}" for n in again], "captions": [f"c{n:03d}" for n in again]}
    commit(corpus, listed, supersede=replaced)
    commit(embeddings, vectors, supersede=replaced)
    frames.publish(add=receipts)


def part_of(table, rows, number):
    return table, rows, [Outcome(rows[0][0].as_py())], f"s{number}"


def add_frames(artifact, one, number, *, format):
    pictures = np.full((2, SIZE, SIZE, 3), number, np.uint8)
    clip = ClipFrames(key_of(one), pictures, np.arange(2) * 0.5, np.arange(2))
    with artifact.new_part(table="frames", shard=f"s{number}", suffix=SUFFIXES[format]) as part:
        with open_writer(part.path, format=format, payload="raw", size=SIZE) as writer:
            writer.add(clip)
        return part.commit(rows=1, schema="raw", outcomes=[Outcome(clip.clip_key)])


def most_parts(config):
    """Of any table."""
    snapshots = [artifact.latest() for artifact in artifacts_of(config)]
    return max(len(s.parts(table)) for s in snapshots if s for table in s.tables)


def contents(config):
    """All rows in their order, all ledgers, and every frame."""
    corpus, frames, embeddings = (artifact.latest() for artifact in artifacts_of(config))
    tables = {
        (kind, table): (read_table(snapshot, table), list(snapshot.outcomes(table)))
        for kind, snapshot in (("corpus", corpus), ("embeddings", embeddings))
        for table in ("videos", "captions")
    }
    reader = FrameReader(frames)
    pictures = {
        key: (reader.frames(key).tobytes(), reader.pts(key).tobytes()) for key in reader.keys
    }
    reader.close()
    return tables, list(pictures.items()), list(frames.outcomes("frames"))


@pytest.mark.parametrize(("format", "nights"), [("arrow", 100), ("hdf5", 20)])
def test_a_hundred_nights_leave_few_parts_and_the_same_rows(place, format, nights):
    ours, twin = (config_at(place / n, extract={"format": format}) for n in ("ours", "twin"))
    most = 0
    for night in range(nights):
        compact_run(Session(ours))
        add_videos(ours, [night], again=[night - 5] if night % 10 == 9 else [])
        most = max(most, most_parts(ours))
    for night in range(0, nights, 10):  # what the nights add, without the nights
        add_videos(twin, range(night, night + 9))
        add_videos(twin, [night + 9], again=[night + 4])
    assert most == LEAST < most_parts(twin)
    assert contents(ours) == contents(twin)
    for artifact in artifacts_of(ours):
        parts = artifact.root.list(f"{artifact.folder}/parts")
        assert len(parts) > nights  # the old ones are there until gc has been
    gc(open_root(ours.store), options=NOW)
    for artifact in artifacts_of(ours):
        parts = artifact.root.list(f"{artifact.folder}/parts")
        assert len(parts) == len(artifact.latest().entries)
    assert verify_store(open_root(ours.store)) == []
    assert contents(ours) == contents(twin)


def test_one_night_rewrites_no_more_than_the_limit(place):
    grown = config_at(place / "s")
    add_videos(grown, range(LEAST))
    whole = sum(a.latest().bytes for a in artifacts_of(grown))
    assert compact_run(Session(config_at(place / "s", compaction={"limit_mb": 0}))) == []
    small = config_at(place / "s", compaction={"least_parts": 2, "limit_mb": 0.03})
    done = compact_run(Session(small))
    assert done
    assert all(0 < one.bytes <= 0.03 * 2**20 for one in done)
    assert sum(one.bytes for one in done) < whole
    before = most_parts(small)
    while compact_run(Session(small)):
        continue
    assert most_parts(small) < before


def test_fewer_than_the_least_wait(place):
    config = config_at(place / "s")
    add_videos(config, range(LEAST - 1))
    assert compact_run(Session(config)) == []
    add_videos(config, [LEAST])
    assert {one.kind for one in compact_run(Session(config))} == {"corpus", "frames", "embeddings"}


def test_a_person_chooses_what_is_compacted(place):
    config = config_at(place / "s")
    add_videos(config, range(3))
    frames = Session(config).frames
    (one,) = compact_store(config.store, identity=frames.fingerprint[:8], dry_run=True)
    assert (one.kind, one.parts_before, one.parts_after, one.snapshot) == ("frames", 3, 1, 1)
    assert frames.latest().number == 1
    (one,) = compact_store(config.store, kind="embeddings")
    assert (one.kind, one.parts_before, one.parts_after, one.snapshot) == ("embeddings", 6, 2, 2)
    assert {one.kind for one in compact_store(config.store)} == {"corpus", "frames"}
    assert compact_store(config.store) == []
    with pytest.raises(MissingArtifactError, match="no identity in the store"):
        compact_store(config.store, identity="0" * 8)
    with pytest.raises(StoreError, match="hex digits"):
        compact_store(config.store, identity="frames")


def test_what_does_not_grow_is_left_alone(place):
    root = open_root(place)
    other = Artifact.open(root, kind="evaluation", identity={"a": 1})
    for number in range(3):
        commit(other, [("rows", pa.table({"k": [f"{number}"]}), [Outcome(f"{number}")], "all")])
    assert compact_store(str(place)) == []
