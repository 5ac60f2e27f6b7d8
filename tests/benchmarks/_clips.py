"""Clips of realistic kinds, made by ffmpeg, and as many files of other bytes as are wanted."""

import shutil
import struct

from tests.support.media import ffmpeg

KINDS = (
    # suffix, width x height, frames a second, seconds, encoder
    (".mp4", "640x480", 30, 8, ("libx264", "-preset", "medium", "-crf", "23")),
    (".mp4", "480x360", 25, 10, ("libx264", "-preset", "medium", "-crf", "23")),
    (".mp4", "320x240", 25, 6, ("libx264", "-preset", "veryfast", "-crf", "26")),
    (".mkv", "640x360", 30, 7, ("libx264", "-preset", "veryfast", "-g", "60")),
    (".mp4", "426x240", 30, 5, ("libx264", "-preset", "medium", "-profile:v", "baseline")),
    (".avi", "320x240", 25, 9, ("mpeg4", "-q:v", "5", "-g", "100")),
    (".mp4", "640x480", 25, 10, ("libx264", "-preset", "veryfast", "-bf", "3", "-refs", "4")),
    (".webm", "480x360", 30, 6, ("libvpx-vp9", "-b:v", "500k", "-cpu-used", "8")),
)
"""Most are H.264 in MP4, as in the field's corpora."""
PIXELS = ("-pix_fmt", "yuv420p")


def encode(path, *, number):
    """One clip: colours that flow, with grain, other for each number."""
    _, size, rate, seconds, encoder = KINDS[number % len(KINDS)]
    flow = f"gradients=size={size}:rate={rate}:duration={seconds}:nb_colors=8:seed={number}"
    picture = f"{flow}:speed=0.02,noise=alls=5:allf=t:all_seed={number}"
    tone = ("-f", "lavfi", "-i", f"sine=frequency={200 + number}:duration={seconds}")
    sound = ("-c:a", "libopus" if path.suffix == ".webm" else "libmp3lame", "-b:a", "48k")
    ffmpeg(
        *("-f", "lavfi", "-i", picture, *tone, "-t", str(seconds)),
        *("-c:v", *encoder, *PIXELS, *sound, str(path)),
    )


def padding(suffix, number):
    """Bytes that containers of this kind skip, other for each number."""
    body = f"{number:012d}".encode()
    if suffix == ".mp4":
        return struct.pack(">I4s", 8 + len(body), b"free") + body
    if suffix == ".avi":
        return struct.pack("<4sI", b"JUNK", len(body)) + body
    return bytes([0xEC, 0x80 + len(body)]) + body  # Void of Matroska


def originals(folder, *, count):
    """So many encoded clips in a folder; those that are there already are taken as they are."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for number in range(count):
        paths.append(folder / f"original{number:04d}{KINDS[number % len(KINDS)][0]}")
        if not paths[-1].exists():
            encode(paths[-1], number=number)
    return paths


def multiplied(paths, folder, *, count):
    """So many files in a folder: these, then copies of them with padding."""
    folder.mkdir(parents=True)
    made = []
    for number in range(count):
        source = paths[number % len(paths)]
        made.append(folder / f"clip{number:05d}{source.suffix}")
        shutil.copyfile(source, made[-1])
        if number >= len(paths):
            with made[-1].open("ab") as file:
                file.write(padding(source.suffix, number))
    return made


def broken(path, folder):
    """The first third of a file: no index, or no end."""
    data = path.read_bytes()
    (folder / f"broken{path.suffix}").write_bytes(data[: len(data) // 3])
