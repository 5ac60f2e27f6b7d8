"""How long a step waits for its checkpoint: written in the step, and beside it.

    python -m tests.benchmarks.checkpoints --gigabytes 1.5

A state of that size (a third weights, two thirds the optimizer's moments) is committed to a store
in a temporary folder three times in each way. Between the checkpoints steps of matrix products go
on: what they cost alone, and while a checkpoint is being written. A copy of the state is timed too.
Absolute numbers are this machine's.
"""

import argparse
import statistics
import sys
import tempfile
import time
from functools import partial
from pathlib import Path

import torch

from reelvec.configs.schema import ModelConfig
from reelvec.storage.commits.artifact import Artifact
from reelvec.storage.roots import open_root
from reelvec.tasks.training.checkpoints import Contents, commit_contents
from reelvec.tasks.training.progress import Progress
from reelvec.tasks.training.writing import CheckpointWriter

CHECKPOINTS = 3
TENSORS = 48
SIDE = 1024


def state(gigabytes):
    """Tensors of equal size by the names of a checkpoint."""
    elements = int(gigabytes * 2**30 / 4 / TENSORS)
    names = [
        f"{'weights/' if number % 3 == 0 else 'optimizer/'}block{number}/next_m"
        for number in range(TENSORS)
    ]
    return {name: torch.randn(elements) for name in names}


def contents(tensors, step):
    progress = Progress(step=step, steps_per_epoch=100, total_steps=100)
    return Contents(tensors, sizes={}, optimizer={"groups": []}, progress=progress)


def timed(work):
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def one_step(tensors, factor):
    """Arithmetic, and every tensor is changed as an optimizer does."""
    for _ in range(4):
        torch.mm(factor, factor)
    for tensor in tensors.values():
        tensor.mul_(0.999)


def within(commit, tensors, factor):
    """Seconds blocked by each checkpoint, and of steps in between."""
    blocked = [timed(partial(commit, contents(tensors, n))) for n in range(CHECKPOINTS)]
    return blocked, [timed(partial(one_step, tensors, factor)) for _ in range(8)]


def beside(commit, tensors, factor):
    """The same with a writer; the steps are those taken while it writes."""
    blocked, steps = [], []
    with CheckpointWriter(commit) as writer:
        for number in range(CHECKPOINTS):
            blocked.append(timed(partial(writer.put, contents(tensors, number + 50))))
            while not writer.committed():
                writer.check()
                steps.append(timed(partial(one_step, tensors, factor)))
    return blocked, steps


def seconds_of_a_copy(tensors):
    """Into memory that was used before."""
    copies = [tensor.clone() for tensor in tensors.values()]
    return timed(lambda: [a.copy_(b) for a, b in zip(copies, tensors.values(), strict=True)])


def main(arguments=()):
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.checkpoints")
    parser.add_argument("--gigabytes", type=float, default=1.5)
    gigabytes = parser.parse_args(list(arguments)).gigabytes
    tensors, factor = state(gigabytes), torch.randn(SIDE, SIDE)
    copy = seconds_of_a_copy(tensors)
    print(f"{gigabytes:g} GiB, {torch.get_num_threads()} threads; seconds; a copy: {copy:.2f}")
    print("| a checkpoint is written | the step waits (first, then) | a step meanwhile |")
    print("| --- | --- | --- |")
    for name, way in (("in the step (before)", within), ("beside it", beside)):
        with tempfile.TemporaryDirectory(prefix="reelvec-checkpoints-") as folder:
            artifact = Artifact.open(
                open_root(Path(folder) / "store"), kind="checkpoint", identity={"of": name}
            )
            commit = partial(
                commit_contents, artifact, config=ModelConfig(), seconds=0.0, keep_last=1
            )
            blocked, steps = way(commit, tensors, factor)
        later = statistics.median(blocked[1:])
        print(f"| {name} | {blocked[0]:.2f}, {later:.2f} | {statistics.median(steps):.2f} |")


if __name__ == "__main__":
    main(sys.argv[1:])
