from __future__ import annotations

import mmap
import os
import pickle
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from reelvec.storage.commits.artifact import Artifact
from reelvec.storage.commits.receipts import Receipt
from reelvec.storage.errors import IntegrityError, MissingArtifactError, StoreError
from reelvec.storage.frames.contract import ClipFrames
from reelvec.storage.frames.formats import SUFFIXES, Format, open_reader, open_writer
from reelvec.storage.frames.reader import FrameReader
from reelvec.storage.records import Outcome
from reelvec.storage.roots import open_root
from tests.storage.commits.contracts import flip_bit
from tests.storage.frames.contracts import SIZE, FrameShardContract, make_clips


class TestArrowRaw(FrameShardContract):
    format = "arrow"
    payload = "raw"

    def test_frames_are_views_of_the_file(self, tmp_path: Path) -> None:
        reader = open_reader(self.write(tmp_path / "shard", make_clips([3])))
        assert reader.frames(0).base is not None
        assert reader.frames(0) is reader.frames(0)

    def test_any_arrow_reader_opens_it(self, tmp_path: Path) -> None:
        clips = make_clips([2, 3])
        path = self.write(tmp_path / "shard", clips)
        table = pa.ipc.open_file(path).read_all()
        assert table.schema.field("frame").type == pa.fixed_shape_tensor(
            pa.uint8(), [SIZE, SIZE, 3]
        )
        assert table["clip_key"].to_pylist() == [clips[0].clip_key] * 2 + [clips[1].clip_key] * 3
        whole = table["frame"].combine_chunks().to_numpy_ndarray()
        np.testing.assert_array_equal(whole, np.concatenate([clip.frames for clip in clips]))


def test_a_clip_of_more_than_two_gib_is_one_batch(tmp_path: Path) -> None:
    """Ten hours at one frame a second are 36,000 frames, 5 GiB: zeros here, into the void."""
    size, count = 224, 2**31 // (224 * 224 * 3) + 1
    with (tmp_path / "zeros").open("w+b") as file:
        file.truncate(count * size * size * 3)
        mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    frames = np.frombuffer(mapped, np.uint8).reshape(count, size, size, 3)
    times, indices = np.zeros(count), np.arange(count)
    with open_writer(Path(os.devnull), format="arrow", payload="raw", size=size) as writer:
        writer.add(ClipFrames("long", frames, times, indices))


class TestArrowJpeg(FrameShardContract):
    format = "arrow"
    payload = "jpeg"


class TestHdf5Raw(FrameShardContract):
    format = "hdf5"
    payload = "raw"


class TestHdf5Jpeg(FrameShardContract):
    format = "hdf5"
    payload = "jpeg"


def test_unknown_formats_payloads_and_suffixes_are_named(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="'zarr'"):
        open_writer(tmp_path / "x", format="zarr", payload="raw", size=8)  # type: ignore[arg-type]
    with pytest.raises(StoreError, match="'png'"):
        open_writer(tmp_path / "x", format="arrow", payload="png", size=8)  # type: ignore[arg-type]
    with pytest.raises(StoreError, match=r"\.arrow, \.h5"):
        open_reader(tmp_path / "x.npy")


# -- the reader over a snapshot --------------------------------------------------------------


def add_shard(
    artifact: Artifact,
    clips: Sequence[ClipFrames],
    *,
    shard: str,
    format: Format = "arrow",
    quarantined: Sequence[str] = (),
) -> Receipt:
    with artifact.new_part(table="frames", shard=shard, suffix=SUFFIXES[format]) as part:
        with open_writer(part.path, format=format, payload="raw", size=SIZE) as writer:
            for clip in clips:
                writer.add(clip)
        outcomes = [Outcome(clip.clip_key) for clip in clips]
        outcomes += [Outcome(key, status="quarantined", reason="timeout") for key in quarantined]
        return part.commit(rows=len(clips), outcomes=outcomes)


@pytest.fixture
def artifact(tmp_path: Path) -> Artifact:
    return Artifact.open(open_root(tmp_path / "store"), kind="frames", identity={"size": SIZE})


