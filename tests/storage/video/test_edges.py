"""Edges of a stream: pictures before the first keyframe, cropped sides, headers never filled in."""

import av
import numpy as np
import pytest

from reelvec.configs.decoding import FrameOptions
from reelvec.storage.errors import VideoError
from reelvec.storage.video.decoders import READERS, read_frames
from reelvec.storage.video.probe import probe
from reelvec.storage.video.recovery import has_decodable_leading
from reelvec.storage.video.transform import fit
from tests.storage.video.contracts import read_with
from tests.support import media


def codes(path, picks=None):
    found = probe(path)
    picks = np.arange(found.frames_counted) if picks is None else np.array(picks)
    decoded = read_frames(picks, probe=found, options=FrameOptions(size=64))
    return [media.barcode(frame) for frame in decoded.frames]


def test_decodable_pictures_before_the_first_keyframe_are_shown(tmp_path):
    """HEVC that begins at an IDR with leading pictures which need nothing before it."""
    settings = "keyint=10:min-keyint=10:scenecut=0:open-gop=0:radl=3:bframes=3:log-level=none"
    arguments = ("-c:v", "libx265", "-preset", "ultrafast", "-x265-params", settings)
    whole = media.encode(tmp_path / "whole.mkv", arguments, frames=media.painted(30))
    path = tmp_path / "second.mkv"
    with av.open(str(whole)) as old, av.open(str(path), "w") as new:
        stream = new.add_stream_from_template(old.streams.video[0])
        keyframes = 0
        for packet in old.demux(video=0):
            keyframes += packet.is_keyframe
            if packet.size and keyframes > 1:
                packet.stream = stream
                new.mux(packet)
    shown = codes(path)
    assert shown == list(range(7, 30)), "three before the keyframe, which is the tenth"
    with av.open(str(path)) as container:
        assert len(shown) == sum(1 for _ in container.decode(video=0))


@pytest.mark.parametrize(
    ("codec", "unit", "leads"),
    [
        ("hevc", b"\x26\x01", True),  # IDR_W_RADL
        ("hevc", b"\x28\x01", False),  # IDR_N_LP
        ("hevc", b"\x2a\x01", False),  # CRA: its leading pictures may need what came before
        ("vvc", b"\x00\x39", True),
        ("vvc", b"\x00\x49", False),
        ("h264", b"\x65\x88", False),
    ],
)
def test_which_keyframes_have_decodable_leading_pictures(codec, unit, leads):
    parameters = {"hevc": b"\x40\x01\x0c", "vvc": b"\x00\x79\x0c", "h264": b"\x67\x42"}[codec]
    annexed = b"".join(b"\0\0\0\1" + part for part in (parameters, unit))
    assert has_decodable_leading(memoryview(annexed), codec=codec, extradata=None) is leads
    boxed = b"".join(len(part).to_bytes(4, "big") + part for part in (parameters, unit))
    extra = {"hevc": b"\x01" + bytes(20) + b"\x03", "vvc": b"\xff"}.get(codec)
    assert has_decodable_leading(memoryview(boxed), codec=codec, extradata=extra) is leads


def test_a_live_avi_promises_nothing(tmp_path):
    whole = bytearray(media.video("mpeg4_avi").read_bytes())
    for tag, offset in ((b"avih", 8 + 16), (b"strh", 8 + 32)):
        at = whole.find(tag) + offset
        whole[at : at + 4] = (2**30).to_bytes(4, "little")
    whole[4:8] = bytes(4)
    (tmp_path / "live.avi").write_bytes(whole)
    found = probe(tmp_path / "live.avi")
    assert (found.frames_counted, found.frames_from_header, found.truncated) == (150, 0, "")


def test_a_cropped_side_is_cropped_where_the_stream_says(tmp_path):
    crop = "h264_metadata=crop_left=20:crop_right=20"
    path = tmp_path / "x.mp4"
    media.ffmpeg("-i", str(media.video("h264_mp4")), "-c", "copy", "-bsf:v", crop, str(path))
    found = probe(path)
    assert (found.width, found.height) == (120, 120)
    with av.open(str(media.video("h264_mp4"))) as container:
        whole = next(container.decode(video=0)).to_ndarray(format="rgb24")
    wanted = np.empty((64, 64, 3), np.uint8)
    fit(whole[:, 20:140], size=64, out=wanted)
    for name in ("selective", "ffmpeg"):
        seen = read_with(READERS[name], found, np.array([0]))[0]
        assert np.abs(seen.astype(int) - wanted).mean() < 0.1, name


def test_frames_that_share_a_time_are_not_told_by_another_program(tmp_path):
    found = probe(media.video("h264_mp4"))
    assert found.reorders
    object.__setattr__(found, "in_order", True)
    with pytest.raises(VideoError, match="some frames share a time"):
        read_with(READERS["ffmpeg"], found, np.array([3]))
