"""What every frame shard format and payload must do, beside a naive twin: arrays in a list."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import simplejpeg
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from reelvec.storage.errors import IntegrityError, StoreError
from reelvec.storage.frames.contract import ClipFrames, FrameShardReader, Payload
from reelvec.storage.frames.formats import SUFFIXES, Format, open_reader, open_writer

SIZE = 16


def make_clips(lengths: Sequence[int], *, seed: int = 0, size: int = SIZE) -> list[ClipFrames]:
    """Clips of smooth random colours (JPEG is made for these), with times and indices."""
    rng = np.random.default_rng(seed)
    clips = []
    for number, length in enumerate(lengths):
        corners = rng.integers(0, 256, (length, 2, 2, 3)).astype(float)
        weight = np.linspace(0, 1, size)
        across = corners[:, :, :1] + (corners[:, :, 1:] - corners[:, :, :1]) * weight[:, None]
        frames = across[:, :1] + (across[:, 1:] - across[:, :1]) * weight[:, None, None]
        clips.append(
            ClipFrames(
                clip_key=f"{seed:04x}{number:04x}@0-{number}",
                frames=frames.round().astype(np.uint8),
                pts_seconds=np.sort(rng.random(length)) * 60,
                frame_index=np.sort(rng.integers(0, 1 << 40, length)),
            )
        )
    return clips


class FrameShardContract:
    format: Format
    payload: Payload

    def write(self, path: Path, clips: Sequence[ClipFrames], *, size: int = SIZE) -> Path:
        path = path.with_suffix(SUFFIXES[self.format])
        with open_writer(path, format=self.format, payload=self.payload, size=size) as writer:
            for clip in clips:
                writer.add(clip)
        return path

    def expected(self, frames: np.ndarray) -> np.ndarray:
        """The naive twin of what is stored."""
        if self.payload == "raw":
            return frames
        how = {"quality": 95, "colorspace": "RGB", "colorsubsampling": "420"}
        coded = [simplejpeg.encode_jpeg(frame, **how) for frame in np.ascontiguousarray(frames)]
        return np.stack([simplejpeg.decode_jpeg(data, colorspace="RGB") for data in coded])

    def check(self, reader: FrameShardReader, clips: Sequence[ClipFrames]) -> None:
        assert reader.keys == tuple(clip.clip_key for clip in clips)
        assert reader.lengths.dtype == np.int64
        assert reader.lengths.tolist() == [len(clip.frames) for clip in clips]
        for i, clip in enumerate(clips):
            frames = reader.frames(i)
            assert frames.dtype == np.uint8 and not frames.flags.writeable
            np.testing.assert_array_equal(frames, self.expected(clip.frames))
            np.testing.assert_array_equal(reader.pts_seconds(i), clip.pts_seconds)
            np.testing.assert_array_equal(reader.frame_index(i), clip.frame_index)

    def test_clips_come_back(self, tmp_path: Path) -> None:
        clips = make_clips([1, 7, 3, 12])
        reader = open_reader(self.write(tmp_path / "shard", clips))
        assert (reader.size, reader.payload) == (SIZE, self.payload)
        self.check(reader, clips)
        reader.close()

    def test_what_jpeg_costs_is_bounded(self, tmp_path: Path) -> None:
        clips = make_clips([8], size=64)
        reader = open_reader(self.write(tmp_path / "shard", clips, size=64))
        error = np.abs(reader.frames(0).astype(int) - clips[0].frames)
        assert error.mean() <= (0 if self.payload == "raw" else 2)

    def test_an_empty_shard_is_a_shard(self, tmp_path: Path) -> None:
        reader = open_reader(self.write(tmp_path / "shard", []))
        assert reader.keys == ()
        assert reader.lengths.shape == (0,)
        assert reader.size == SIZE

    @settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
    @given(
        lengths=st.lists(st.integers(1, 9), min_size=1, max_size=5),
        data=st.data(),
        seed=st.integers(0, 99),
    )
    def test_picks_are_copied_like_numpy_would(
        self,
        tmp_path_factory: pytest.TempPathFactory,
        lengths: list[int],
        data: st.DataObject,
        seed: int,
    ) -> None:
        clips = make_clips(lengths, seed=seed)
        reader = open_reader(self.write(tmp_path_factory.mktemp("x") / "shard", clips))
        i = data.draw(st.integers(0, len(clips) - 1))
        picks = np.array(data.draw(st.lists(st.integers(0, lengths[i] - 1), max_size=9)), np.int64)
        batch = np.full((len(picks) + 1, SIZE, SIZE, 3), 77, np.uint8)
        reader.read_into(i, picks, batch[:-1])
        np.testing.assert_array_equal(batch[:-1], self.expected(clips[i].frames)[picks])
        assert (batch[-1] == 77).all()
        reader.close()

    def test_a_frame_that_is_not_there_is_refused(self, tmp_path: Path) -> None:
        reader = open_reader(self.write(tmp_path / "shard", make_clips([2, 3])))
        for picks in ([2], [-1], [0, 5]):
            out = np.empty((len(picks), SIZE, SIZE, 3), np.uint8)
            with pytest.raises(StoreError, match="has frames 0 to 1"):
                reader.read_into(0, np.array(picks), out)

    def test_the_same_clips_give_the_same_bytes(self, tmp_path: Path) -> None:
        clips = make_clips([3, 1, 5])
        first = self.write(tmp_path / "first", clips).read_bytes()
        time.sleep(1.1)  # a time stamp in whole seconds would show
        noise = [np.random.default_rng(n).bytes(1 << 20) for n in range(8)]  # stir the heap
        del noise
        assert self.write(tmp_path / "second", clips).read_bytes() == first

    def test_clips_that_do_not_fit_are_refused(self, tmp_path: Path) -> None:
        good = make_clips([4])[0]
        wrong = {
            "frames is": [
                {"frames": good.frames.astype(np.int16)},
                {"frames": good.frames[:, :-1]},
                {"frames": good.frames[..., :2]},
            ],
            "pts_seconds is": [{"pts_seconds": good.pts_seconds[:-1]}],
            "frame_index is": [{"frame_index": good.frame_index.astype(np.int32)}],
            "no frame": [
                {
                    "frames": good.frames[:0],
                    "pts_seconds": good.pts_seconds[:0],
                    "frame_index": good.frame_index[:0],
                }
            ],
            "already": [{}],
        }
        path = (tmp_path / "shard").with_suffix(SUFFIXES[self.format])
        with open_writer(path, format=self.format, payload=self.payload, size=SIZE) as writer:
            writer.add(good)
            for words, changes in wrong.items():
                for change in changes:
                    fields = {name: getattr(good, name) for name in good.__slots__}
                    with pytest.raises(StoreError, match=words):
                        writer.add(ClipFrames(**{**fields, **change}))
        self.check(open_reader(path), [good])

    def test_views_of_others_are_stored_as_they_look(self, tmp_path: Path) -> None:
        clip = make_clips([6])[0]
        turned = ClipFrames(
            "k", clip.frames[::-2, ::-1], clip.pts_seconds[::2], clip.frame_index[::2]
        )
        self.check(open_reader(self.write(tmp_path / "shard", [turned])), [turned])

    def test_copies_are_byte_exact_in_both_formats(self, tmp_path: Path) -> None:
        clips = make_clips([2, 5, 1])
        path = self.write(tmp_path / "source", clips)
        source = open_reader(path)
        for format, suffix in SUFFIXES.items():
            target = tmp_path / f"copy{suffix}"
            with open_writer(target, format=format, payload=self.payload, size=SIZE) as writer:
                for i in range(len(clips)):
                    writer.copy(source, i)
            self.check(open_reader(target), clips)
            if format == self.format:
                assert target.read_bytes() == path.read_bytes()
        other: Payload = "jpeg" if self.payload == "raw" else "raw"
        target = (tmp_path / "other").with_suffix(SUFFIXES[self.format])
        with (
            open_writer(target, format=self.format, payload=other, size=SIZE) as writer,
            pytest.raises(StoreError, match="decode and add"),
        ):
            writer.copy(source, 0)

    def test_a_reader_crosses_a_fork(self, tmp_path: Path) -> None:
        clips = make_clips([3, 4])
        reader = open_reader(self.write(tmp_path / "shard", clips))
        self.check(reader, clips)
        child = os.fork()
        if child == 0:
            try:
                self.check(reader, clips)
                reader.close()
                os._exit(0)
            finally:
                os._exit(1)
        assert os.waitpid(child, 0)[1] == 0
        self.check(reader, clips)

    def test_what_is_no_shard_is_refused(self, tmp_path: Path) -> None:
        path = (tmp_path / "junk").with_suffix(SUFFIXES[self.format])
        path.write_bytes(b"junk" * 1000)
        with pytest.raises(IntegrityError, match="damaged or not ours"):
            open_reader(path)
        whole = self.write(tmp_path / "shard", make_clips([3])).read_bytes()
        path.write_bytes(whole[: len(whole) // 2])
        with pytest.raises(IntegrityError, match="damaged or not ours"):
            open_reader(path)
