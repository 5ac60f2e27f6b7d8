"""Files that changed although their size and modification time did not: what is seen, and how."""

import dataclasses
import os
import shutil
import stat
from pathlib import Path
from types import SimpleNamespace

import pyarrow as pa
import pytest

from reelvec.configs import PipelineConfig
from reelvec.configs.schema import SyntheticCorpus
from reelvec.storage.corpora import open_corpus
from reelvec.storage.file_marks import FileMark
from reelvec.storage.records import VIDEO_SCHEMA, Video, records_from_table, records_to_table
from reelvec.storage.video.content import hash_file
from reelvec.tasks.artifacts import Session
from reelvec.tasks.corpus import ingest
from reelvec.tasks.corpus.ingest import plan_ingest, read_corpus
from reelvec.tasks.frames.extract import plan_extract
from reelvec.tasks.runs.plan import plan_pipeline
from tests.support.engine_free import receipts, run_extract, run_ingest

BEFORE = ["inode", "ctime_ns"]


@pytest.fixture(scope="module")
def clips(tmp_path_factory):
    drawn = SyntheticCorpus(videos=3, seconds=0.5, fps=4, size=64)
    listing = open_corpus(drawn, store_dir=tmp_path_factory.mktemp("drawn")).read()
    return [Path(video.path) for video in listing.videos]


@pytest.fixture
def config(tmp_path, clips):
    """Two videos, a and b, ingested."""
    videos = tmp_path / "videos"
    videos.mkdir()
    longest = max(clip.stat().st_size for clip in clips)
    for name, clip in zip("ab", clips, strict=False):
        (videos / f"{name}.mp4").write_bytes(padded(clip, longest))
    config = PipelineConfig.model_validate(
        {
            "store": str(tmp_path / "store"),
            "corpus": {"kind": "folder", "videos": str(videos)},
            "extract": {"size": 64, "sampling": {"rate": 2.0}},
        }
    )
    run_ingest(config)
    run_extract(config)
    return config


def padded(clip, size):
    """The clip and an empty box, so that all have one size."""
    data, room = clip.read_bytes(), size + 8 - clip.stat().st_size
    return data + room.to_bytes(4, "big") + b"free" + bytes(room - 8)


def other_bytes(config, clips):
    """Bytes of another clip, of the size that `a.mp4` has, and that file."""
    path = Path(config.corpus.videos) / "a.mp4"
    return padded(clips[2], path.stat().st_size - 8), path


def written_in_place(path, data):
    with path.open("r+b") as file:
        file.write(data)


def renamed_over(path, data):
    new = path.with_name("new")
    new.write_bytes(data)
    new.replace(path)


def copied_with_times(path, data):
    new = path.with_name("new")
    new.write_bytes(data)
    shutil.copystat(path, new)
    path.unlink()
    shutil.copy2(new, path)
    new.unlink()


def due(config, **session):
    return plan_ingest(Session(config, **session))


def rows(config):
    return {video.video_id: video for video in read_corpus(Session(config)).videos}


def rehash(config):
    session = Session(config, rehash=True)
    plan = plan_ingest(session)
    done = [ingest.ingest_shard(plan.target, s, limits=config.extract) for s in plan.shards]
    ingest.commit_ingest(session, plan, receipts(plan, done))
    return plan


def as_an_earlier_version_wrote_it(config, monkeypatch):
    """The corpus written anew, without inode and ctime."""
    shutil.rmtree(config.store)
    old = pa.schema([field for field in VIDEO_SCHEMA if field.name not in BEFORE])
    with monkeypatch.context() as patch:
        patch.setattr(ingest, "VIDEO_SCHEMA", old)
        run_ingest(config)
    run_extract(config)


@pytest.mark.parametrize("write", [written_in_place, renamed_over, copied_with_times])
def test_other_bytes_of_the_same_size_and_time_are_seen(config, clips, write):
    data, path = other_bytes(config, clips)
    before = path.stat()
    write(path, data)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    after = path.stat()
    assert (after.st_size, after.st_mtime_ns) == (before.st_size, before.st_mtime_ns)
    assert due(config).changed == ["a"]
    run_ingest(config)
    assert rows(config)["a"].content_hash == hash_file(path)
    assert plan_extract(Session(config)).clips == 1
    assert due(config).shards == []


