"""What every decoder must do, run on every kind of file it is used for."""

import functools
import json
from pathlib import Path

import numpy as np
import pytest

from reelvec.configs.decoding import FrameOptions
from reelvec.storage.errors import VideoError
from reelvec.storage.video.contract import FrameSink, Reading
from reelvec.storage.video.decoder_table import TABLE_PATH
from reelvec.storage.video.decoders import READERS, read_frames
from reelvec.storage.video.probe import probe
from reelvec.storage.video.selective import read_sequentially
from tests.support import media

SIZE = 64


@functools.cache
def found(name):
    """The probe of a kind's file."""
    return probe(media.video(name))


def upright(name, frame):
    """The frame as it was painted: rotated files are shown turned a quarter counter-clockwise."""
    return np.rot90(frame, -1) if name == "rotated_mp4" else frame


def barcodes(name, frames):
    return [media.barcode(upright(name, frame)) for frame in frames]


@functools.cache
def everything(name):
    """The naive twin: every frame decoded in order, [N, 64, 64, 3]."""
    file, options = found(name), FrameOptions(size=SIZE)
    sink = FrameSink(
        np.arange(file.frames_counted), options=options, allocate=lambda s: np.zeros(s, np.uint8)
    )
    read_sequentially(Reading(path=file.path, probe=file, sink=sink, options=options))
    return sink.frames


def pick_sets(count):
    """Sparse, dense, single and random choices of display indices."""
    rng = np.random.default_rng(count)
    return [
        np.linspace(0, count - 1, 12, dtype=np.int64),
        np.arange(0, count, 25),
        np.array([count - 1]),
        np.array([count // 2, count // 2 + 1]),
        *(np.sort(rng.choice(count, 5, replace=False)) for _ in range(3)),
        np.arange(count),
    ]


def read_with(reader, file, picks):
    """What a reader gives, asked directly, whatever the table says of it: [T, 64, 64, 3]."""
    options = FrameOptions(size=SIZE)
    sink = FrameSink(picks, options=options, allocate=lambda s: np.zeros(s, np.uint8))
    reader(Reading(path=file.path, probe=file, sink=sink, options=options))
    return sink.frames


@functools.cache
def is_right(decoder, name):
    """Every frame is the one asked for, by barcode, and that of a full decode, bit for bit."""
    truth, shown = everything(name), media.kept(name)
    sets = pick_sets(len(truth))
    for picks in sets[-1:] if decoder == "ffmpeg" else sets:  # it decodes the whole file for any
        try:
            frames = read_with(READERS[decoder], found(name), picks)
        except VideoError:
            return False
        if barcodes(name, frames) != [shown[i] for i in picks]:
            return False
        if not np.array_equal(frames, truth[picks]):
            return False
    return True


def damaged_files(folder):
    """Files that say so when everything is decoded in order: with a hole, and with bits flipped."""
    for name in ("h264_mp4", "h264_mkv", "hevc_mkv"):
        whole = media.video(name).read_bytes()
        hole, flips = bytearray(whole), bytearray(whole)
        hole[len(whole) * 4 // 10 : len(whole) * 6 // 10] = bytes(len(whole) * 2 // 10)
        for at in np.random.default_rng(0).integers(len(whole) // 10, len(whole) * 9 // 10, 60):
            flips[at] ^= 1 << at % 8
        for how, content in (("hole", hole), ("flips", flips)):
            path = Path(folder) / f"{how}_{media.video(name).name}"
            path.write_bytes(content)
            yield path


def notices_damage(decoder, folder):
    """It raises on every damaged file on which decoding everything in order does."""
    noticed = []
    for path in damaged_files(folder):
        try:
            file = probe(path)
        except VideoError:
            continue
        every = np.arange(file.frames_counted)
        if _raises(read_sequentially, file, every):
            noticed.append(_raises(READERS[decoder], file, every))
    assert len(noticed) >= 4, "too few of the damaged files can be told to be"
    return all(noticed)


def _raises(reader, file, picks):
    try:
        read_with(reader, file, picks)
    except VideoError:
        return True
    return False


def trusted(decoder):
    """Kinds of file on which the shipped table says `decoder` is right; nothing is encoded."""
    rows = json.loads(TABLE_PATH.read_text())["kinds"]
    return sorted(name for row in rows if decoder in row["right"] for name in row["seen"])


class DecoderContract:
    """Subclass it, name the decoder, and give `name` a parametrization of file kinds."""

    decoder = ""
    pick_sets = staticmethod(pick_sets)

    def read(self, name, picks, **options):
        return read_frames(
            picks,
            probe=found(name),
            options=FrameOptions(decoder=self.decoder, size=SIZE, **options),
        )

    def test_every_frame_is_the_one_asked_for(self, name):
        truth, shown = everything(name), media.kept(name)
        for picks in self.pick_sets(len(truth)):
            decoded = self.read(name, picks)
            assert barcodes(name, decoded.frames) == [shown[i] for i in picks]
            assert np.array_equal(decoded.frames, truth[picks])
            assert decoded.frame_index.tolist() == picks.tolist()
            assert (decoded.status, decoded.fraction_kept, decoded.decoder) == (
                "ok",
                1.0,
                self.decoder,
            )

    def test_times_are_those_of_the_frames(self, name):
        picks = np.array([0, 5, found(name).frames_counted - 1])
        assert np.array_equal(self.read(name, picks).pts_seconds, found(name).pts_seconds[picks])

    def test_picks_must_be_display_indices(self, name):
        count = found(name).frames_counted
        for wrong in ([], [count], [-1], [3, 3], [4, 2]):
            with pytest.raises(ValueError, match="picks"):
                self.read(name, np.array(wrong, np.int64))
