"""A global shuffle of frames that lie elsewhere: ``python -m tests.benchmarks.bucket``.

Each row reads the same batches of random clips, an epoch of all of them, and touches every pixel of
one frame in each, as a training would. Elsewhere is 20 ms away; caches hold 5 % of the data.

by range       a root whose ranges and files wait, read from this disk: latency without a server
S3 by range   a server on loopback, in a process of its own, whose answers wait (`_far_server`);
               it shares the cores with the reader, so its CPU stands beside the reader's
S3 by s3fs    the same, each range asked for through s3fs, as it was before
whole parts    what a reader does that knows no ranges, some batches of it

Beside it, where they are installed (pip install pylance mosaicml-streaming), the same bytes in
Lance (rows taken by number) and in MosaicML streaming (its own shuffle, whole shards into its
cache), from this disk and from the server. Torch and BLAS have a thread each: more would spin
beside the reader. What bounds a row is told from CPU, which a busy machine does not bend as it
bends clocks, and from how many clips the cache lets be on their way.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch

from reelvec.models.sampling.seen import SeenFrames
from reelvec.storage.commits.artifact import Artifact
from reelvec.storage.frames import reader, rows
from reelvec.storage.frames.contract import ClipFrames, Payload
from reelvec.storage.frames.formats import open_writer
from reelvec.storage.places.local import LocalRoot
from reelvec.storage.places.object import ObjectRoot
from reelvec.storage.places.object_client import client
from reelvec.storage.places.part_cache import CacheOptions, PartCache
from reelvec.storage.records import Outcome
from reelvec.tasks.training.data import TOGETHER, ClipLoader
from tests.benchmarks._far_server import FarServer, far_server
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
LOCAL, FAR, WHOLE = "local", "by range", "whole parts"
S3, S3FS = "S3 by range", "S3 by s3fs"
LATENCY = 0.02


class SlowRoot(LocalRoot):
    """A folder as if it lay elsewhere: each request waits, whole files are copied to a cache."""

    def __init__(self, folder: Path, *, cache: Path, limit: int) -> None:
        super().__init__(folder)
        self.copies_limit = limit
        self._cache = PartCache(CacheOptions(cache, limit, grace_seconds=0.0))
        self.requests = 0

    def read_into(self, path: str, *, start: int, out: memoryview) -> int:
        time.sleep(LATENCY)
        self.requests += 1
        return super().read_into(path, start=start, out=out)

    def local_path(self, path: str, *, fresh: bool = False) -> Path:
        whole = super().local_path(path)

        def fetch(target: Path) -> None:
            data = bytearray(whole.stat().st_size)
            self.read_into(path, start=0, out=memoryview(data))
            target.write_bytes(data)

        name = path.replace("/", "-")
        return self._cache.get(name, size=whole.stat().st_size, fetch=fetch, fresh=fresh)


class S3fsRoot(ObjectRoot):
    """Ranges as they came before."""

    def read_into(self, path: str, *, start: int, out: memoryview) -> int:
        name = f"{self.uri.removeprefix('s3://')}/{path}"
        data = client().files.cat_file(name, start=start, end=start + len(out))
        out[: len(data)] = data
        return len(data)


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


def our_rows(
    folder: Path, artifact: Artifact, videos: Videos
) -> tuple[dict[str, Row], dict[str, SlowRoot]]:
    """This store, here and elsewhere, and the roots that count requests."""
    snapshot = artifact.latest()
    limit = reader.ROW_MEMORY = snapshot.bytes // 20
    slow = {
        name: SlowRoot(
            folder / "store", cache=folder / f"{name}-{payload_of(artifact)}", limit=limit
        )
        for name in (FAR, WHOLE)
    }
    options = CacheOptions(folder / "copies", limit, grace_seconds=0.0)
    there = {
        S3: ObjectRoot("s3://store", cache=options),
        S3FS: S3fsRoot("s3://store", cache=options),
    }
    readers = {LOCAL: reader.FrameReader(snapshot)}
    for name, root in (slow | there).items():
        found = Artifact.open(root, kind="frames", identity=artifact.identity).latest()
        readers[name] = reader.FrameReader(found, open_shards=1)
    readers[WHOLE]._rows = None
    return {name: Row(by_loader(one, videos)) for name, one in readers.items()}, slow


def payload_of(artifact: Artifact) -> str:
    return str(artifact.identity["payload"])


def bounds(row: Row, held: float) -> str:
    """What bounds a row, in words."""
    coming = min(rows.AT_ONCE, max(1.0, held - TOGETHER))
    cores, cpu = len(os.sched_getaffinity(0)), row.cpu_ms + row.server_ms
    return (
        f"{row.rate:.0f} clips/s; at most {coming / LATENCY:.0f} by latency, {coming:.0f} of"
        f" them on their way, and {1000 * cores / cpu:.0f} by the CPU of both on {cores} cores"
    )


def measure(
    payload: Payload, videos: Videos, folder: Path, *, rounds: int, server: FarServer
) -> list[str]:
    """Lines of the table for one payload; each round has an order of its own."""
    artifact = make_store(folder / "store", videos, payload)
    table, roots = our_rows(folder, artifact, videos)
    for others in (lance_rows, mosaic_rows):
        clips = stored_clips(artifact, len(videos), payload)
        table |= others(folder, clips, payload, videos, limit=reader.ROW_MEMORY)
    rng = np.random.default_rng(1)
    table[LOCAL].epoch([range(len(videos))[:BATCH]])  # checksums are verified once
    for _ in range(rounds):
        order = rng.permutation(len(videos))[: len(videos) // BATCH * BATCH]
        batches = order.reshape(-1, BATCH).tolist()
        for name, row in table.items():
            row.measure(batches[:2] if name == WHOLE else batches, server)
            print(payload, name, f"{row.rates[-1]:.0f}", file=sys.stderr)
    lines = [
        f"| {payload} | {name} | {row.rate:.0f} | {row.rate / table[LOCAL].rate:.2f} |"
        f" {row.cpu_ms:.2f} | {row.server_ms:.2f} |"
        for name, row in table.items()
    ]
    total, clips = artifact.latest().bytes, rounds * len(order)
    held = reader.ROW_MEMORY * len(videos) / total
    note = (
        f"{payload}: {total / 2**20:.0f} MiB, {len(videos)} clips, cache {total / 20 / 2**20:.0f}"
        f" MiB, {held:.0f} clips; {roots[FAR].requests / clips:.2f} requests a clip."
    )
    return ["\n".join([note, *(f"{n}: {bounds(table[n], held)}" for n in (FAR, S3))]), *lines]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clips", type=int, default=1024, help="of 1.7 MiB each, raw")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--payloads", nargs="+", choices=PAYLOADS, default=PAYLOADS)
    parser.add_argument("--folder", type=Path, help="where stores are made (a temporary folder)")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    distinct = make_videos(min(arguments.clips, DISTINCT))
    videos = [distinct[v % DISTINCT] for v in range(arguments.clips)]
    with (
        tempfile.TemporaryDirectory(dir=arguments.folder) as name,
        far_server(Path(name), latency=LATENCY) as server,
    ):
        os.environ |= server.environment | {"REELVEC_CACHE": f"{name}/cache"}
        found = [
            measure(payload, videos, Path(name), rounds=arguments.rounds, server=server)
            for payload in arguments.payloads
        ]
    print("\n".join(lines[0] for lines in found))
    print("\n| payload | from | clips/s | of local | CPU ms a clip | of the server |")
    print("|---|---|---|---|---|---|")
    print("\n".join(line for lines in found for line in lines[1:]))


if __name__ == "__main__":
    main()