@pytest.mark.parametrize("touch", [lambda p: p.chmod(0o600), lambda p: os.link(p, f"{p}.link")])
def test_a_file_that_only_looks_changed_is_hashed_and_nothing_more(config, touch):
    touch(Path(config.corpus.videos) / "a.mp4")
    assert due(config).changed == ["a"]
    run_ingest(config)
    assert plan_extract(Session(config)).clips == 0
    assert due(config).shards == []


def test_rows_of_earlier_versions_are_as_true_as_they_were(config, monkeypatch, clips):
    """No inode, no ctime: neither hashed again, nor seen where only these tell."""
    as_an_earlier_version_wrote_it(config, monkeypatch)
    assert {(row.inode, row.ctime_ns) for row in rows(config).values()} == {(0, 0)}
    plan = due(config)
    assert (plan.shards, plan.changed, plan.new) == ([], [], 0)
    assert plan_extract(Session(config)).clips == 0
    data, path = other_bytes(config, clips)
    before = path.stat()
    written_in_place(path, data)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert due(config).changed == []
    rehash(config)
    assert rows(config)["a"].content_hash == hash_file(path)
    assert all(row.inode and row.ctime_ns for row in rows(config).values())
    assert due(config).changed == []


def test_rehash_reads_everything_and_redoes_what_differs(config):
    plan = due(config, rehash=True)
    assert (len(plan.changed), len(plan.again), plan.new) == (2, 2, 0)
    work = plan_pipeline(Session(config, rehash=True), stages=["ingest", "extract"])
    assert [(row.why, row.count) for row in work] == [("videos that are hashed again", 2)]
    before = rows(config)
    rehash(config)
    assert rows(config) == before
    assert plan_extract(Session(config)).clips == 0
    assert plan_pipeline(Session(config), stages=["ingest", "extract"]) == []


def test_rehash_believes_no_shard_that_an_interrupted_run_left(config):
    """On a file system without inodes and change times the rows to hash look as they did."""
    first = due(config, rehash=True)
    ingest.ingest_shard(first.target, first.shards[0], limits=config.extract)
    second = due(config, rehash=True)
    assert (len(second.adopted), len(second.shards)) == (0, 1)


@pytest.mark.parametrize(
    ("one", "other", "alike"),
    [
        (FileMark(1, 2, 3, 4), FileMark(1, 2, 3, 4), True),
        (FileMark(1, 2), FileMark(1, 2, 3, 4), True),
        (FileMark(1, 2, 3, 0), FileMark(1, 2, 3, 4), True),
        (FileMark(1, 2, 3, 4), FileMark(1, 2, 3, 5), False),
        (FileMark(1, 2, 3, 4), FileMark(1, 2, 9, 4), False),
        (FileMark(1, 2, 3, 4), FileMark(1, 9, 3, 4), False),
        (FileMark(1, 2), FileMark(9, 2), False),
    ],
)
def test_marks_are_compared_in_what_both_know(one, other, alike):
    assert one.agrees(other) is other.agrees(one) is alike


def test_a_record_reads_rows_written_before_a_field_was():
    video = Video("v", "/v.mp4", inode=3, ctime_ns=4)
    table = records_to_table([video], schema=VIDEO_SCHEMA).drop_columns(BEFORE)
    assert records_from_table(table, record=Video) == [
        dataclasses.replace(video, inode=0, ctime_ns=0)
    ]


def test_an_inode_of_all_64_bits_fits_its_column():
    """As network file systems have; the column is of signed numbers."""
    found = SimpleNamespace(
        st_mode=stat.S_IFREG, st_size=1, st_mtime_ns=2, st_ino=2**64 - 1, st_ctime_ns=3
    )
    video = Video("a", "a.mp4", **dataclasses.asdict(FileMark.of(found)))
    (back,) = records_from_table(records_to_table([video], schema=VIDEO_SCHEMA), record=Video)
    assert back.mark == FileMark.of(found)
