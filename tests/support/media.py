"""Small real videos whose every frame says which frame it is.

Frame i carries the number i as a 4 x 4 chessboard of light and dark cells (a 16-bit barcode) over
its central square, under moving texture, so that a decoder that returns a wrong frame is seen
through any codec, any resize. Encoding is by imageio-ffmpeg's binary, never the system's.
"""

import functools
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

import imageio_ffmpeg
import numpy as np

WIDTH, HEIGHT, FRAMES, FPS = 160, 120, 150, 25


@dataclass(frozen=True)
class Kind:
    """One kind of file: its suffix, encoder arguments, and filters before encoding."""

    suffix: str
    arguments: tuple[str, ...]
    remux: tuple[str, ...] = ()
    """A second, copying pass: input options, then "-i", then output options."""
    frames_kept: tuple[int, int] = (0, FRAMES)
    """Barcodes of the frames shown, [first, stop)."""


def _x264(*more, params="keyint=30:min-keyint=30:scenecut=0"):
    preset = ("-c:v", "libx264", "-preset", "veryfast", "-pix_fmt", "yuv420p")
    return (*preset, "-x264-params", params, *more)


_VFR = (
    "-vf",
    "settb=1/1000,setpts='40*if(lt(N,60),N,60+(N-60)*3)'",
    "-fps_mode",
    "passthrough",
    "-enc_time_base",
    "1:1000",
)
_OPEN = "keyint=30:min-keyint=30:scenecut=0:open-gop=1:bframes=3"

