"""How fast frames come out of a store: ``python -m tests.benchmarks.frames``.

Random videos of a warm store are gathered into one contiguous uint8 batch [64, 12, 224, 224, 3].
Every row is measured in turn within each round, so that whatever else the machine does falls on
all of them; the ratio to a plain memory copy of the same bytes is the number to look at.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import io
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import av
import numpy as np
from PIL import Image

from reelvec.storage.commits.artifact import Artifact
from reelvec.storage.frames.contract import ClipFrames, Payload
from reelvec.storage.frames.formats import SUFFIXES, Format, open_writer
from reelvec.storage.frames.reader import FrameReader
from reelvec.storage.records import Outcome
from reelvec.storage.roots import open_root

VIDEOS, FRAMES, SIZE, BATCH = 256, 12, 224, 64
Fill = Callable[[Sequence[int], np.ndarray], None]


@dataclass
class Row:
    """One way to read: what it is called, how it fills a batch, and what it costs."""

    name: str
    fill: Fill
    bytes_per_video: int
    seconds: list[float] = field(default_factory=list)
    cpu_seconds: list[float] = field(default_factory=list)
    tolerance: float = 0.0  # mean levels a lossy payload may be off


def make_videos(count: int) -> np.ndarray:
    """Natural enough for JPEG: smooth random fields that drift, with a little noise."""
    rng = np.random.default_rng(0)
    videos = np.empty((count, FRAMES, SIZE, SIZE, 3), np.uint8)
    for video in videos:
        coarse = Image.fromarray(rng.integers(0, 256, (12, 12, 3), dtype=np.uint8))
        large = np.asarray(coarse.resize((SIZE + 24, SIZE + 24), Image.Resampling.BICUBIC))
        noise = rng.integers(-6, 7, (SIZE, SIZE, 3))
        for t in range(FRAMES):
            window = large[2 * t : 2 * t + SIZE, t : t + SIZE].astype(np.int16) + noise
            video[t] = window.clip(0, 255)
    return videos


def store_row(folder: Path, videos: np.ndarray, *, format: Format, payload: Payload) -> Row:
    """Our reader over a committed snapshot of shards of 64 videos."""
    artifact = Artifact.open(
        open_root(folder), kind="frames", identity={"format": format, "payload": payload}
    )
    receipts = []
    for start in range(0, len(videos), 64):
        suffix = SUFFIXES[format]
        with artifact.new_part(table="frames", shard=f"{start:05d}", suffix=suffix) as part:
            keys = [f"{v:032x}" for v in range(start, min(start + 64, len(videos)))]
            with open_writer(part.path, format=format, payload=payload, size=SIZE) as writer:
                for key in keys:
                    frames = videos[int(key, 16)]
                    writer.add(ClipFrames(key, frames, np.arange(12.0), np.arange(12)))
            receipts.append(part.commit(rows=len(keys), outcomes=[Outcome(key) for key in keys]))
    snapshot = artifact.publish(add=receipts)
    reader = FrameReader(snapshot)
    picks = [np.arange(FRAMES)] * BATCH

    def fill(chosen: Sequence[int], out: np.ndarray) -> None:
        reader.gather([f"{v:032x}" for v in chosen], picks=picks, out=out)

    return Row(
        f"{format} {payload}",
        fill,
        snapshot.bytes // len(videos),
        tolerance=0.0 if payload == "raw" else 5.0,
    )


def folder_row(folder: Path, videos: np.ndarray) -> Row:
    """A folder of JPEGs a video read by Pillow, as CLIP2Video and AdaCLIP do."""
    total = 0
    for v, video in enumerate(videos):
        (folder / str(v)).mkdir(parents=True)
        for t, frame in enumerate(video):
            stream = io.BytesIO()
            Image.fromarray(frame).save(stream, "JPEG", quality=95)
            (folder / str(v) / f"{t:03d}.jpg").write_bytes(stream.getvalue())
            total += len(stream.getvalue())

    def fill(chosen: Sequence[int], out: np.ndarray) -> None:
        for slot, v in enumerate(chosen):
            for t, path in enumerate(sorted((folder / str(v)).iterdir())):
                with Image.open(path) as image:
                    out[slot, t] = np.asarray(image.convert("RGB"))

    return Row("folder of JPEG, Pillow", fill, total // len(videos), tolerance=5.0)


def decoding_row(folder: Path, videos: np.ndarray) -> Row:
    """Small videos decoded anew by seeking in OpenCV, as CLIP4Clip does.

    As its compress_video.py makes them: 3 frames a second, 224 pixels. Nothing is left to resize
    and two of three frames repeat the one before, which flatters this row.
    """
    cv2 = importlib.import_module("cv2")
    folder.mkdir()
    paths = [folder / f"{v}.mp4" for v in range(len(videos))]
    for path, video in zip(paths, videos, strict=True):
        with av.open(path, "w") as container:
            stream = container.add_stream("libx264", rate=3, options={"preset": "veryfast"})
            stream.width = stream.height = SIZE
            stream.pix_fmt = "yuv420p"
            for frame in video.repeat(3, axis=0):
                container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
            container.mux(stream.encode(None))

    def fill(chosen: Sequence[int], out: np.ndarray) -> None:
        for slot, v in enumerate(chosen):
            capture = cv2.VideoCapture(str(paths[v]))
            for t in range(FRAMES):
                capture.set(cv2.CAP_PROP_POS_FRAMES, 3 * t)
                cv2.cvtColor(capture.read()[1], cv2.COLOR_BGR2RGB, dst=out[slot, t])
            capture.release()

    size = sum(path.stat().st_size for path in paths) // len(paths)
    return Row("re-decoding, OpenCV seeks", fill, size, tolerance=8.0)


def copy_row(videos: np.ndarray) -> Row:
    """The ceiling: the same bytes from memory to memory."""

    def fill(chosen: Sequence[int], out: np.ndarray) -> None:
        for slot, v in enumerate(chosen):
            out[slot] = videos[v]

    return Row("memory copy", fill, videos[0].nbytes)


def measure(rows: Sequence[Row], videos: np.ndarray, *, rounds: int) -> None:
    """Times every row on the same choices, round by round, and checks what came out."""
    out = np.empty((BATCH, FRAMES, SIZE, SIZE, 3), np.uint8)
    rng = np.random.default_rng(1)
    for row in rows:  # warm: checksums verified, pages mapped
        for start in range(0, len(videos), BATCH):
            chosen = range(start, start + BATCH)
            row.fill(chosen, out)
            error = np.abs(out[::16].astype(np.int16) - videos[chosen[0] : chosen[-1] + 1 : 16])
            if error.mean() > row.tolerance:
                raise SystemExit(f"{row.name} returns wrong frames: {error.mean():.2f} levels off")
    for _ in range(rounds):
        chosen = rng.integers(0, len(videos), BATCH).tolist()
        for row in rows:
            started, cpu = time.perf_counter(), time.thread_time()
            row.fill(chosen, out)
            row.cpu_seconds.append(time.thread_time() - cpu)
            row.seconds.append(time.perf_counter() - started)


def report(rows: Sequence[Row]) -> str:
    """A Markdown table; a ratio is the median over rounds of the copy's time to the row's.

    Wall time is what a reader waits; CPU time says the same when the machine is shared.
    """
    lines = [
        f"Videos of [{FRAMES}, {SIZE}, {SIZE}, 3], batches of {BATCH}, warm, one thread, "
        f"{len(rows[0].seconds)} rounds",
        "",
        "| store | videos/s | of a memory copy, wall | CPU | bytes/video |",
        "|---|---|---|---|---|",
    ]
    for row in rows:
        rate = BATCH / statistics.median(row.seconds)
        wall = ratio(rows[0].seconds, row.seconds)
        cpu = ratio(rows[0].cpu_seconds, row.cpu_seconds)
        lines.append(
            f"| {row.name} | {rate:.0f} | {wall:.3f} | {cpu:.3f} | {row.bytes_per_video} |"
        )
    return "\n".join(lines)


def ratio(ceiling: Sequence[float], seconds: Sequence[float]) -> float:
    """The median over rounds of the ceiling's time to this one's."""
    return statistics.median(c / s for c, s in zip(ceiling, seconds, strict=True))


def main(given: Sequence[str] = ()) -> None:
    from tests.benchmarks._other_stores import other_rows

    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.frames")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--folder", type=Path, help="where the store is made (a temporary folder)")
    parser.add_argument("--videos", type=int, default=VIDEOS, help="a multiple of the batch")
    parser.add_argument("--raw", action="store_true", help="no JPEG, and nothing decoded anew")
    arguments = parser.parse_args(list(given))
    videos = make_videos(arguments.videos)
    with tempfile.TemporaryDirectory(dir=arguments.folder) as name:
        folder = Path(name)
        rows = [
            copy_row(videos),
            store_row(folder, videos, format="arrow", payload="raw"),
            store_row(folder, videos, format="hdf5", payload="raw"),
            *other_rows(folder, videos),
        ]
        if not arguments.raw:
            rows += [
                store_row(folder, videos, format="arrow", payload="jpeg"),
                store_row(folder, videos, format="hdf5", payload="jpeg"),
                folder_row(folder / "jpegs", videos),
            ]
        if not arguments.raw and importlib.util.find_spec("cv2"):
            rows.append(decoding_row(folder / "mp4", videos))
        elif not arguments.raw:
            print("no re-decoding row: opencv-python-headless is not installed")
        measure(rows, videos, rounds=arguments.rounds)
    print(report(rows))


if __name__ == "__main__":
    main(sys.argv[1:])
