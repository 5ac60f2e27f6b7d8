"""Files large enough that decoding is what is paid for, and `auto` in this process."""

from pathlib import Path

import numpy as np

from reelvec.configs.decoding import FrameOptions
from reelvec.configs.schema import ExtractConfig
from reelvec.tasks.decoding.worker import decode_clip
from tests.frame_truth import containers, making
from tests.frame_truth.making import NO_B, OPEN, x264, x265
from tests.frame_truth.rivals import COUNT

POLICIES = {"one_a_second": "per_second", "evenly": "uniform"}
SIZE, SHORT, LONG = (640, 360), 250, 1500

ENCODED = {
    "h264 mp4": (".mp4", x264()),
    "h264 mp4, groups of 250": (".mp4", x264(params="keyint=250")),
    "h264 mp4, open groups": (".mp4", x264(params=OPEN)),
    "h264 mkv": (".mkv", x264()),
    "h264 avi, no B": (".avi", x264(params=NO_B)),
    "h264 ts": (".ts", x264()),
    "hevc mp4": (".mp4", x265()),
    "mpeg4 avi": (".avi", containers.MPEG4),
    "mpeg2 mpg": (".mpg", containers.MPEG2),
    "vp9 webm": (".webm", containers.VP9),
    "av1 mp4": (".mp4", containers.AV1),
}
LENGTHS = {"one_a_second": SHORT, "evenly": LONG}


def files(folder):
    """row -> (path, question): each kind asked one a second of 10 s, and twelve of 60 s."""
    made = {}
    for ask, count in LENGTHS.items():
        for name, (suffix, arguments) in ENCODED.items():
            plain = "".join(c if c.isalnum() else "_" for c in name)
            path = Path(folder).absolute() / f"speed_{plain}_{count}{suffix}"
            if not path.exists():
                making.encode(path, *arguments, size=SIZE, count=count)
            made[f"{name}, {count} frames"] = (path, ask)
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
