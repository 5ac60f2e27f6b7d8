"""Frames in their own proportions: each clip its own size, and what it was made from."""

import dataclasses
from contextlib import closing

import numpy as np
import pytest

from reelvec.configs.decoding import FrameForm, FrameOptions
from reelvec.storage.commits.artifact import Artifact
from reelvec.storage.errors import StoreError
from reelvec.storage.frames.contract import ClipFrames, Source
from reelvec.storage.frames.formats import open_reader, open_writer
from reelvec.storage.frames.reader import FrameReader
from reelvec.storage.records import Outcome
from reelvec.storage.roots import open_root
from reelvec.storage.video.contract import FrameSink
from reelvec.storage.video.transform import fit

SIZE = 24
SOURCE = Source(height=480, width=640, frames=89, fps=29.97)


def clip(key, *, count=3, height=SIZE, width=40):
    y, x = np.mgrid[0:height, 0:width]
    smooth = np.stack([4 * y, 3 * x, 2 * (x + y)], axis=-1)
    frames = np.stack([smooth + 9 * n for n in range(count)]).astype(np.uint8)
    return ClipFrames(key, frames, np.arange(count) * 0.5, np.arange(count) * 15, SOURCE)


CLIPS = [
    clip("wide"),
    clip("high", count=2, height=50, width=20),
    clip("small", height=10, width=12),
]


def write(path, *, payload="raw"):
    with open_writer(path, format="arrow", payload=payload, size=SIZE, native=True) as writer:
        for one in CLIPS:
            writer.add(one)
    return path


@pytest.mark.parametrize("payload", ["raw", "jpeg"])
def test_each_clip_keeps_its_size_and_its_source(payload, tmp_path):
    """Read, copied into another shard, and read again."""
    path, copy = write(tmp_path / "a.arrow", payload=payload), tmp_path / "b.arrow"
    with (
        closing(open_reader(path)) as source,
        open_writer(copy, format="arrow", payload=payload, size=SIZE, native=True) as writer,
    ):
        for i in range(len(CLIPS)):
            writer.copy(source, i)
    assert copy.read_bytes() == path.read_bytes()
    with closing(open_reader(copy)) as reader:
        assert reader.native and reader.keys == ("wide", "high", "small")
        for i, one in enumerate(CLIPS):
            assert reader.source(i) == SOURCE
            assert reader.shape(i) == one.frames.shape[1:3]
            assert np.array_equal(reader.pts_seconds(i), one.pts_seconds)
            assert np.array_equal(reader.frame_index(i), one.frame_index)
            error = np.abs(reader.frames(i).astype(int) - one.frames)
            assert error.max() <= (0 if payload == "raw" else 12)
            assert np.array_equal(reader.frames(i)[::-1], _picked(reader, i))


def _picked(reader, i):
    picks = np.arange(int(reader.lengths[i]))[::-1]
    out = np.empty((len(picks), *reader.shape(i), 3), np.uint8)
    reader.read_into(i, picks, out)
    return out


def test_what_is_no_native_clip_is_refused(tmp_path):
    with open_writer(
        tmp_path / "a.arrow", format="arrow", payload="raw", size=SIZE, native=True
    ) as writer:
        with pytest.raises(StoreError, match="must be uint8"):
            writer.add(clip("large", height=SIZE + 1))
        with pytest.raises(StoreError, match="what they were made from"):
            writer.add(dataclasses.replace(CLIPS[0], source=None))
    with pytest.raises(StoreError, match="stored as arrow, not as hdf5"):
        open_writer(tmp_path / "a.h5", format="hdf5", payload="raw", size=SIZE, native=True)
    with (
        closing(open_reader(write(tmp_path / "b.arrow"))) as source,
        open_writer(tmp_path / "c.arrow", format="arrow", payload="raw", size=SIZE) as writer,
        pytest.raises(StoreError, match="24 px raw native cannot be copied"),
    ):
        writer.copy(source, 0)


@pytest.mark.parametrize("kept", ["crop", "squash"])
def test_a_model_of_squares_reads_them_in_its_own_form(kept, tmp_path):
    """The naive twin: the same fit of the picture as it is stored."""
    artifact = Artifact.open(open_root(tmp_path / "store"), kind="frames", identity={})
    with artifact.new_part(table="frames", shard="0", suffix=".arrow") as part:
        write(part.path)
        receipt = part.commit(rows=3, outcomes=[Outcome(one.clip_key) for one in CLIPS])
    form = FrameForm(size=16, fit=kept, interpolation="bilinear")
    reader = FrameReader(artifact.publish(add=[receipt]), form=form)
    out = np.full((3, 2, 16, 16, 3), 7, np.uint8)
    keys, picks = ["small", "wide", "high"], [np.array([1]), np.array([2, 0]), np.array([1])]
    reader.gather(keys, picks=picks, out=out)
    by_key, wanted = {one.clip_key: one for one in CLIPS}, np.zeros_like(out)
    for row, (key, chosen) in enumerate(zip(keys, picks, strict=True)):
        for slot, pick in enumerate(chosen):
            picture = by_key[key].frames[pick]
            fit(picture, size=16, out=wanted[row, slot], fit=kept, interpolation="bilinear")
    assert np.array_equal(out, wanted)
    found = reader.clip("wide", np.array([2, 0]))
    assert np.array_equal(found.frames, CLIPS[0].frames[[2, 0]]) and found.source == SOURCE
    assert found.pts_seconds.tolist() == [1.0, 0.0] and found.frame_index.tolist() == [30, 0]


def test_the_first_picture_says_the_size_and_none_is_enlarged():
    options = FrameOptions(size=SIZE, fit="native")
    for height, width, shape in ((48, 96, (24, 48)), (60, 30, (48, 24)), (20, 90, (20, 90))):
        sink = FrameSink(np.arange(2), options=options, allocate=lambda s: np.zeros(s, np.uint8))
        sink.put(1, np.full((height, width, 3), 9, np.uint8))
        assert sink.frames.shape == (2, *shape, 3) and sink.source == (height, width)
        sink.put(0, np.full((width, height, 3), 5, np.uint8))  # a stream that turned midway
        assert sink.complete() and sink.frames[:, 0, 0, 0].tolist() == [5, 9]
