"""From videos to frames: the sandbox against decoding in this process, and against CLIP4Clip's way.

One frame a second of a small corpus (the real clips of ../shared/data/clips where present, else
encoded ones), 224 x 224. Wall time, medians of interleaved rounds; ratios to in-process decoding of
the same run: above 1 is faster. CLIP4Clip decodes again for every sample, a seek a frame, and
resizes with Pillow; without cv2 its seeks are made with PyAV. Absolute numbers are this machine's
alone.
"""

import functools
import os
import statistics
import tempfile
import time
from pathlib import Path

import av
import numpy as np
import torch

from reelvec.configs.decoding import FrameOptions
from reelvec.configs.schema import ExtractConfig
from reelvec.storage.video.transform import fit
from reelvec.tasks.decoding.files import ClipJob, decode_clips
from reelvec.tasks.decoding.worker import decode_clip, probe_file
from tests.frame_truth.rivals import RIVALS, cv2_sought
from tests.support import media

CLIPS = Path(__file__).parents[3] / "shared/data/clips"
ROUNDS = 5
HAS_CV2 = RIVALS["OpenCV, a seek a frame"].here


def corpus(folder):
    if CLIPS.exists():
        return "real clips", sorted([*CLIPS.glob("*.mp4"), *CLIPS.glob("*.mkv")])
    frames = media.painted(375, width=320, height=240)
    names = ("h264_mp4", "h264_mkv", "mpeg4_avi", "vp9_webm") * 6
    made = {name: media.encode_kind(folder, name, frames=frames) for name in set(names)}
    return "encoded clips", [made[name] for name in names]


class InProcess:
    """What a worker gives its target, without a sandbox."""

    def heartbeat(self):
        pass

    def allocate(self, shape, dtype=np.uint8):
        return np.empty(shape, dtype)


def in_process(paths):
    return sum(decode_clip(_job(path), InProcess()).get("kept", 0) for path in paths)


def after_ingest(paths):
    """By the packets that ingest kept; what it found is asked for once."""
    jobs = [_job(path) | _ingested(path) for path in paths]
    return sum(decode_clip(job, InProcess()).get("kept", 0) for job in jobs)


@functools.cache
def _ingested(path):
    return probe_file({"path": str(path), "max_pixels": ExtractConfig().max_pixels}, InProcess())


def _job(path):
    options = ExtractConfig()
    return {
        "path": str(path), "content_hash": "", "bytes": 0, "mtime_ns": 0,
        "start_seconds": None, "end_seconds": None, "rule": options.sampling.model_dump(),
        "frames": FrameOptions().model_dump(), "max_pixels": options.max_pixels,
    }  # fmt: skip


def sandboxed(paths, workers):
    jobs = [ClipJob(clip_key=str(path), path=str(path)) for path in paths]
    results = decode_clips(jobs, options=ExtractConfig(), workers=workers)
    return sum(len(result.frames) for result in results)


def cv2_pictures(path, picks):
    """A seek and a read a frame, with OpenCV."""
    import cv2

    capture = cv2.VideoCapture(str(path), cv2.CAP_FFMPEG, [cv2.CAP_PROP_N_THREADS, 1])
    yield from cv2_sought(capture, picks)


def pyav_sought(path, picks):
    """Seek to the keyframe before each frame and decode up to it, by frame number over rate."""
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        stream.thread_type = "NONE"
        rate, start = stream.average_rate, stream.start_time or 0
        untimed = container.format.name == "avi"  # its PTS after a seek may be one frame late
        for index in picks:
            wanted = start + int(index / rate / stream.time_base)
            container.seek(wanted, stream=stream)
            for frame in container.decode(stream):
                at = frame.dts if untimed else frame.pts
                if at is not None and at >= wanted:
                    yield frame.to_ndarray(format="rgb24")
                    break


def clip4clip(paths):
    """A seek for each second, Pillow's resize."""
    from reelvec.storage.video.probe import probe

    count = 0
    out = np.empty((224, 224, 3), np.uint8)
    for path in paths:
        found = probe(path)
        picks = np.arange(0, found.frames_counted, max(1, int(found.fps)))
        sought = cv2_pictures if HAS_CV2 else pyav_sought
        for picture in sought(path, picks):
            fit(picture, size=224, out=out, how="pillow")
            count += 1
    return count


def main():
    torch.set_num_threads(1)
    cores = len(os.sched_getaffinity(0))
    ways = {
        "in this process": in_process,
        "the same, after ingest": after_ingest,
        "sandbox, 1 worker": lambda paths: sandboxed(paths, 1),
        f"sandbox, {cores} workers": lambda paths: sandboxed(paths, cores),
        f"CLIP4Clip ({'OpenCV' if HAS_CV2 else 'PyAV, no cv2'})": clip4clip,
    }
    with tempfile.TemporaryDirectory() as folder:
        what, paths = corpus(folder)
        after_ingest(paths)
        sandboxed(paths[:1], 1)  # the zygote's imports are paid once a process, not here
        spent = {name: [] for name in ways}
        frames, started = {}, time.perf_counter()
        for _ in range(ROUNDS):
            if time.perf_counter() - started > 40:
                break
            for name, way in ways.items():
                begun = time.perf_counter()
                frames[name] = way(paths)
                spent[name].append(time.perf_counter() - begun)
    medians = {name: statistics.median(seconds) for name, seconds in spent.items()}
    base = medians["in this process"]
    print(f"{len(paths)} {what}, one frame a second, {cores} cores, {len(spent[name])} rounds")
    print(f"{'way':28}{'frames':>8}{'videos/s':>10}{'of in-process':>15}")
    for name, seconds in medians.items():
        print(f"{name:28}{frames[name]:8}{len(paths) / seconds:10.1f}{base / seconds:15.2f}")


if __name__ == "__main__":
    main()
