"""The reference: every picture of a file as ffmpeg's command line decodes it, and when it is shown.

It turns pictures upright and passes times through; nothing of Reelvec takes part. Pictures are kept
as the numbers they show; those that are asked for are decoded again.
"""

import re
import subprocess
import tempfile
from dataclasses import dataclass, replace

import imageio_ffmpeg
import numpy as np

from tests.frame_truth import code

SHOWN = re.compile(rb"\bn: *\d+ pts: *\S+ pts_time:(\S+).*? s:(\d+)x(\d+) ")
LASTS = re.compile(rb"duration_time:(\S+)")
SAME_TIME = 0.0005


@dataclass(frozen=True, eq=False)
class Truth:
    """What a file shows, in the order it is shown."""

    seen: tuple[code.Seen | None, ...]
    times: np.ndarray
    """[N] seconds since the first frame, ascending."""
    end: float
    """When the last frame goes."""
    pictures: np.ndarray
    """[N, H, W, 3] uint8, upright."""
    words: str
    """What ffmpeg complained of."""

    def at(self, seconds):
        """Index of the frame on screen at each of `seconds`."""
        return np.searchsorted(self.times, np.asarray(seconds) + SAME_TIME, side="right") - 1

    def one_a_second(self):
        """Indices of the frames on screen at 0 s, 1 s, 2 s, … before the end, each once."""
        whole = np.arange(max(1, int(np.ceil(self.end - SAME_TIME))))
        return np.unique(self.at(whole))

    def evenly(self, count):
        """Indices of `count` frames from the first to the last, each once."""
        return np.unique(np.linspace(0, len(self.seen) - 1, count).astype(np.int64))


def decode(path, *, kind=None):
    """The truth about `path`; None where ffmpeg shows no picture.

    A `kind` may name the stream to be shown, and a rate by which frames are timed: AVI stores no
    times, and ffmpeg's of B-frames are guesses.
    """
    stream = ("-map", kind.stream) if kind and kind.stream else ()
    command = [
        imageio_ffmpeg.get_ffmpeg_exe(), "-hide_banner", "-nostdin", "-nostats", "-threads", "1",
        "-i", f"file:{path}", *stream, "-an", "-sn", "-dn",
        "-fps_mode", "passthrough", "-vf", "showinfo",
        "-f", "rawvideo", "-pix_fmt", "rgb24", "-threads", "1", "pipe:",
    ]  # fmt: skip
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as said:
        subprocess.run(command, stdout=out, stderr=said, check=False)
        out.seek(0)
        said.seek(0)
        truth = _truth(np.frombuffer(out.read(), np.uint8), said.read())
    if truth is None or kind is None or not kind.rate:
        return truth
    times = np.arange(len(truth.seen) + 1) / kind.rate
    return replace(truth, times=times[:-1], end=float(times[-1]))


def _truth(data, said):
    shown = [line for line in said.splitlines() if SHOWN.search(line)]
    if not shown:
        return None
    facts = [SHOWN.search(line).groups() for line in shown]
    width, height = int(facts[0][1]), int(facts[0][2])
    pictures = data[: len(facts) * height * width * 3].reshape(-1, height, width, 3)
    if not len(pictures):
        return None
    times = np.array([float(t) if t != b"NOPTS" else np.nan for t, _, _ in facts[: len(pictures)]])
    lasting = [LASTS.search(line) for line in shown]
    order = np.argsort(times, kind="stable")
    last = lasting[order[-1]]
    times = times[order] - times[order[0]]
    step = float(np.median(np.diff(times))) if len(times) > 1 else 0.04
    lasts = float(last.group(1)) if last and float(last.group(1)) > 0 else step
    words = [line.decode(errors="replace") for line in said.splitlines() if b"rror" in line]
    return Truth(
        seen=tuple(code.read(pictures[i]) for i in order),
        times=times,
        end=float(times[-1]) + lasts,
        pictures=pictures[order],
        words=" | ".join(words[-3:]),
    )
