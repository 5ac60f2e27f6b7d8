"""Files large enough that decoding is what is paid for, and `auto` in this process."""

from pathlib import Path

import numpy as np

from reelvec.configs.decoding import FrameOptions
from reelvec.configs.schema import ExtractConfig
from reelvec.tasks.decoding.worker import decode_clip
from tests.frame_truth import containers, making
from tests.frame_truth.making import OPEN, x264, x265
from tests.frame_truth.rivals import COUNT

POLICIES = {"one_a_second": "per_second", "evenly": "uniform"}
SIZE, SHORT, LONG = (640, 360), 250, 1500

ENCODED = {
    "h264 mp4": (".mp4", x264()),
    "h264 mp4, groups of 250": (".mp4", x264(params="keyint=250")),
    "h264 mkv, open groups": (".mkv", x264(params=OPEN)),
    "hevc mp4": (".mp4", x265()),
    "mpeg4 avi": (".avi", containers.MPEG4),
    "vp9 webm": (".webm", containers.VP9),
    "av1 mp4": (".mp4", containers.AV1),
}


def files(folder):
    """row -> (path, question): each kind asked one a second of 10 s, and twelve of 60 s.

    The long ones are the short ones, copied end to end.
    """
    made = {}
    for name, (suffix, arguments) in ENCODED.items():
        plain = "".join(c if c.isalnum() else "_" for c in name)
        short, long = (Path(folder).absolute() / f"{s}_{plain}{suffix}" for s in ("short", "long"))
        if not long.exists():
            making.encode(short, *arguments, size=SIZE, count=SHORT)
            loops = str(LONG // SHORT - 1)
            making.ffmpeg("-stream_loop", loops, "-i", short, "-c", "copy", long)
        made[f"{name}, {SHORT} frames"] = (short, "one_a_second")
        made[f"{name}, {LONG} frames"] = (long, "evenly")
    return made


class _Here:
    """What a worker gives its target, without a sandbox."""

    def __init__(self):
        self.arrays = []

    def heartbeat(self):
        pass

    def allocate(self, shape, dtype=np.uint8):
        self.arrays.append(np.empty(shape, dtype))
        return self.arrays[-1]


def auto(ask):
    """Reelvec's own way with one file, the pass over its packets included."""

    def way(path):
        options, here = ExtractConfig(), _Here()
        rule = options.sampling.model_dump() | {"policy": POLICIES[ask], "count": COUNT}
        job = {
            "path": str(path), "content_hash": "", "bytes": 0, "mtime_ns": 0,
            "start_seconds": None, "end_seconds": None, "rule": rule,
            "frames": FrameOptions().model_dump(), "max_pixels": options.max_pixels,
        }  # fmt: skip
        answer = decode_clip(job, here)
        if answer["status"] != "ok":
            raise ValueError(answer["message"])
        return here.arrays[answer["arrays"][0]]

    return way
