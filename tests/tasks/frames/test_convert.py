"""Frames in another format: the same frames, the same ledger, the artifact extraction makes."""

import tracemalloc

import numpy as np
import pytest
import xxhash

from reelvec.configs import PipelineConfig
from reelvec.configs.schema import ExtractConfig, SyntheticCorpus
from reelvec.storage.commits.artifact import Artifact
from reelvec.storage.errors import IntegrityError, MissingArtifactError, StoreError
from reelvec.storage.frames import jpeg
from reelvec.storage.frames.formats import SUFFIXES, open_writer
from reelvec.storage.frames.reader import FrameReader
from reelvec.storage.records import Outcome
from reelvec.storage.roots import open_root
from reelvec.storage.runs import RunRecord, write_run
from reelvec.storage.upkeep.verify import verify_store
from reelvec.tasks.frames.convert import convert_frames
from reelvec.tasks.identity import frames_identity
from tests.storage.commits.contracts import flip_bit
from tests.storage.frames.contracts import make_clips
from tests.support.engine_free import run_extract, run_ingest

SIZE = 32


def artifact_of(store, **extract):
    identity = frames_identity(ExtractConfig(size=SIZE, **extract))
    return Artifact.open(open_root(store), kind="frames", identity=identity)


def add(artifact, clips, *, shard, failed=()):
    """A part as extraction writes it."""
    settings = artifact.identity["settings"]
    form = settings["format"]
    with artifact.new_part(table="frames", shard=shard, suffix=SUFFIXES[form]) as part:
        with open_writer(
            part.path, format=form, payload=settings["payload"], size=settings["size"]
        ) as writer:
            for clip in clips:
                writer.add(clip)
        outcomes = [Outcome(clip.clip_key, attempts=1) for clip in clips]
        outcomes += [Outcome(key, "quarantined", "timeout", attempts=2) for key in failed]
        return part.commit(rows=len(clips), outcomes=outcomes)


def make(store, **extract):
    """Three parts, one clip of which is superseded by a later part, and two failed ones."""
    artifact = artifact_of(store, **extract)
    one, two = make_clips([5, 2, 9], seed=1, size=SIZE), make_clips([1, 4], seed=2, size=SIZE)
    artifact.publish(add=[add(artifact, one, shard="0", failed=["bad-1"])])
    again = [one[1], *two]
    return artifact.publish(
        add=[add(artifact, again, shard="1"), add(artifact, [], shard="2", failed=["bad-2"])],
        supersede={"frames": [one[1].clip_key]},
    )


def content(snapshot):
    """Checksum of the frames, times and indices of each clip, by the obvious way."""
    reader = FrameReader(snapshot)
    return {
        key: xxhash.xxh3_128_hexdigest(
            b"".join(
                np.ascontiguousarray(part).tobytes()
                for part in (reader.frames(key), reader.pts(key), reader.frame_index(key))
            )
        )
        for key in reader.keys
    }


@pytest.mark.parametrize(("here", "there"), [("arrow", "hdf5"), ("hdf5", "arrow")])
@pytest.mark.parametrize("payload", ["raw", "jpeg"])
def test_every_frame_and_ledger_row_is_there(tmp_path, here, there, payload):
    source = make(tmp_path, format=here, payload=payload)
    done = convert_frames(str(tmp_path), format=there)
    target = done.target
    assert (done.source, done.clips) == (source.artifact.fingerprint, 7)
    assert (
        target.artifact.fingerprint
        == artifact_of(tmp_path, format=there, payload=payload).fingerprint
    )
    assert content(target) == content(source)
    assert len(content(target)) == 5
    assert target.live("frames") == source.live("frames")
    assert target.counts() == source.counts()
    assert target.counts().reconciled and target.counts().quarantined == 2
    assert {part.path.suffix for part in target.parts() if part.receipt.rows} == {SUFFIXES[there]}
    assert verify_store(open_root(tmp_path)) == []


def test_it_is_the_artifact_that_extraction_makes(tmp_path):
    """From real clips: the same files, not only the same frames."""
    drawn = SyntheticCorpus(videos=4, seconds=1.0, fps=4, size=64)
    checksums = []
    for name in ("arrow", "hdf5"):
        config = PipelineConfig.model_validate(
            {
                "store": str(tmp_path / name),
                "corpus": drawn,
                "extract": {"size": 64, "shard_videos": 2, "format": name},
            }
        )
        run_ingest(config)
        checksums.append(run_extract(config)[1].checksum)
    assert convert_frames(str(tmp_path / "arrow"), format="hdf5").target.checksum == checksums[1]
    assert convert_frames(str(tmp_path / "hdf5"), format="arrow").target.checksum == checksums[0]


def test_there_and_back_gives_the_frames_of_the_beginning(tmp_path):
    source = make(tmp_path / "a", format="arrow", payload="raw")
    there = convert_frames(str(tmp_path / "a"), format="hdf5").target
    before = content(source)
    root = open_root(tmp_path / "a")
    for name in ("parts", "receipts", "snapshots"):
        folder = f"{source.artifact.folder}/{name}"
        root.delete(*(f"{folder}/{file}" for file in root.list(folder)))
    fingerprint = there.artifact.fingerprint
    back = convert_frames(str(tmp_path / "a"), format="arrow", fingerprint=fingerprint).target
    assert back.artifact.fingerprint == source.artifact.fingerprint
    assert content(back) == before


