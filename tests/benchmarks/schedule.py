"""Where a Dask cluster's coordinator saturates: ``python -m tests.benchmarks.schedule``.

Measured first, in CPU seconds, which a busy machine does not bend: what one shard costs the run (it
sends the shard, hears that it is done, has its receipt) and the scheduler, with tasks that do
nothing, of the size that a shard of 64 videos has, on workers in a process of their own. Beside it
how many shards a second come back, and the same with each result fetched for itself and its receipt
read from a store 20 ms away, as it was before receipts came with the results.

Then a schedule is simulated with these costs: the scheduler takes one shard at a time, the run all
that are done by then, with one request of 20 ms for their results; the scheduler holds as many as
`dask_shards` gives it, and a shard takes its worker a minute on the mean (log-normal, sigma 0.5).
Of each number of workers: the share of their time that they work, and how busy the scheduler and
the run are.
"""

from __future__ import annotations

import argparse
import asyncio
import heapq
import pickle
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import psutil
from distributed import Client, Scheduler, Worker, as_completed
from distributed.scheduler import heartbeat_interval

from reelvec.flows.dask_shards import HELD_A_THREAD, LEAST_HELD, work_on
from reelvec.storage.commits.artifact import Artifact, Receipt
from reelvec.storage.places.local import LocalRoot
from reelvec.storage.records import Outcome
from reelvec.tasks.decoding.files import ClipJob
from reelvec.tasks.frames.planning import Clip
from reelvec.tasks.shards import Shard, ShardReceipt

VIDEOS = 64
MINUTE, SPREAD, LATENCY = 60.0, 0.5, 0.02
IDLE_SECONDS = 20.0
WORKERS = (100, 300, 1000, 3000, 10_000)


def shards(count: int) -> list[Shard[Clip]]:
    """Of clips in a bucket."""
    found = []
    for n in range(count):
        names = [f"{n * VIDEOS + v:032x}" for v in range(VIDEOS)]
        jobs = [
            ClipJob(
                clip_key=name, path=f"s3://a-bucket/videos/of-a-corpus/{name}.mp4",
                content_hash=name, bytes=3_000_000, inode=n, pixels=10**9,
            )
            for name in names
        ]  # fmt: skip
        found.append(Shard("frames", f"{n:016x}", tuple(Clip(job) for job in jobs)))
    return found


def receipt_of(shard: Shard[Clip]) -> Receipt:
    """What a worker would have committed."""
    outcomes = tuple(
        Outcome(clip.job.clip_key, detail="12 frames, 0.5 fps") for clip in shard.items
    )
    part = f"parts/frames-{shard.name}-0123456789abcdef.arrow"
    return Receipt(
        part, "frames", shard.name, rows=VIDEOS, bytes=10**8, checksum=shard.name * 2,
        schema=shard.name, outcomes=outcomes, seal=shard.name * 2,
    )  # fmt: skip


def nothing(shard: Shard[Clip]) -> ShardReceipt:
    return ShardReceipt.of(receipt_of(shard))


async def serve(what: str, words: list[str]) -> None:
    """In a process of its own: a scheduler, or so many workers of one."""
    if what == "scheduler":
        async with Scheduler(host="127.0.0.1", port=0, dashboard_address="127.0.0.1:0") as one:
            print(one.address, flush=True)
            await one.finished()
    address, count = words
    quiet = {"nthreads": 1, "dashboard_address": "127.0.0.1:0", "memory_limit": 0}
    workers = [Worker(address, host="127.0.0.1", **quiet) for _ in range(int(count))]
    await asyncio.gather(*workers)
    print("here", flush=True)
    await asyncio.gather(*(worker.finished() for worker in workers))


def start(*words: str) -> tuple[subprocess.Popen[str], str]:
    command = [sys.executable, "-m", "tests.benchmarks.schedule", "--serve", *words]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    return process, process.stdout.readline().strip()


