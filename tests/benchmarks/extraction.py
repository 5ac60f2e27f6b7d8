"""From videos to frames: the sandbox against decoding in this process, and against CLIP4Clip's way.

One frame a second of a small corpus (the real clips of ../shared/data/clips where present, else
encoded ones), 224 x 224. Wall time, medians of interleaved rounds; ratios to in-process decoding of
the same run: above 1 is faster. With `--clips 300` instead: how much of its time a run's decoders
have a clip in hand, by their own clocks, of so many files in a new store and two or more slots: a
share that other programs bend little, since they hold up both what is counted and what it is a part
of. CLIP4Clip decodes again for every sample, a seek a frame, and
resizes with Pillow; without cv2 its seeks are made with PyAV. Absolute numbers are this machine's
alone.
"""

import argparse
import contextlib
import functools
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path

import av
import numpy as np
import torch

from reelvec.configs import PipelineConfig
from reelvec.configs.decoding import FrameOptions
from reelvec.configs.schema import ExtractConfig
from reelvec.flows.alone import run_alone
from reelvec.storage.video.transform import fit
from reelvec.tasks.artifacts import Session
from reelvec.tasks.decoding import files
from reelvec.tasks.decoding.files import ClipJob, decode_clips
from reelvec.tasks.decoding.worker import decode_clip, probe_file
from tests.benchmarks import _clips, _clocked
from tests.frame_truth.rivals import RIVALS, cv2_sought
from tests.support import media

CLIPS = Path(__file__).parents[3] / "shared/data/clips"
ROUNDS = 5
SHORT_BYTES = 2**19
"""Of clips of a few seconds."""
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


@contextlib.contextmanager
def clocked(path):
    """Clips are decoded by `_clocked.clocked_clip` while the block runs."""
    usual = files.run_jobs
    os.environ[_clocked.FILE] = str(path)

    def run_jobs(jobs, *, target, shared, pool):
        return usual(
            jobs, target="tests.benchmarks._clocked:clocked_clip", shared=shared, pool=pool
        )

    files.run_jobs = run_jobs
    try:
        yield
    finally:
        files.run_jobs = usual
        del os.environ[_clocked.FILE]


def in_hand(clips, slots):
    """Prints the share of (slots x clock) that decoders had a clip in hand, in a run's extract."""
    with tempfile.TemporaryDirectory() as folder:
        what, paths = corpus(folder)
        short = [path for path in paths if path.stat().st_size < SHORT_BYTES]
        videos, times = Path(folder) / "videos", Path(folder) / "times"
        _clips.multiplied(short, videos, count=clips)
        config = PipelineConfig.model_validate(
            {"name": "in hand", "store": f"{folder}/store", "workers": slots}
            | {"corpus": {"kind": "folder", "videos": str(videos)}, "train": {"epochs": 0}}
        )
        with clocked(times):
            done = run_alone(Session(config), only=["ingest", "extract"])
        spans = [list(map(float, line.split())) for line in times.read_text().splitlines()]
        stage = next(one.seconds for one in done.stages if one.stage == "extract")
    first, last = min(span[1] for span in spans), max(span[2] for span in spans)
    worked = sum(end - begun for _, begun, end in spans)
    load = os.getloadavg()[0]
    print(f"{len(spans)} {what} of at most half a megabyte, {slots} slots, load {load:.1f}")
    print(f"a clip in hand, of the whole stage           {worked / (slots * stage):.3f}")
    print(f"the same, from the first clip to the last    {worked / (slots * (last - first)):.3f}")
    print(f"stage {stage:.2f} s, beside the clips {stage - last + first:.2f} s")


def main(arguments=()):
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.extraction")
    parser.add_argument("--clips", type=int, default=0)
    parser.add_argument("--slots", type=int, default=2)
    given = parser.parse_args(list(arguments))
    torch.set_num_threads(1)
    if given.clips:
        in_hand(given.clips, given.slots)
        return
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
    main(sys.argv[1:])
