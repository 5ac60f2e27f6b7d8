"""The ffmpeg program as a decoder: every frame, in order, and it stops at the first error.

For strict whole-file checks and as a second opinion. ffmpeg ends with exit code 0 on a file with
40 % missing, hence `-xerror -err_detect explode` and the count at the end.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import IO

import numpy as np

from reelvec.storage.errors import VideoError
from reelvec.storage.reasons import Reason
from reelvec.storage.sandbox.lifeline import die_with_parent
from reelvec.storage.video.contract import Reading
from reelvec.storage.video.opening import CONTAINERS

__all__ = ["ffmpeg_program", "read_with_ffmpeg"]

LAST_WORDS = 400
"""Characters of ffmpeg's messages that are kept."""


def ffmpeg_program() -> str:
    """Path of the ffmpeg to run: the system's, or the one imageio-ffmpeg brings."""
    program = shutil.which("ffmpeg")
    if program:
        return program
    import imageio_ffmpeg

    return str(imageio_ffmpeg.get_ffmpeg_exe())


def read_with_ffmpeg(reading: Reading) -> None:
    """Decode the whole file and put the wanted frames.

    Raises:
        VideoError: ffmpeg complained, or shows another number of frames than the probe counted.
    """
    if reading.probe.skipped_at_start:
        raise _failed(reading, "begins without a keyframe: ffmpeg's count would be shifted")
    if reading.probe.in_order and reading.probe.reorders:
        raise _failed(reading, "some frames share a time: ffmpeg's order may be another")
    with tempfile.TemporaryFile() as words:
        # its own session is not needed: it dies with this worker (die_with_parent)
        child = subprocess.Popen(
            _command(reading),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=words,
            preexec_fn=die_with_parent,  # noqa: PLW1509 - workers run no other thread of ours
        )
        try:
            seen = _take_frames(child.stdout, reading)
            code = child.wait()
        finally:
            child.kill()
            child.wait()
            if child.stdout is not None:
                child.stdout.close()
        words.seek(0, os.SEEK_SET)
        said = words.read()[-LAST_WORDS:].decode(errors="replace").strip()
    if code != 0:
        raise _failed(reading, f"ffmpeg stopped after {seen} frames (exit code {code}): {said}")
    if seen != reading.probe.frames_counted:
        message = f"ffmpeg shows {seen} frames, the probe counted {reading.probe.frames_counted}"
        raise _failed(reading, f"{message}; {said}" if said else message)


def _command(reading: Reading) -> list[str]:
    import ffmpeg

    source = ffmpeg.input(
        f"file:{Path(reading.path).absolute()}",
        protocol_whitelist="file",
        format_whitelist=",".join(CONTAINERS),
        err_detect="explode",
        max_pixels=reading.max_pixels,
        threads=1,
        flags="unaligned",  # crops exactly
        noautorotate=None,  # done here, as for the other decoders: versions of ffmpeg differ in it
    )
    height, width = _stored_size(reading)
    piped = source.output(
        "pipe:1",
        map=f"0:{reading.probe.stream_index}",
        fps_mode="passthrough",
        format="rawvideo",
        pix_fmt="rgb24",
        s=f"{width}x{height}",
        threads=1,
    )
    arguments = piped.global_args("-nostdin", "-v", "error", "-xerror")
    return [str(part) for part in arguments.compile(cmd=ffmpeg_program())]


def _take_frames(pipe: IO[bytes] | None, reading: Reading) -> int:
    """Put the wanted frames of a pipe of raw RGB pictures; the number of whole pictures seen."""
    picture = np.empty((*_stored_size(reading), 3), np.uint8)
    view = picture.reshape(-1).data
    seen = 0
    while pipe is not None:
        got = 0
        while got < len(view):
            count = pipe.readinto(view[got:])  # type: ignore[attr-defined]
            if not count:
                return seen
            got += count
        reading.progress()
        if reading.sink.wants(seen):
            reading.sink.put(seen, reading.probe.orientation.show(picture))
        seen += 1
    return seen


def _stored_size(reading: Reading) -> tuple[int, int]:
    """Height and width before the picture is turned."""
    shown = (reading.probe.height, reading.probe.width)
    return shown[::-1] if reading.probe.orientation.swaps_sides else shown


def _failed(reading: Reading, words: str) -> VideoError:
    reason = Reason.TRUNCATED if reading.probe.truncated else Reason.DAMAGED
    return VideoError(f"{reading.path}: {words}", path=reading.path, reason=reason)
