"""A global shuffle of frames that lie elsewhere: ``python -m tests.benchmarks.bucket``.

Each row reads the same batches of random clips, an epoch of all of them, and touches every pixel of
one frame in each, as a training would. Elsewhere: a root whose ranges and files wait 20 ms, read
from this disk, so that latency is measured and no server's own speed. Caches hold 5 % of the data.
Whole parts: what a reader does that knows no ranges, some batches of it. Lance, where the package
`lance` is installed (pip install pylance), reads the same JPEGs from the same disk without latency.
"""

from __future__ import annotations

import argparse
import importlib.util
import statistics
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from reelvec.models.sampling.seen import SeenFrames
from reelvec.storage.commits.artifact import Artifact
from reelvec.storage.frames import jpeg, reader
from reelvec.storage.frames.contract import ClipFrames, Payload
from reelvec.storage.frames.formats import open_writer
from reelvec.storage.places.local import LocalRoot
from reelvec.storage.places.part_cache import CacheOptions, PartCache
from reelvec.storage.records import Outcome
from reelvec.tasks.training.data import ClipLoader
from tests.benchmarks.frames import FRAMES, SIZE, make_videos

BATCH, CLIPS_A_PART, SEEN = 16, 16, 12
"""Clips of a batch and of a part, frames that a model sees of a clip: all."""
PAYLOADS: tuple[Payload, ...] = ("raw", "jpeg")


class SlowRoot(LocalRoot):
    """A folder as if it lay elsewhere: each request waits, whole files are copied to a cache."""

    latency = 0.02

    def __init__(self, folder: Path, *, cache: Path, limit: int) -> None:
        super().__init__(folder)
        self.copies_limit = limit
        self._cache = PartCache(CacheOptions(cache, limit, grace_seconds=0.0))
        self.requests, self.bytes = 0, 0

    def read_range(self, path: str, *, start: int, stop: int) -> bytes:
        time.sleep(self.latency)
        data = super().read_range(path, start=start, stop=stop)
        self.requests, self.bytes = self.requests + 1, self.bytes + len(data)
        return data

    def local_path(self, path: str, *, fresh: bool = False) -> Path:
        whole = super().local_path(path)

        def fetch(target: Path) -> None:
            data = self.read_range(path, start=0, stop=whole.stat().st_size)
            target.write_bytes(data)

        name = path.replace("/", "-")
        return self._cache.get(name, size=whole.stat().st_size, fetch=fetch, fresh=fresh)


def make_store(folder: Path, videos: np.ndarray, payload: Payload) -> Artifact:
    artifact = Artifact.open(LocalRoot(folder), kind="frames", identity={"payload": payload})
    receipts = []
    for start in range(0, len(videos), CLIPS_A_PART):
        numbers = range(start, min(start + CLIPS_A_PART, len(videos)))
        with artifact.new_part(table="frames", shard=f"{start:05d}", suffix=".arrow") as part:
            with open_writer(part.path, format="arrow", payload=payload, size=SIZE) as writer:
                for v in numbers:
                    frames = np.arange(12)
                    writer.add(ClipFrames(key_of(v), videos[v], frames / 1.0, frames))
            outcomes = [Outcome(key_of(v)) for v in numbers]
            receipts.append(part.commit(rows=len(numbers), outcomes=outcomes))
    artifact.publish(add=receipts)
    return artifact


def key_of(v: int) -> str:
    return f"{v:032x}"


def epoch(frames: Any, order: Sequence[Sequence[int]], videos: np.ndarray) -> float:
    """Clips a second of a whole pass, the first batch checked against what was stored."""
    loader = ClipLoader(frames, max_frames=SEEN, image_size=SIZE)
    seen = SeenFrames(max_frames=SEEN, selection="linspace", order="ordinary")
    batches = [[key_of(v) for v in batch] for batch in order]
    count, started = 0, time.perf_counter()
    for chosen, batch in zip(order, loader.batches(batches, seen=seen), strict=True):
        batch.frames[:, 0].sum()
        if not count:
            wrong = np.abs(batch.frames[:, 0].numpy().astype(int) - videos[list(chosen), 0])
            if wrong.mean() > 5:
                raise SystemExit(f"wrong frames: {wrong.mean():.1f} levels off")
        count += len(chosen)
    return count / (time.perf_counter() - started)


