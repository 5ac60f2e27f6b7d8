"""A global shuffle of frames that lie elsewhere: ``python -m tests.benchmarks.bucket``.

Each row reads the same batches of random clips, an epoch of all of them, and touches every pixel of
one frame in each, as a training would. Elsewhere: a root whose ranges and files wait 20 ms, read
from this disk, so that latency is measured and no server's own speed. Caches hold 5 % of the data.
Whole parts: what a reader does that knows no ranges, some batches of it.

A busy machine bends wall clocks, the more the more threads a row has, and hides latency behind its
own slowness. So what a free machine sees is told from what a busy one does not bend: the CPU
seconds of a clip, by range those of the threads that fetch apart, and how many clips the cache
holds. Four clips, gathered, make room at once for the next four, so that all others are on their
way meanwhile, 64 at most: so many come in 20 ms and the time that four are gathered in, no more.

Beside it, where they are installed (pip install pylance mosaicml-streaming), the same bytes in
Lance (rows taken by number) and in MosaicML streaming (its own shuffle, whole shards into its
cache), both from this disk without latency.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from reelvec.models.sampling.seen import SeenFrames
from reelvec.storage.commits.artifact import Artifact
from reelvec.storage.frames import reader, rows
from reelvec.storage.frames.contract import ClipFrames, FrameShardReader, Payload
from reelvec.storage.frames.formats import open_writer
from reelvec.storage.places.local import LocalRoot
from reelvec.storage.places.part_cache import CacheOptions, PartCache
from reelvec.storage.records import Outcome
from reelvec.tasks.training.data import TOGETHER, ClipLoader
from tests.benchmarks._rivals_in_buckets import (
    BATCH,
    Batches,
    Row,
    Stored,
    Videos,
    check,
    lance_rows,
    mosaic_rows,
)
from tests.benchmarks.frames import FRAMES, SIZE, make_videos

CLIPS_A_PART = 16
DISTINCT = 64
"""Clips that are drawn; more are these again, each stored and read for itself."""
PAYLOADS: tuple[Payload, ...] = ("raw", "jpeg")
LOCAL, FAR, WHOLE = "local", "by range, 20 ms", "whole parts, 20 ms"
LATENCY = 0.02


class SlowRoot(LocalRoot):
    """A folder as if it lay elsewhere: each request waits, whole files are copied to a cache."""

    def __init__(self, folder: Path, *, cache: Path, limit: int) -> None:
        super().__init__(folder)
        self.copies_limit = limit
        self._cache = PartCache(CacheOptions(cache, limit, grace_seconds=0.0))
        self.requests = 0

    def read_range(self, path: str, *, start: int, stop: int) -> bytes:
        time.sleep(LATENCY)
        self.requests += 1
        return super().read_range(path, start=start, stop=stop)

    def local_path(self, path: str, *, fresh: bool = False) -> Path:
        whole = super().local_path(path)

        def fetch(target: Path) -> None:
            data = self.read_range(path, start=0, stop=whole.stat().st_size)
            target.write_bytes(data)

        name = path.replace("/", "-")
        return self._cache.get(name, size=whole.stat().st_size, fetch=fetch, fresh=fresh)


def make_store(folder: Path, videos: Videos, payload: Payload) -> Artifact:
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


def by_loader(frames: reader.FrameReader, videos: Videos) -> Callable[[Batches], int]:
    """A whole pass as a training makes it, the first batch checked."""
    loader = ClipLoader(frames, max_frames=FRAMES, image_size=SIZE)
    seen = SeenFrames(max_frames=FRAMES, selection="linspace", order="ordinary")

    def epoch(order: Batches) -> int:
        count, batches = 0, [[key_of(v) for v in batch] for batch in order]
        for chosen, batch in zip(order, loader.batches(batches, seen=seen), strict=True):
            batch.frames[:, 0].sum()
            if not count:
                check(batch.frames[:, 0].numpy(), chosen, videos)
            count += len(chosen)
        return count

    return epoch


def stored_clips(artifact: Artifact, count: int, payload: Payload) -> Iterator[Stored]:
    """The bytes that are stored, for the others."""
    stored = reader.FrameReader(artifact.latest())
    for v in range(count):
        if payload == "raw":
            yield v, stored.frames(key_of(v)).tobytes(), b""
            continue
        jpegs = list(stored.jpegs(key_of(v)))
        yield v, b"".join(jpegs), np.cumsum([len(one) for one in jpegs]).tobytes()


def fetching() -> list[float]:
    """CPU seconds of each clip that is fetched from now on, in the thread that fetches it."""
    spent: list[float] = []
    fetch = rows._Part.clip

    def timed(part: rows._Part, key: str) -> tuple[FrameShardReader, int]:
        before = time.thread_time()
        try:
            return fetch(part, key)
        finally:
            spent.append(time.thread_time() - before)

    rows._Part.clip = timed  # type: ignore[method-assign]
    return spent


def our_rows(
    folder: Path, artifact: Artifact, videos: Videos
) -> tuple[dict[str, Row], dict[str, SlowRoot]]:
    """This store, here and elsewhere, and the roots of the latter."""
    snapshot = artifact.latest()
    limit = reader.ROW_MEMORY = snapshot.bytes // 20
    readers, roots = {LOCAL: reader.FrameReader(snapshot)}, {}
    for number, name in enumerate((FAR, WHOLE)):
        cache = folder / f"cache-{artifact.fingerprint}-{number}"
        roots[name] = SlowRoot(folder / "store", cache=cache, limit=limit)
        found = Artifact.open(roots[name], kind="frames", identity=artifact.identity).latest()
        readers[name] = reader.FrameReader(found, open_shards=1)
    readers[WHOLE]._rows = None
    return {name: Row(by_loader(one, videos)) for name, one in readers.items()}, roots


def free_machine(local: Row, far: Row, fetch_ms: float, held: float) -> str:
    """What a machine that does nothing else sees, in words."""
    coming = min(rows.AT_ONCE, max(1.0, held - TOGETHER))

    def of_local(clip_ms: float) -> float:
        return local.cpu_ms / max(clip_ms, (1000 * LATENCY + TOGETHER * clip_ms) / coming)

    return (
        f"The cache holds {held:.0f} clips; of local one core sees {of_local(far.cpu_ms):.2f}, with"
        f" a second for the fetching {of_local(max(far.cpu_ms - fetch_ms, fetch_ms)):.2f}"
    )


def measure(payload: Payload, videos: Videos, folder: Path, *, rounds: int) -> list[str]:
    """Lines of the table for one payload; each round has an order of its own."""
    artifact = make_store(folder / "store", videos, payload)
    table, roots = our_rows(folder, artifact, videos)
    for name, others in (("lance", lance_rows), ("mosaic", mosaic_rows)):
        clips = stored_clips(artifact, len(videos), payload)
        place = folder / f"{name}-{payload}"
        table |= others(place, clips, payload, videos, limit=reader.ROW_MEMORY)
    spent = fetching()
    rng = np.random.default_rng(1)
    table[LOCAL].epoch([range(len(videos))[:BATCH]])  # checksums are verified once
    for _ in range(rounds):
        order = rng.permutation(len(videos))[: len(videos) // BATCH * BATCH]
        batches = order.reshape(-1, BATCH).tolist()
        for name, row in table.items():
            row.measure(batches[:2] if name == WHOLE else batches)
    local, far = table[LOCAL], table[FAR]
    lines = [
        f"| {payload} | {name} | {row.rate:.0f} | {row.rate / local.rate:.2f} | {row.cpu_ms:.2f} |"
        for name, row in table.items()
    ]
    total, clips = artifact.latest().bytes, rounds * len(order)
    fetch_ms = 1000 * sum(spent) / clips
    note = (
        f"{payload}: {total / 2**20:.0f} MiB, {len(videos)} clips, cache {total / 20 / 2**20:.0f}"
        f" MiB; {roots[FAR].requests / clips:.2f} requests a clip, of {fetch_ms:.2f} CPU ms. "
    )
    held = reader.ROW_MEMORY * len(videos) / total
    return [note + free_machine(local, far, fetch_ms, held), *lines]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clips", type=int, default=1024, help="of 1.7 MiB each, raw")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--payloads", nargs="+", choices=PAYLOADS, default=PAYLOADS)
    parser.add_argument("--folder", type=Path, help="where stores are made (a temporary folder)")
    arguments = parser.parse_args()
    distinct = make_videos(min(arguments.clips, DISTINCT))
    videos = [distinct[v % DISTINCT] for v in range(arguments.clips)]
    with tempfile.TemporaryDirectory(dir=arguments.folder) as name:
        found = [
            measure(payload, videos, Path(name), rounds=arguments.rounds)
            for payload in arguments.payloads
        ]
    print("\n".join(lines[0] for lines in found))
    print("\n| payload | from | clips/s | of local | CPU ms a clip |\n|---|---|---|---|---|")
    print("\n".join(line for lines in found for line in lines[1:]))


if __name__ == "__main__":
    main()