def test_a_jpeg_payload_is_made_as_extraction_makes_it(tmp_path):
    source = make(tmp_path, format="arrow", payload="raw")
    target = convert_frames(str(tmp_path), format="hdf5", payload="jpeg").target
    raw, stored = FrameReader(source), FrameReader(target)
    for key in raw.keys:
        wanted = np.empty_like(raw.frames(key))
        for frame, out in zip(raw.frames(key), wanted, strict=True):
            jpeg.decode_into(memoryview(jpeg.encode(frame)), out)
        np.testing.assert_array_equal(stored.frames(key), wanted)
    with pytest.raises(StoreError, match="cannot be had back"):
        convert_frames(
            str(tmp_path),
            format="arrow",
            payload="raw",
            fingerprint=target.artifact.fingerprint,
        )


def test_the_last_run_says_which_frames_are_meant(tmp_path):
    source = make(tmp_path, format="arrow", payload="raw")
    artifact_of(tmp_path, format="arrow", payload="jpeg")
    artifacts = {"frames": (source.artifact.fingerprint, source.number)}
    record = RunRecord("x", {}, artifacts, started="2026-01-01T00:00:00+00:00")
    write_run(open_root(tmp_path), record)
    assert convert_frames(str(tmp_path), format="hdf5").source == source.artifact.fingerprint


def test_what_is_there_is_not_converted_twice_and_growth_is_its_own_work(tmp_path):
    source = make(tmp_path, format="arrow", payload="raw")
    fingerprint = source.artifact.fingerprint
    first = convert_frames(str(tmp_path), format="hdf5", fingerprint=fingerprint).target
    again = convert_frames(str(tmp_path), format="hdf5", fingerprint=fingerprint)
    assert (again.clips, again.target.number) == (0, first.number)
    more = make_clips([3], seed=9, size=SIZE)
    source = source.artifact.publish(add=[add(source.artifact, more, shard="3")])
    grown = convert_frames(str(tmp_path), format="hdf5", fingerprint=fingerprint)
    assert grown.clips == len(more)
    assert content(grown.target) == content(source)
    kept = {entry.part for entry in first.entries}
    assert kept < {entry.part for entry in grown.target.entries}, "growth rewrote a part"


def test_a_clip_that_failed_there_is_brought_over(tmp_path):
    source = make(tmp_path, format="arrow", payload="raw")
    lost = next(iter(content(source)))
    there = artifact_of(tmp_path, format="hdf5", payload="raw")
    there.publish(add=[add(there, [], shard="x", failed=[lost])])
    fingerprint = source.artifact.fingerprint
    target = convert_frames(str(tmp_path), format="hdf5", fingerprint=fingerprint).target
    assert content(target) == content(source)
    assert target.live("frames") == source.live("frames")


def test_a_killed_conversion_goes_on_where_it_was(tmp_path, monkeypatch):
    import reelvec.tasks.frames.convert as module

    source = make(tmp_path, format="arrow", payload="raw")
    copy, calls = module._copy, []

    def dies(reader, i, writer, *, payload):
        calls.append(reader.keys[i])
        if len(calls) == 4:
            raise KeyboardInterrupt
        copy(reader, i, writer, payload=payload)

    fingerprint = source.artifact.fingerprint
    with monkeypatch.context() as patch:
        patch.setattr(module, "_copy", dies)
        with pytest.raises(KeyboardInterrupt):
            convert_frames(str(tmp_path), format="hdf5", fingerprint=fingerprint)
    target = artifact_of(tmp_path, format="hdf5", payload="raw")
    assert target.latest() is None, "half a conversion was published"
    done = [key for receipt in target.orphan_receipts() for key in receipt.keys]
    assert done, "the shards that were finished are kept"
    written = []

    def counts(reader, i, writer, *, payload):
        written.append(reader.keys[i])
        copy(reader, i, writer, payload=payload)

    monkeypatch.setattr(module, "_copy", counts)
    found = convert_frames(str(tmp_path), format="hdf5", fingerprint=fingerprint).target
    assert content(found) == content(source)
    assert not set(written) & set(done)


def test_memory_is_that_of_a_clip_and_not_of_a_shard(tmp_path):
    artifact = artifact_of(tmp_path, format="hdf5", payload="raw")
    clips = make_clips([100] * 100, size=SIZE)
    artifact.publish(add=[add(artifact, clips, shard="0")])
    assert sum(clip.frames.nbytes for clip in clips) > 28 << 20
    del clips
    tracemalloc.start()
    convert_frames(str(tmp_path), format="arrow")
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 12 << 20, "of which 8 MiB are the buffer of the file"


def test_damaged_and_absent_frames_are_refused(tmp_path):
    with pytest.raises(MissingArtifactError, match="reelvec run"):
        convert_frames(str(tmp_path), format="hdf5")
    source = make(tmp_path, format="arrow", payload="raw")
    with pytest.raises(StoreError, match="already"):
        convert_frames(str(tmp_path), format="arrow")
    flip_bit(tmp_path / source.artifact.folder / source.entries[0].part, 999)
    with pytest.raises(IntegrityError, match="is damaged"):
        convert_frames(str(tmp_path), format="hdf5")
    artifact_of(tmp_path, format="hdf5", payload="jpeg")
    with pytest.raises(StoreError, match="name one"):
        convert_frames(str(tmp_path), format="hdf5")