def cpu_seconds(pid: int) -> float:
    times = psutil.Process(pid).cpu_times()
    return times.user + times.system


@dataclass(frozen=True)
class Costs:
    """CPU seconds of one shard, and of a worker's heartbeat at the scheduler.

    Rates are shards a second by the clock, of which `before` is the way before results brought
    their receipts.
    """

    scheduler: float
    run: float
    heartbeat: float
    rate: float
    before: float
    rate_before: float

    def scheduler_beside(self, workers: int) -> float:
        """What a shard takes of the scheduler while so many workers say that they are there."""
        beats = workers / heartbeat_interval(workers) * self.heartbeat
        return self.scheduler / max(1e-6, 1 - beats)


def measure(workers: int, count: int, folder: Path) -> Costs:
    """What a shard costs, of `count` on so many workers."""
    scheduler, address = start("scheduler")
    hands, _ = start("workers", address, str(workers))
    try:
        with Client(address) as client:  # type: ignore[no-untyped-call]
            client.wait_for_workers(workers)
            idle, given = idle_share(scheduler.pid), shards(count)
            before = cpu_seconds(scheduler.pid)
            mine, taken = timed(lambda: as_now(client, given), count)
            theirs = (cpu_seconds(scheduler.pid) - before) / count - idle * taken
            given = given[: count // 5]
            far = far_receipts(folder, given)
            old, old_taken = timed(lambda: one_by_one(client, given, far), len(given))
    finally:
        for process in (hands, scheduler):
            process.kill()
            process.wait()
    beats = workers / heartbeat_interval(workers)
    return Costs(theirs, mine, idle / beats, 1 / taken, old, 1 / old_taken)


def as_now(client: Client, given: list[Shard[Clip]]) -> int:
    """How many come back, each with all outcomes."""
    done = work_on(client, nothing, given, device="cpu")
    return sum(len(one.receipt.outcomes) == VIDEOS for one in done)


def timed(work: Callable[[], int], count: int) -> tuple[float, float]:
    """CPU seconds here, and seconds, of each of so many shards."""
    cpu, wall = time.process_time(), time.perf_counter()
    if work() != count:
        raise SystemExit(f"not all of {count} came back")
    return (time.process_time() - cpu) / count, (time.perf_counter() - wall) / count


class FarRoot(LocalRoot):
    """A folder that answers late."""

    def read(self, path: str) -> bytes:
        time.sleep(LATENCY)
        return super().read(path)


def far_receipts(folder: Path, given: list[Shard[Clip]]) -> tuple[Artifact, list[str]]:
    """Receipts of these shards, and their paths."""
    artifact = Artifact.open(FarRoot(folder), kind="frames", identity={})
    paths = []
    for shard in given:
        with artifact.new_part(table="frames", shard=shard.name, suffix=".arrow") as part:
            part.path.write_bytes(b"stub")
            paths.append(part.commit(rows=VIDEOS, outcomes=receipt_of(shard).outcomes).path)
    return artifact, paths


def one_by_one(client: Client, given: list[Shard[Clip]], far: tuple[Artifact, list[str]]) -> int:
    """As it was before: each result is fetched for itself, and its receipt read."""
    futures = client.map(partial(told, paths=len(far[1])), given, pure=False)
    artifact, paths = far
    read = 0
    for future in as_completed(futures):  # type: ignore[no-untyped-call]
        read += len(artifact.receipt(paths[future.result()]).outcomes) == VIDEOS
    return read


def told(shard: Shard[Clip], *, paths: int) -> int:
    """Of a worker that says nothing but which receipt is its."""
    return int(shard.name, 16) % paths


def idle_share(pid: int) -> float:
    """CPU seconds a second of a scheduler without tasks: heartbeats, mostly."""
    before = cpu_seconds(pid)
    time.sleep(IDLE_SECONDS)
    return (cpu_seconds(pid) - before) / IDLE_SECONDS


class Simulated:
    """So many workers, a scheduler and a run, each of which does one thing at a time."""

    def __init__(self, workers: int, costs: Costs, count: int) -> None:
        self.costs, self.count, self.idle = costs, count, workers
        self.scheduling = costs.scheduler_beside(workers)
        self.most = max(LEAST_HELD, HELD_A_THREAD * workers)
        rng = np.random.default_rng(0)
        self.lengths = rng.lognormal(np.log(MINUTE) - SPREAD**2 / 2, SPREAD, count)
        self.sent = self.begun = self.heard = self.queued = self.ended = self.fetched = 0
        self.scheduler_free = self.run_free = 0.0
        self.events: list[tuple[float, str]] = []

    def send(self, now: float) -> None:
        """The run gives the scheduler more, as `work_on` does."""
        held = self.sent - self.heard
        if self.most - held >= LEAST_HELD // 4 or not held:
            for _ in range(min(self.most - held, self.count - self.sent)):
                self.run_free = max(self.run_free, now) + self.costs.run / 2
                heapq.heappush(self.events, (self.run_free, "comes"))
                self.sent += 1

    def fetch(self, now: float) -> None:
        """The run takes what has ended by now, in one request."""
        if self.ended and not self.fetched:
            self.fetched, self.ended = self.ended, 0
            self.run_free = max(self.run_free, now) + LATENCY + self.fetched * self.costs.run / 2
            heapq.heappush(self.events, (self.run_free, "heard"))

    def begin(self, now: float) -> None:
        """The scheduler gives idle workers what it has."""
        while self.idle and self.queued:
            self.idle, self.queued = self.idle - 1, self.queued - 1
            self.scheduler_free = max(self.scheduler_free, now) + self.scheduling
            heapq.heappush(self.events, (self.scheduler_free + self.lengths[self.begun], "ends"))
            self.begun += 1

    def run(self) -> tuple[float, float, float]:
        """Busy shares of the workers, the scheduler and the run, to the end."""
        workers, now = self.idle, 0.0
        self.send(now)
        while self.events:
            now, what = heapq.heappop(self.events)
            if what == "comes":
                self.queued += 1
            elif what == "ends":
                self.idle, self.ended = self.idle + 1, self.ended + 1
            else:
                self.heard, self.fetched = self.heard + self.fetched, 0
                self.send(now)
            self.fetch(now)
            self.begin(now)
        return (
            float(self.lengths.sum()) / (workers * now),
            self.count * self.scheduling / now,
            self.count * self.costs.run / now,
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--workers", type=int, default=10)
    parser.add_argument("--shards", type=int, default=2000)
    parser.add_argument("--serve", nargs="+", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        asyncio.run(serve(options.serve[0], options.serve[1:]))
        return
    with tempfile.TemporaryDirectory() as name:
        costs = measure(options.workers, options.shards, Path(name))
    size = len(pickle.dumps(shards(1)[0]))
    print(f"{options.shards} shards of {size:,} bytes on {options.workers} workers\n")
    print("| of one shard | CPU ms | most a second |\n|---|---|---|")
    for what, seconds in (
        ("the scheduler", costs.scheduler),
        ("the run: sent, heard of, its receipt in hand", costs.run),
        ("the run, one by one, receipts from a store: CPU alone", costs.before),
        ("a heartbeat at the scheduler (Dask sends 200 a second at most)", costs.heartbeat),
    ):
        print(f"| {what} | {1000 * seconds:.2f} | {1 / seconds:.0f} |")
    print(f"\nBy the clock {costs.rate:.0f} shards a second came back, one by one", end=" ")
    print(f"with receipts 20 ms away {costs.rate_before:.0f}")
    print("\n| workers | they work | the scheduler | the run |\n|---|---|---|---|")
    for workers in WORKERS:
        shares = Simulated(workers, costs, 20 * workers).run()
        print(f"| {workers} | " + " | ".join(f"{share:.0%}" for share in shares) + " |")


if __name__ == "__main__":
    main()