KINDS = {
    "h264_mp4": Kind(".mp4", _x264()),
    "h264_mp4_one_gop": Kind(".mp4", _x264(params="keyint=250")),
    "h264_mp4_bpyramid": Kind(
        ".mp4", _x264(params="keyint=50:bframes=8:b-pyramid=normal:b-adapt=2")
    ),
    "h264_mp4_baseline": Kind(".mp4", _x264("-profile:v", "baseline")),
    "h264_mp4_10bit": Kind(
        ".mp4", ("-c:v", "libx264", "-preset", "veryfast", "-pix_fmt", "yuv420p10le", "-g", "30")
    ),
    "h264_avi_no_b": Kind(".avi", _x264(params="keyint=30:min-keyint=30:scenecut=0:bframes=0")),
    "h264_avi_b": Kind(".avi", _x264()),
    "h264_open_mp4": Kind(".mp4", _x264(params=_OPEN)),
    "h264_open_mkv": Kind(".mkv", _x264(params=_OPEN)),
    "h264_open_ts": Kind(".ts", _x264(params=_OPEN)),
    "h264_refresh_mp4": Kind(".mp4", _x264(params="keyint=40:intra-refresh=1:bframes=0")),
    "h264_mkv": Kind(".mkv", _x264()),
    "h264_fragmented_mp4": Kind(
        ".mp4", _x264("-movflags", "frag_keyframe+empty_moov+default_base_moof")
    ),
    "h264_faststart_mp4": Kind(".mp4", _x264("-movflags", "+faststart")),
    "h264_flv": Kind(".flv", _x264()),
    # short groups: on these two decord is wrong only where groups are short
    "h264_short_flv": Kind(".flv", _x264(params="keyint=7:min-keyint=7:scenecut=0")),
    "h264_interlaced_mp4": Kind(".mp4", _x264("-flags", "+ildct+ilme", "-field_order", "tt")),
    "mpeg4_avi": Kind(".avi", ("-c:v", "mpeg4", "-q:v", "4", "-g", "30")),
    "mpeg4_b_avi": Kind(".avi", ("-c:v", "mpeg4", "-q:v", "4", "-g", "30", "-bf", "2")),
    "mpeg4_b_mp4": Kind(".mp4", ("-c:v", "mpeg4", "-q:v", "4", "-g", "30", "-bf", "2")),
    "mjpeg_avi": Kind(".avi", ("-c:v", "mjpeg", "-q:v", "4", "-pix_fmt", "yuvj420p")),
    "hevc_mp4": Kind(
        ".mp4",
        (
            "-c:v",
            "libx265",
            "-preset",
            "ultrafast",
            "-x265-params",
            "keyint=30:open-gop=0:log-level=none",
        ),
    ),
    "hevc_open_mp4": Kind(
        ".mp4",
        (
            "-c:v",
            "libx265",
            "-preset",
            "ultrafast",
            "-x265-params",
            "keyint=30:min-keyint=30:scenecut=0:open-gop=1:bframes=4:log-level=none",
        ),
    ),
    "hevc_mkv": Kind(
        ".mkv",
        (
            "-c:v",
            "libx265",
            "-preset",
            "ultrafast",
            "-x265-params",
            "keyint=30:open-gop=0:log-level=none",
        ),
    ),
    "vp9_webm": Kind(
        ".webm",
        (
            "-c:v",
            "libvpx-vp9",
            "-deadline",
            "realtime",
            "-cpu-used",
            "8",
            "-b:v",
            "400k",
            "-g",
            "30",
        ),
    ),
    "vp8_webm": Kind(
        ".webm",
        (
            "-c:v",
            "libvpx",
            "-deadline",
            "realtime",
            "-cpu-used",
            "8",
            "-b:v",
            "400k",
            "-g",
            "30",
            "-auto-alt-ref",
            "1",
            "-lag-in-frames",
            "10",
        ),
    ),
    "av1_mp4": Kind(
        ".mp4",
        ("-c:v", "libsvtav1", "-preset", "12", "-crf", "20", "-g", "30", "-svtav1-params", "lp=1"),
    ),
    "av1_mkv": Kind(
        ".mkv",
        ("-c:v", "libsvtav1", "-preset", "12", "-crf", "20", "-g", "30", "-svtav1-params", "lp=1"),
    ),
    "mpeg2_ps": Kind(".mpg", ("-c:v", "mpeg2video", "-q:v", "4", "-g", "15", "-bf", "2")),
    "mpeg2_ts": Kind(".ts", ("-c:v", "mpeg2video", "-q:v", "4", "-g", "15", "-bf", "2")),
    "wmv2_asf": Kind(".wmv", ("-c:v", "wmv2", "-b:v", "800k", "-g", "30")),
    "wmv2_short_asf": Kind(".wmv", ("-c:v", "wmv2", "-b:v", "800k", "-g", "12")),
    "vfr_mp4": Kind(".mp4", (*_VFR, *_x264())),
    "vfr_mkv": Kind(".mkv", (*_VFR, *_x264())),
    "edit_list_mp4": Kind(
        ".mp4", _x264(), remux=("-ss", "1.6", "-i", "-c", "copy"), frames_kept=(40, FRAMES)
    ),
    "rotated_mp4": Kind(".mp4", _x264(), remux=("-display_rotation", "90", "-i", "-c", "copy")),
}
"""File kinds by name, most of those of notes/decoding-and-stores.md 1.1."""


