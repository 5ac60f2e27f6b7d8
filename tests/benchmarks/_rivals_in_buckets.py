"""The frames of a store in Lance and in MosaicML streaming, read in batches as ours are.

Both are written to folders of a server's, `s3://lance/…` and `s3://mosaic/…`.
"""

from __future__ import annotations

import os
import statistics
import sys
import time
import types
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from reelvec.storage.frames import jpeg
from reelvec.storage.frames.contract import Payload
from tests.benchmarks._far_server import FarServer
from tests.benchmarks._installed import missing
from tests.benchmarks.frames import FRAMES, SIZE

BATCH = 16
Batches = Sequence[Sequence[int]]
Videos = Sequence[np.ndarray]


@dataclass
class Row:
    """A way to read: an epoch of it, and what its rounds came to."""

    epoch: Callable[[Batches], int]
    rates: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)
    servers: list[float] = field(default_factory=list)

    def measure(self, batches: Batches, server: FarServer) -> None:
        before, cpu, wall = server.cpu_seconds(), time.process_time(), time.perf_counter()
        count = self.epoch(batches)
        self.rates.append(count / (time.perf_counter() - wall))
        self.cpu.append((time.process_time() - cpu) / count)
        self.servers.append((server.cpu_seconds() - before) / count)

    @property
    def rate(self) -> float:
        return statistics.median(self.rates)

    @property
    def cpu_ms(self) -> float:
        return 1000 * statistics.median(self.cpu)

    @property
    def server_ms(self) -> float:
        return 1000 * statistics.median(self.servers)


def check(frames: np.ndarray, clips: Sequence[int], videos: Videos) -> None:
    """The first frames [V, S, S, 3] of these clips are those that were stored."""
    wrong = np.abs(frames.astype(int) - np.stack([videos[v][0] for v in clips]))
    if wrong.mean() > 5:
        raise SystemExit(f"wrong frames: {wrong.mean():.1f} levels off")


Stored = tuple[int, bytes, bytes]
"""A clip of the others: its number, its frames behind one another, where each ends (int64)."""


def gathered(
    batches: Iterable[Sequence[Stored]], payload: Payload, videos: Videos
) -> Iterator[int]:
    """Batches of the others, decoded into one array as ours are; the first is checked."""
    out = np.empty((BATCH, FRAMES, SIZE, SIZE, 3), np.uint8)
    for number, batch in enumerate(batches):
        for slot, (_, data, ends) in enumerate(batch):
            if payload == "raw":
                out[slot] = np.frombuffer(data, np.uint8).reshape(out.shape[1:])
                continue
            places = [0, *np.frombuffer(ends, np.int64).tolist()]
            for t in range(FRAMES):
                jpeg.decode_into(memoryview(data)[places[t] : places[t + 1]], out[slot, t])
        out[: len(batch), 0].astype(np.int64).sum()
        if not number:
            check(out[: len(batch), 0], [clip[0] for clip in batch], videos)
        yield len(batch)


def lance_rows(
    folder: Path, clips: Iterable[Stored], payload: Payload, videos: Videos, *, limit: int
) -> dict[str, Row]:
    """A Lance table, a row a clip, taken by number: from the disk, and from the server."""
    del limit  # it keeps no rows
    if reason := missing("lance"):
        print(f"no row of Lance: {reason}")
        return {}
    import lance
    import pyarrow as pa

    kinds = [("clip", pa.int64()), ("data", pa.large_binary()), ("ends", pa.binary())]
    schema = pa.schema(kinds)

    def piece(clip: Stored) -> pa.RecordBatch:
        columns = [pa.array([x], kind) for x, (_, kind) in zip(clip, kinds, strict=True)]
        return pa.record_batch(columns, schema=schema)

    def row(found: lance.LanceDataset) -> Row:
        def epoch(order: Batches) -> int:
            taken = (found.take(list(some)).to_pylist() for some in order)
            batches = ([tuple(row.values()) for row in rows] for rows in taken)
            return sum(gathered(batches, payload, videos))

        return Row(epoch)

    place = folder / "lance" / payload
    pieces = pa.RecordBatchReader.from_batches(schema, map(piece, clips))
    here = lance.write_dataset(pieces, str(place))
    options = {"allow_http": "true", "aws_endpoint": os.environ["AWS_ENDPOINT_URL"]}
    there = lance.dataset(f"s3://lance/{payload}", storage_options=options)
    return {"Lance, local": row(here), "Lance, S3": row(there)}


def mosaic_rows(
    folder: Path, clips: Iterable[Stored], payload: Payload, videos: Videos, *, limit: int
) -> dict[str, Row]:
    """MosaicML streaming: shards that are copied into a cache of `limit` bytes, its own shuffle."""
    places = (Path(path) / "streaming" for path in sys.path)
    place = next((found for found in places if (found / "base").is_dir()), None)
    if place is None:
        return {}
    package = types.ModuleType("streaming")  # whose own __init__ wants torchvision
    package.__path__ = [str(place)]
    sys.modules.setdefault("streaming", package)
    try:
        from streaming.base import MDSWriter, StreamingDataset
    except ImportError as error:  # of what it needs
        print(f"no row of MosaicML streaming: {error}")
        return {}

    columns = {"clip": "int", "data": "bytes", "ends": "bytes"}
    shard = max(limit // 5, 2 << 20)  # it refuses a cache of less than four
    out = folder / "mosaic" / payload
    with MDSWriter(out=str(out), columns=columns, size_limit=shard) as writer:
        for clip in clips:
            writer.write(dict(zip(columns, clip, strict=True)))
    limit = max(limit, 5 * shard)

    def row(remote: str, near: str) -> Row:
        dataset = StreamingDataset(
            remote=remote, local=str(folder / near / payload), shuffle=True, batch_size=BATCH,
            cache_limit=limit, num_canonical_nodes=1,
        )  # fmt: skip

        def epoch(order: Batches) -> int:
            samples = (tuple(sample[name] for name in columns) for sample in dataset)
            batches = (list(some) for some in batched(samples, BATCH, len(order)))
            return sum(gathered(batches, payload, videos))

        return Row(epoch)

    name = f"MosaicML, own shuffle, cache {limit >> 20} MiB"
    here, there = row(str(out), "near"), row(f"s3://mosaic/{payload}", "near-s3")
    return {f"{name}, local": here, f"{name}, S3": there}


def batched(samples: Iterator[Stored], size: int, count: int) -> Iterator[list[Stored]]:
    """So many lists of so many."""
    for _ in range(count):
        some = [sample for _, sample in zip(range(size), samples, strict=False)]
        if some:
            yield some
