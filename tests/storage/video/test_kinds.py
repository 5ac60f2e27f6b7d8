"""Every ending that discovery takes for a video's is one that can be read."""

import functools
import shutil

import numpy as np
import pytest

from reelvec.configs.decoding import FrameOptions
from reelvec.storage.corpora.folders import VIDEO_EXTENSIONS
from reelvec.storage.errors import VideoError
from reelvec.storage.video.contract import FrameSink, Reading
from reelvec.storage.video.decoders import READERS
from reelvec.storage.video.probe import probe
from reelvec.storage.video.selective import read_sequentially
from tests.support import media

COUNT = 12
X264 = ("-c:v", "libx264", "-preset", "ultrafast", "-pix_fmt", "yuv420p", "-g", "5")
MPEG2 = ("-c:v", "mpeg2video", "-q:v", "3", "-g", "5", "-bf", "2")
MADE = {
    "mov": X264,
    "matroska": X264,
    "webm": ("-c:v", "libvpx", "-deadline", "realtime", "-b:v", "400k"),
    "avi": ("-c:v", "mpeg4", "-q:v", "3"),
    "mpegts": MPEG2,
    "m2ts": (*X264, "-mpegts_m2ts_mode", "1"),
    "vob": MPEG2,
    "mpeg2video": MPEG2,
    "asf": ("-c:v", "wmv2", "-b:v", "800k"),
    "flv": X264,
    "gif": ("-c:v", "gif"),
    "mxf": MPEG2,
    "ogg": ("-c:v", "libtheora", "-q:v", "8"),
    "rm": ("-c:v", "rv20", "-q:v", "3"),
    "yuv4mpegpipe": ("-c:v", "rawvideo", "-pix_fmt", "yuv420p"),
    "3gp": ("-c:v", "mpeg4", "-q:v", "3"),
    "m4v": ("-c:v", "mpeg4", "-q:v", "3"),
    "mpeg1video": ("-c:v", "mpeg1video", "-q:v", "3"),
}
"""What each of ffmpeg's formats is made with here."""

HOLDS = {
    ".3gp": ["3gp"], ".asf": ["asf"], ".avi": ["avi"], ".divx": ["avi"], ".flv": ["flv"],
    ".gif": ["gif"], ".m2ts": ["m2ts"], ".m2v": ["mpeg2video"], ".m4v": ["mov", "m4v"],
    ".mkv": ["matroska"], ".mov": ["mov"], ".mp4": ["mov"], ".mpe": ["vob"],
    ".mpeg": ["vob", "mpeg1video"], ".mpg": ["vob", "mpegts"], ".mts": ["m2ts"], ".mxf": ["mxf"],
    ".ogm": ["ogg"], ".ogv": ["ogg"], ".rm": ["rm"], ".rmvb": ["rm"], ".ts": ["mpegts"],
    ".vob": ["vob"], ".webm": ["webm"], ".wmv": ["asf"], ".y4m": ["yuv4mpegpipe"],
}  # fmt: skip
"""Formats found under each ending."""


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("kinds")

    @functools.cache
    def make(name):
        muxer = "mpegts" if name == "m2ts" else name
        return media.encode(
            folder / name,
            (*MADE[name], "-f", muxer),
            frames=media.painted(COUNT, width=176, height=144),
        )

    return make


def read(reader, found):
    options = FrameOptions(size=64)
    picks = np.arange(found.frames_counted)
    sink = FrameSink(picks, options=options, allocate=lambda shape: np.zeros(shape, np.uint8))
    reader(Reading(path=found.path, probe=found, sink=sink, options=options))
    return [media.barcode(picture) for picture in sink.frames]


def test_every_ending_is_tried():
    assert set(HOLDS) == VIDEO_EXTENSIONS
    assert {name for names in HOLDS.values() for name in names} == set(MADE)


@pytest.mark.parametrize(("suffix", "name"), [(s, n) for s, names in HOLDS.items() for n in names])
def test_it_is_read(made, tmp_path, suffix, name):
    path = shutil.copy(made(name), tmp_path / f"x{suffix}")
    found = probe(path)
    assert found.frames_counted == COUNT
    assert found.truncated == ""
    assert found.pts_seconds == pytest.approx(np.arange(COUNT) / 25, abs=0.002)
    for reader in (READERS["selective"], read_sequentially):
        assert read(reader, found) == list(range(COUNT))


@pytest.mark.parametrize("name", ["gif", "m2ts", "mxf", "ogg", "rm", "yuv4mpegpipe"])
def test_its_cut_end_is_noticed(made, tmp_path, name):
    data = made(name).read_bytes()
    path = tmp_path / "cut"
    path.write_bytes(data[: len(data) * 2 // 3 + 1])
    assert probe(path).truncated


def test_a_gif_of_one_picture_is_a_picture(tmp_path):
    path = media.encode(tmp_path / "still.gif", MADE["gif"], frames=media.painted(1))
    with pytest.raises(VideoError, match="a still picture, not a video"):
        probe(path)


def test_a_packet_without_a_byte_does_not_end_the_file(tmp_path):
    """Theora writes none where the picture stays: at a thousand frames a second, many."""
    slow = (
        "-vf",
        "settb=1/1000,setpts=40*N",
        "-fps_mode",
        "passthrough",
        "-enc_time_base",
        "1:1000",
    )
    path = media.encode(tmp_path / "x.ogv", (*slow, *MADE["ogg"]), frames=media.painted(40))
    found = probe(path)
    assert found.truncated == ""
    assert read(read_sequentially, found) == read(READERS["selective"], found)