@pytest.mark.parametrize("open_shards", [1, 256])
def test_batches_are_gathered_across_shards(artifact: Artifact, open_shards: int) -> None:
    clips = [*make_clips([5, 2, 9], seed=1), *make_clips([1, 4], seed=2), *make_clips([7], seed=3)]
    receipts = [
        add_shard(artifact, clips[:3], shard="0"),
        add_shard(artifact, clips[3:5], shard="1", format="hdf5", quarantined=["bad"]),
        add_shard(artifact, clips[5:], shard="2"),
    ]
    reader = FrameReader(artifact.publish(add=receipts), open_shards=open_shards)
    by_key = {clip.clip_key: clip for clip in clips}
    assert set(reader.keys) == set(by_key)
    assert len(reader) == 6
    assert "bad" not in reader
    rng = np.random.default_rng(0)
    out = np.empty((8, 6, SIZE, SIZE, 3), np.uint8)
    for _ in range(5):
        keys = [clips[n].clip_key for n in rng.integers(0, len(clips), 8)]
        lengths = reader.lengths(keys)
        assert lengths.tolist() == [len(by_key[key].frames) for key in keys]
        picks = [np.sort(rng.integers(0, n, rng.integers(0, 7))) for n in lengths]
        out[:] = 99
        reader.gather(keys, picks=picks, out=out)
        for v, key in enumerate(keys):
            count = len(picks[v])
            np.testing.assert_array_equal(out[v, :count], by_key[key].frames[picks[v]])
            assert not out[v, count:].any()
    for key, clip in by_key.items():
        np.testing.assert_array_equal(reader.frames(key), clip.frames)
        np.testing.assert_array_equal(reader.pts(key), clip.pts_seconds)
        np.testing.assert_array_equal(reader.frame_index(key), clip.frame_index)


@settings(max_examples=20, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(st.sets(st.sampled_from("abcdef"), min_size=1), min_size=1, max_size=5))
def test_superseded_clips_are_read_from_where_they_are_in_force(
    tmp_path_factory: pytest.TempPathFactory, shards: list[set[str]]
) -> None:
    root = open_root(tmp_path_factory.mktemp("store"))
    artifact = Artifact.open(root, kind="frames", identity={"size": SIZE})
    latest: dict[str, np.ndarray] = {}
    for number, keys in enumerate(shards):
        made = make_clips([number + 1] * len(keys), seed=number)
        clips = [
            ClipFrames(key, clip.frames, clip.pts_seconds, clip.frame_index)
            for key, clip in zip(sorted(keys), made, strict=True)
        ]
        add = [add_shard(artifact, clips, shard=str(number))]
        snapshot = artifact.publish(add=add, supersede={"frames": keys})
        latest |= {clip.clip_key: clip.frames for clip in clips}
    reader = FrameReader(snapshot)
    assert set(reader.keys) == set(latest)
    for key, frames in latest.items():
        np.testing.assert_array_equal(reader.frames(key), frames)


def test_a_clip_without_frames_is_named(artifact: Artifact) -> None:
    receipt = add_shard(artifact, make_clips([2]), shard="0", quarantined=["bad"])
    reader = FrameReader(artifact.publish(add=[receipt]))
    for key in ("bad", "never"):
        with pytest.raises(MissingArtifactError, match=key):
            reader.lengths([key])
        with pytest.raises(MissingArtifactError, match=key):
            reader.frames(key)


def test_a_damaged_shard_is_never_read(artifact: Artifact, tmp_path: Path) -> None:
    clips = make_clips([2, 2])
    receipts = [add_shard(artifact, [clip], shard=clip.clip_key[-1]) for clip in clips]
    flip_bit(tmp_path / "store" / artifact.folder / receipts[1].part, 8000)
    reader = FrameReader(artifact.publish(add=receipts))
    np.testing.assert_array_equal(reader.frames(clips[0].clip_key), clips[0].frames)
    with pytest.raises(IntegrityError, match="reelvec verify"):
        reader.frames(clips[1].clip_key)


@pytest.mark.parametrize("format", ["arrow", "hdf5"])
def test_readers_cross_forks_and_process_borders(artifact: Artifact, format: Format) -> None:
    clips = make_clips([3, 2])
    receipt = add_shard(artifact, clips, shard="0", format=format)
    reader = FrameReader(artifact.publish(add=[receipt]))
    key = clips[0].clip_key
    np.testing.assert_array_equal(reader.frames(key), clips[0].frames)
    child = os.fork()
    if child == 0:
        try:
            same = np.array_equal(reader.frames(key), clips[0].frames)
            reader.close()
            os._exit(0 if same else 1)
        finally:
            os._exit(1)
    assert os.waitpid(child, 0)[1] == 0
    np.testing.assert_array_equal(reader.frames(clips[1].clip_key), clips[1].frames)
    again = pickle.loads(pickle.dumps(reader))
    np.testing.assert_array_equal(again.frames(key), clips[0].frames)
    reader.close()
    np.testing.assert_array_equal(reader.frames(key), clips[0].frames)
