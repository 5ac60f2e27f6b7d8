"""Two runs on one store at once, as processes, one of them killed now and then."""

from __future__ import annotations

import multiprocessing
import random
import signal
import time
from pathlib import Path

import pytest

from reelvec.storage.commits.artifact import Artifact
from reelvec.storage.roots import open_root
from reelvec.storage.upkeep.garbage import GcOptions, gc_artifact
from reelvec.storage.upkeep.verify import verify_artifact
from tests.storage.commits.contracts import TABLE, ok, rows_in_force, write_part

KEYS = [f"{number:03d}" for number in range(60)]
IDENTITY = {"test": "writers"}


def run(folder: str, seed: int) -> None:
    """A coordinator: adopt, find what is missing, write it in shards, publish now and then."""
    artifact = Artifact.open(open_root(folder), kind="corpus", identity=IDENTITY)
    artifact.publish(add=artifact.orphan_receipts())
    latest = artifact.latest()
    live = latest.live(TABLE) if latest else {}
    missing = [key for key in KEYS if key not in live]
    shards = [missing[start : start + 5] for start in range(0, len(missing), 5)]
    random.Random(seed).shuffle(shards)
    pending = []
    for shard in shards:
        pending.append(write_part(artifact, ok(*shard), shard=shard[0]))
        if len(pending) == 3:
            artifact.publish(add=pending)
            pending = []
    artifact.publish(add=pending)


def test_two_runs_both_finish_and_nothing_is_doubled_or_lost(tmp_path: Path) -> None:
    spawn = multiprocessing.get_context("spawn")
    processes = [spawn.Process(target=run, args=(str(tmp_path), seed)) for seed in (1, 2)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
    assert [process.exitcode for process in processes] == [0, 0]
    for process in processes:
        process.close()
    _check(tmp_path)


@pytest.mark.slow
def test_killed_runs_lose_only_what_was_in_flight(tmp_path: Path) -> None:
    # a fork of a process with threads may hang, and this one has some: a server's forks are clean
    clean = multiprocessing.get_context("forkserver")
    clean.set_forkserver_preload([__name__])
    generator = random.Random(7)
    for seed in range(25):
        folder = tmp_path / str(seed)
        processes = [clean.Process(target=run, args=(str(folder), seed + n)) for n in (0, 100)]
        for process in processes:
            process.start()
        time.sleep(generator.uniform(0, 0.15))
        for process in processes[:1] if seed % 3 else processes:
            process.kill()
        for process in processes:
            process.join(60)
        exits = [process.exitcode for process in processes]
        assert set(exits) <= {0, -signal.SIGKILL}, f"round {seed}: {exits}"
        for process in processes:
            process.close()
        run(str(folder), 0)
        _check(folder)


def _check(folder: Path) -> None:
    artifact = Artifact.open(open_root(folder), kind="corpus", identity=IDENTITY)
    latest = artifact.latest()
    assert latest is not None
    assert rows_in_force(latest) == ok(*KEYS)  # fails on a doubled key
    assert latest.counts().planned == latest.rows == len(KEYS)
    assert verify_artifact(artifact) == []
    gc_artifact(artifact, options=GcOptions(keep_snapshots=1, min_age_seconds=0.0))
    assert rows_in_force(artifact.latest()) == ok(*KEYS)
    assert verify_artifact(artifact) == []
    parts = artifact.root.list(f"{artifact.folder}/parts")
    assert {f"parts/{name}" for name in parts} == {entry.part for entry in latest.entries}
