"""Encodes drawn frames to real video files; the same frames give the same bytes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import cast

import av
import numpy as np
from av.codec.context import Flags
from av.video.stream import VideoStream

__all__ = ["KINDS", "Kind", "encode"]


@dataclass(frozen=True, slots=True)
class Kind:
    """A container and a codec: ``options`` are the encoder's own, one thread always."""

    extension: str
    container: str
    codec: str
    options: tuple[tuple[str, str], ...]


_X264 = (
    ("preset", "veryfast"),
    ("crf", "20"),
    ("x264-params", "cpu-independent=1"),  # else one file in ten differs from run to run
)
_VPX = (("deadline", "realtime"), ("cpu-used", "8"), ("crf", "20"), ("b", "1M"))

KINDS: dict[str, Kind] = {
    "h264-mp4": Kind(".mp4", "mp4", "libx264", _X264),
    "h264-mkv": Kind(".mkv", "matroska", "libx264", _X264),
    "h264-mov": Kind(".mov", "mov", "libx264", _X264),
    "mpeg4-avi": Kind(".avi", "avi", "mpeg4", (("flags", "+qscale"), ("global_quality", "236"))),
    "vp8-webm": Kind(".webm", "webm", "libvpx", _VPX),
    "vp9-webm": Kind(".webm", "webm", "libvpx-vp9", _VPX),
}
"""What SyntheticCorpus.codecs may name: kinds that PyAV's own encoders write.

No HEVC: PyAV 18's x265 corrupts the heap at 48 x 48 pixels.
"""


def encode(frames: np.ndarray, path: Path, *, kind: Kind, fps: int) -> None:
    """Writes RGB frames [T, H, W, 3] uint8 as a video of ``fps`` frames a second.

    Height and width are even (4:2:0 colour). A keyframe at least each second. One thread and
    bit-exact muxing: no dates, random identifiers or versions in the file.
    """
    height, width = frames.shape[1:3]
    with av.open(str(path), "w", format=kind.container, options={"fflags": "+bitexact"}) as output:
        stream = cast(
            VideoStream, output.add_stream(kind.codec, rate=fps, options=dict(kind.options))
        )
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        stream.codec_context.gop_size = fps
        stream.codec_context.thread_count = 1
        stream.codec_context.flags |= Flags.bitexact
        for index, pixels in enumerate(frames):
            frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
            frame.pts = index
            output.mux(stream.encode(frame))
        output.mux(stream.encode(None))