class LanceFrames:
    """The same JPEGs as a Lance table, a row a clip, taken by number."""

    def __init__(self, folder: Path, artifact: Artifact, count: int) -> None:
        import lance
        import pyarrow as pa

        stored = reader.FrameReader(artifact.latest())
        jpegs = [list(stored.jpegs(key_of(v))) for v in range(count)]
        table = pa.table({"jpegs": pa.array(jpegs, pa.list_(pa.binary()))})
        self._rows = lance.write_dataset(table, str(folder))

    def ahead(self, keys: Sequence[str]) -> None:
        """It has no such word."""

    def lengths(self, keys: Sequence[str]) -> np.ndarray:
        return np.full(len(keys), FRAMES)

    def gather(self, keys: Sequence[str], *, picks: Sequence[np.ndarray], out: np.ndarray) -> None:
        found = self._rows.take([int(key, 16) for key in keys], columns=["jpegs"])
        for slot, clip in enumerate(found.column("jpegs").to_pylist()):
            for place, pick in enumerate(picks[slot]):
                jpeg.decode_into(memoryview(clip[pick]), out[slot, place])


def measure(payload: Payload, videos: np.ndarray, folder: Path, *, rounds: int) -> list[str]:
    """Lines of the table for one payload; each round has an order of its own."""
    artifact = make_store(folder / payload, videos, payload)
    snapshot = artifact.latest()
    total = snapshot.bytes
    limit = total // 20
    reader.ROW_MEMORY = limit
    roots = {
        name: SlowRoot(folder / payload, cache=folder / f"cache-{payload}-{name}", limit=limit)
        for name in ("by range", "whole parts")
    }
    identity = artifact.identity
    opened = {
        name: Artifact.open(root, kind="frames", identity=identity).latest()
        for name, root in roots.items()
    }
    whole = reader.FrameReader(opened["whole parts"], open_shards=1)
    whole._rows = None
    sources: dict[str, Any] = {
        "local": reader.FrameReader(snapshot),
        "20 ms, by range": reader.FrameReader(opened["by range"]),
        "20 ms, whole parts": whole,
    }
    if payload == "jpeg" and importlib.util.find_spec("lance"):
        sources["Lance, no latency"] = LanceFrames(folder / "lance", artifact, len(videos))
    rates: dict[str, list[float]] = {name: [] for name in sources}
    rng = np.random.default_rng(1)
    epoch(sources["local"], [range(len(videos))[:BATCH]], videos)  # checksums are verified once
    for _ in range(rounds):
        order = rng.permutation(len(videos))[: len(videos) // BATCH * BATCH]
        batches = order.reshape(-1, BATCH).tolist()
        for name, source in sources.items():
            some = batches[:2] if name == "20 ms, whole parts" else batches
            rates[name].append(epoch(source, some, videos))
    local = statistics.median(rates["local"])
    asked = roots["by range"]
    lines = [
        f"| {payload} | {name} | {statistics.median(found):.0f} |"
        f" {statistics.median(found) / local:.2f} |"
        for name, found in rates.items()
    ]
    note = (
        f"{payload}: {total / 2**20:.0f} MiB, {len(videos)} clips, cache {limit / 2**20:.1f} MiB;"
        f" by range {asked.requests / rounds:.0f} requests and {asked.bytes / rounds / 2**20:.0f}"
        " MiB an epoch"
    )
    return [note, *lines]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clips", type=int, default=512)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--folder", type=Path, help="where stores are made (a temporary folder)")
    arguments = parser.parse_args()
    videos = make_videos(arguments.clips)
    with tempfile.TemporaryDirectory(dir=arguments.folder) as name:
        found = [
            measure(payload, videos, Path(name), rounds=arguments.rounds) for payload in PAYLOADS
        ]
    print("\n".join(lines[0] for lines in found))
    print("\n| payload | from | clips/s | of local |\n|---|---|---|---|")
    print("\n".join(line for lines in found for line in lines[1:]))


if __name__ == "__main__":
    main()
