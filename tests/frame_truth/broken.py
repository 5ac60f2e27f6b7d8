"""Kinds of the corpus that are damaged, cut, locked or no video: to be refused with a reason."""

import random
import tempfile
from pathlib import Path

from tests.frame_truth.containers import FRAGMENTS, MPEG2, MPEG4, VP9
from tests.frame_truth.making import (
    Kind,
    changed,
    cut,
    encode,
    encoded,
    ffmpeg,
    hole,
    x264,
    x265,
)
from tests.frame_truth.pictures import PICTURE


def flipped(count, seed=0):
    """A change that flips bits between a tenth and nine tenths of the bytes."""

    def change(data):
        out, rng = bytearray(data), random.Random(seed)
        for _ in range(count):
            at = rng.randrange(len(out) // 10, len(out) * 9 // 10)
            out[at] ^= 1 << rng.randrange(8)
        return bytes(out)

    return change


def damaged(suffix, change, *arguments, **keywords):
    return changed(encoded(suffix, *arguments, **keywords), change, refused=True)


def written(suffix, content):
    """A file with these bytes."""
    return Kind(suffix, lambda path: path.write_bytes(content), refused=True)


def _sound(suffix, *after):
    tone = ("-f", "lavfi", "-i", "sine=duration=5")
    return Kind(suffix, lambda path: ffmpeg(*tone, *after, path), refused=True)


def _song(path):
    """Sound with a cover picture."""
    tag, arguments, size, count = PICTURE
    with tempfile.TemporaryDirectory() as folder:
        picture = Path(folder) / "cover.mkv"
        encode(picture, *arguments, tag=tag, size=size, count=count)
        ffmpeg(
            "-f", "lavfi", "-i", "sine=duration=5", "-i", picture, "-map", "0", "-map", "1",
            "-c:v", "copy", "-disposition:v:0", "attached_pic", "-f", "mp4", path,
        )  # fmt: skip


def _still(path):
    """A picture in the clothes of an MP4."""
    encode(
        path, "-c:v", "libaom-av1", "-still-picture", "1", "-cpu-used", "8", "-f", "avif", count=1
    )


WMV2 = ("-c:v", "wmv2", "-b:v", "1M", "-g", "30")
THEORA = ("-c:v", "libtheora", "-q:v", "7", "-g", "30")
RV20 = ("-c:v", "rv20", "-q:v", "4", "-g", "30")
STILL = ("-c:v", "libaom-av1", "-still-picture", "1", "-cpu-used", "8", "-f", "avif")
LFS = (
    b"version https://git-lfs.github.com/spec/v1\n"
    b"oid sha256:4d7a214614ab2935c943f9e0ff69d22eadbb8f32b1258daaa5e2ca24d17e2393\nsize 12345\n"
)
LOCKED = (
    "-encryption_scheme", "cenc-aes-ctr", "-encryption_key", "76a6c65c5ea762046bd749a2e632ccbb",
    "-encryption_kid", "a7e61c373e219033c21091fa607bf3b8",
)  # fmt: skip

KINDS = {
    "cut mp4": damaged(".mp4", cut(0.6), *x264("-movflags", "+faststart")),
    "cut mp4, index lost": damaged(".mp4", cut(0.6), *x264()),
    "cut mp4, fragments": damaged(".mp4", cut(0.6), *x264("-movflags", FRAGMENTS)),
    "cut mov": damaged(".mov", cut(0.9), *x264("-movflags", "+faststart")),
    "cut mkv": damaged(".mkv", cut(0.6), *x264()),
    "cut webm": damaged(".webm", cut(0.6), *VP9),
    "cut avi": damaged(".avi", cut(0.6), *MPEG4),
    "cut flv": damaged(".flv", cut(0.6), *x264()),
    "cut wmv": damaged(".wmv", cut(0.6), *WMV2),
    "cut ts": damaged(".ts", cut(0.6003), *x264()),
    "cut ogv": damaged(".ogv", cut(0.6), *THEORA),
    "cut mxf": damaged(".mxf", cut(0.6), *MPEG2),
    "cut rm": damaged(".rm", cut(0.6), *RV20, size=(176, 144)),
    "cut gif": changed(encoded(".gif", count=60), cut(0.6), refused=True),
    "cut y4m": changed(encoded(".y4m", "-pix_fmt", "yuv420p", count=60), cut(0.6), refused=True),
    "a hole mp4": damaged(".mp4", hole(0.35, 0.65), *x264()),
    "a hole mkv": damaged(".mkv", hole(0.35, 0.65), *x264()),
    "a hole hevc mp4": damaged(".mp4", hole(0.35, 0.65), *x265()),
    "a hole webm": damaged(".webm", hole(0.35, 0.65), *VP9),
    "a hole avi": damaged(".avi", hole(0.35, 0.65), *MPEG4),
    "a hole flv": damaged(".flv", hole(0.35, 0.65), *x264()),
    "a hole wmv": damaged(".wmv", hole(0.35, 0.65), *WMV2),
    "a hole mpg": damaged(".mpg", hole(0.35, 0.65), *MPEG2),
    "a hole mxf": damaged(".mxf", hole(0.35, 0.65), *MPEG2),
    "a hole ogv": damaged(".ogv", hole(0.35, 0.65), *THEORA),
    "a hole rm": damaged(".rm", hole(0.35, 0.65), *RV20, size=(176, 144)),
    "a hole m2v, no container": damaged(".m2v", hole(0.35, 0.65), *MPEG2),
    "a hole mp4, fragments": damaged(".mp4", hole(0.35, 0.65), *x264("-movflags", FRAGMENTS)),
    "a hole ts": damaged(".ts", hole(0.35, 0.65), *x264()),
    "flipped bits mp4": damaged(".mp4", flipped(60), *x264()),
    "flipped bits hevc mkv": damaged(".mkv", flipped(60), *x265()),
    "encrypted mp4": damaged(".mp4", lambda data: data, *x264(*LOCKED)),
    "sound alone mp4": _sound(".mp4"),
    "sound alone, mp3 called mp4": _sound(".mp4", "-f", "mp3"),
    "sound with a cover picture m4v": Kind(".m4v", _song, refused=True),
    "a still picture called mp4": Kind(".mp4", _still, refused=True),
    "no bytes mp4": written(".mp4", b""),
    "text mp4": written(".mp4", b"this is no video\n" * 500),
    "HTML page mp4": written(".mp4", b"<!DOCTYPE html><html><body>404</body></html>\n" * 20),
    "Git LFS pointer mp4": written(".mp4", LFS),
    "noise avi": written(".avi", random.Random(1).randbytes(200_000)),
    "noise ts": written(".ts", random.Random(2).randbytes(200_000)),
}  # fmt: skip