def ffmpeg(*arguments, stdin=b""):
    """Run the bundled ffmpeg; its words are in the exception where it fails."""
    done = subprocess.run(
        [imageio_ffmpeg.get_ffmpeg_exe(), "-hide_banner", "-loglevel", "error", "-y", *arguments],
        input=stdin,
        capture_output=True,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(done.stderr.decode(errors="replace"))


@functools.cache
def painted(count=FRAMES, *, width=WIDTH, height=HEIGHT):
    """[count, height, width, 3] uint8: frame i shows the barcode i under a moving texture."""
    y, x = np.mgrid[0:height, 0:width]
    cell = min(width, height) // 4
    top, left = (height - 4 * cell) // 2, (width - 4 * cell) // 2
    frames = np.empty((count, height, width, 3), np.uint8)
    for i in range(count):
        texture = 20 * np.sin((x + 3 * i) / 7.0) + 20 * np.cos((y - 2 * i) / 5.0)
        bits = np.array([(i >> bit) & 1 for bit in range(16)]).reshape(4, 4)
        level = np.full((height, width), 128.0)
        level[top : top + 4 * cell, left : left + 4 * cell] = np.kron(
            55 + 145 * bits, np.ones((cell, cell))
        )
        frames[i] = np.clip(level + texture, 0, 255)[..., None]
    return frames


def barcode(frame):
    """The number painted into a centre-cropped frame [S, S, 3]."""
    size = frame.shape[0]
    edges = [round(k * size / 4) for k in range(5)]
    bits = 0
    for row in range(4):
        for column in range(4):
            inner = frame[
                edges[row] + size // 16 : edges[row + 1] - size // 16,
                edges[column] + size // 16 : edges[column + 1] - size // 16,
            ]
            bits |= int(inner.mean() > 127) << (4 * row + column)
    return bits


def encode(path, arguments, *, frames=None, fps=FPS, audio=False):
    """Write `frames` (default: 150 painted ones) to `path` with ffmpeg's output `arguments`."""
    frames = painted() if frames is None else frames
    _, height, width, _ = frames.shape
    sound = (
        ("-f", "lavfi", "-i", f"sine=duration={len(frames) / fps}", "-c:a", "aac") if audio else ()
    )
    inputs = (
        "-f",
        "rawvideo",
        "-pix_fmt",
        "rgb24",
        "-s",
        f"{width}x{height}",
        "-r",
        str(fps),
        "-i",
        "pipe:",
    )
    sound_in, sound_out = (sound[:4], sound[4:]) if audio else ((), ())
    ffmpeg(*inputs, *sound_in, *arguments, *sound_out, str(path), stdin=frames.tobytes())
    return Path(path)


def encode_kind(folder, name, *, frames=None):
    """A file of a named kind, in `folder`."""
    kind = KINDS[name]
    path = Path(folder) / f"{name}{kind.suffix}"
    if not kind.remux:
        return encode(path, kind.arguments, frames=frames)
    whole = encode(Path(folder) / f"{name}_whole{kind.suffix}", kind.arguments, frames=frames)
    at = kind.remux.index("-i") + 1
    ffmpeg(*kind.remux[:at], str(whole), *kind.remux[at:], str(path))
    whole.unlink()
    return path


@functools.cache
def library():
    """A folder for this test session's videos, gone with the process."""
    return tempfile.TemporaryDirectory(prefix="reelvec-media-")


@functools.cache
def video(name):
    """Path of the session's file of kind `name`, encoded on first use."""
    return encode_kind(library().name, name)


@functools.cache
def headless(kind, count):
    """Path of the session's copy of a kind that lacks its first `count` packets."""
    return without_first_packets(kind, count, library().name)


def damaged(name, kind, *, keep=1.0, hole=(0.0, 0.0)):
    """Path of the session's damaged copy of a kind: its end cut off, or zeros in a part of it."""
    path = Path(library().name) / name
    if not path.exists():
        data = bytearray(video(kind).read_bytes())
        del data[int(len(data) * keep) :]
        start, stop = (int(len(data) * part) for part in hole)
        data[start:stop] = bytes(stop - start)
        path.write_bytes(data)
    return path


def kept(name):
    """Barcodes of the frames a player shows of kind `name`, by display index."""
    return list(range(*KINDS[name].frames_kept))


def without_first_packets(name, count, folder):
    """A copy of kind `name` that lacks its first `count` packets, and so its first keyframe."""
    import av

    source = video(name)
    path = Path(folder) / f"headless{'.mkv' if source.suffix == '.mp4' else source.suffix}"
    with av.open(str(source)) as old, av.open(str(path), "w") as new:
        stream = old.streams.video[0]
        copy = new.add_stream_from_template(stream)
        for number, packet in enumerate(old.demux(stream)):
            if packet.size and number >= count:
                packet.stream = copy
                new.mux(packet)
    return path
