"""How files of the corpus are made: painted frames through ffmpeg, and edits of the bytes after."""

import functools
import subprocess
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import imageio_ffmpeg

from tests.frame_truth import code

WIDTH, HEIGHT, FRAMES, FPS = 192, 144, 150, 25


@dataclass(frozen=True)
class Kind:
    """One kind of file."""

    suffix: str
    make: Callable[[Path], None]
    """Writes the file to the path given."""
    refused: bool = False
    """It is damaged, or no video: right is to say so, never a frame."""
    rate: float = 0.0
    """Frames a second where the container stores no times and ffmpeg's are guesses; 0: it does."""
    resized: bool = False
    """Pictures change their size, and ffmpeg scales them to the first's: no colours to compare."""
    stream: str = ""
    """The stream a player shows, as ffmpeg's -map names it; "": the one ffmpeg chooses."""


def x264(*more, params="keyint=30:min-keyint=30:scenecut=0"):
    """Encoder arguments of H.264 with B-frames and closed groups of 30."""
    preset = ("-c:v", "libx264", "-preset", "veryfast", "-pix_fmt", "yuv420p")
    return (*preset, "-x264-params", params, *more)


def x265(*more, params="keyint=30:min-keyint=30:scenecut=0:open-gop=0"):
    """Encoder arguments of HEVC with B-frames and closed groups of 30."""
    preset = ("-c:v", "libx265", "-preset", "ultrafast", "-pix_fmt", "yuv420p")
    return (*preset, "-x265-params", f"{params}:log-level=none:pools=none:frame-threads=1", *more)


NO_B = "keyint=30:min-keyint=30:scenecut=0:bframes=0"
OPEN = "keyint=30:min-keyint=30:scenecut=0:open-gop=1:bframes=3"


def ffmpeg(*arguments, stdin=b""):
    """Run the bundled ffmpeg; its words are in the exception where it fails."""
    program = [imageio_ffmpeg.get_ffmpeg_exe(), "-hide_banner", "-loglevel", "error", "-y"]
    inputs = {"input": stdin} if stdin else {"stdin": subprocess.DEVNULL}
    done = subprocess.run(
        [*program, *map(str, arguments)], capture_output=True, check=False, **inputs
    )
    if done.returncode:
        raise RuntimeError(f"{arguments}: {done.stderr.decode(errors='replace')}")
    return done.stdout


@functools.lru_cache(maxsize=4)
def frames(count=FRAMES, *, size=(WIDTH, HEIGHT), tag=0, first=0):
    """Bytes of `count` painted frames that begin with the number `first`."""
    width, height = size
    numbers = range(first, first + count)
    return code.painted(numbers, width=width, height=height, tag=tag).tobytes()


def encode(path, *arguments, count=FRAMES, size=(WIDTH, HEIGHT), fps=FPS, tag=0, first=0):
    """Encode painted frames to `path` with ffmpeg's output (or further input) `arguments`."""
    raw = ("-f", "rawvideo", "-pix_fmt", "rgb24", "-s", f"{size[0]}x{size[1]}", "-r", str(fps))
    data = frames(count, size=size, tag=tag, first=first)
    ffmpeg(*raw, "-i", "pipe:", *arguments, path, stdin=data)


def encoded(suffix, *arguments, rate=0.0, **keywords):
    """The kind of file that `encode` makes with these arguments."""
    return Kind(suffix, lambda path: encode(path, *arguments, **keywords), rate=rate)


def remuxed(suffix, before, after, *arguments, whole="", refused=False, **keywords):
    """Encoded as `arguments` say (to a file with the suffix `whole`), then copied by ffmpeg.

    `before` are options of the copy's input, `after` those of its output.
    """

    def make(path):
        with tempfile.TemporaryDirectory() as folder:
            source = Path(folder) / f"whole{whole or suffix}"
            encode(source, *arguments, **keywords)
            ffmpeg(*before, "-i", source, "-c", "copy", *after, path)

    return Kind(suffix, make, refused=refused)


def changed(kind, change, *, refused=False, suffix=""):
    """A kind's file after `change`, from its bytes to others."""

    def make(path):
        kind.make(path)
        path.write_bytes(change(path.read_bytes()))

    if not suffix or suffix == kind.suffix:
        return Kind(kind.suffix, make, refused=refused)

    def make_elsewhere(path):
        with tempfile.TemporaryDirectory() as folder:
            source = Path(folder) / f"whole{kind.suffix}"
            kind.make(source)
            path.write_bytes(change(source.read_bytes()))

    return Kind(suffix, make_elsewhere, refused=refused)


def joined(suffix, *parts, resized=False):
    """The bytes of several kinds' files, one after the other."""

    def make(path):
        with tempfile.TemporaryDirectory() as folder:
            files = [Path(folder) / f"{place}{kind.suffix}" for place, kind in enumerate(parts)]
            for kind, file in zip(parts, files, strict=True):
                kind.make(file)
            path.write_bytes(b"".join(file.read_bytes() for file in files))

    return Kind(suffix, make, resized=resized)


def piped(suffix, format_name, *arguments, **keywords):
    """As written to a pipe: a live recording, whose header was never gone back to."""

    def make(path):
        raw = ("-f", "rawvideo", "-pix_fmt", "rgb24", "-s", f"{WIDTH}x{HEIGHT}", "-r", str(FPS))
        out = ffmpeg(
            *raw, "-i", "pipe:", *arguments, "-f", format_name, "pipe:1", stdin=frames(**keywords)
        )
        path.write_bytes(out)

    return Kind(suffix, make)


def replace_box(data, trail, content):
    """MP4 bytes whose box at `trail` (names from the outermost) has this payload instead.

    The boxes around it are lengthened; media data must stand before them.
    """
    start, stop = 0, len(data)
    sizes = []  # where the sizes of the boxes on the way stand
    for name in trail:
        at = start
        while data[at + 4 : at + 8] != name:
            at += int.from_bytes(data[at : at + 4], "big")
            if at >= stop:
                raise ValueError(f"no box {name}")
        sizes.append(at)
        start, stop = at + 8, at + int.from_bytes(data[at : at + 4], "big")
    out = bytearray(data[:start] + content + data[stop:])
    for at in sizes:
        longer = int.from_bytes(data[at : at + 4], "big") + len(content) - (stop - start)
        out[at : at + 4] = longer.to_bytes(4, "big")
    return bytes(out)


def edit_list(*edits):
    """Payload of an `elst` box: (duration in ticks of the movie, start in ticks of the media)."""
    rows = b"".join(
        length.to_bytes(4, "big") + start.to_bytes(4, "big", signed=True) + b"\0\1\0\0"
        for length, start in edits
    )
    return bytes(4) + len(edits).to_bytes(4, "big") + rows


def with_edits(*edits):
    """A change that gives an MP4's first track these edits."""
    trail = (b"moov", b"trak", b"edts", b"elst")
    return lambda data: replace_box(data, trail, edit_list(*edits))


def cut(fraction):
    """A change that drops what follows this fraction of the bytes."""
    return lambda data: data[: int(len(data) * fraction)]


def hole(start, stop):
    """A change that puts zeros between two fractions of the bytes."""

    def change(data):
        first, last = int(len(data) * start), int(len(data) * stop)
        return data[:first] + bytes(last - first) + data[last:]

    return change
