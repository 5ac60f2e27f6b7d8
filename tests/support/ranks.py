"""Runs a function in several processes of a training group, without torchrun's start for each.

`python -m tests.support.ranks MODULE FUNCTION FOLDER WORLD...`: imports once, then forks as many
processes as each WORLD says, one world after the other. FUNCTION(group, folder) gives what torch
saves as FOLDER/WORLD-RANK.pt.
"""

import importlib
import os
import signal
import subprocess
import sys
import traceback
from pathlib import Path

import torch

from reelvec.tasks.training.processes import MEETING, Group

ROOT = str(Path(__file__).parents[2])
SECONDS = 240


def run_ranks(module, function, folder, *, worlds):
    """What every rank of every world gave: {world: [of rank 0, of rank 1, ...]}."""
    command = [sys.executable, "-m", "tests.support.ranks", module, function, str(folder)]
    environment = {
        "PYTHONPATH": ROOT,
        "PATH": "/usr/bin:/bin",
        "GLOO_SOCKET_IFNAME": "lo",
        "OMP_NUM_THREADS": "1",
    }
    subprocess.run([*command, *map(str, worlds)], env=environment, check=True, timeout=2 * SECONDS)
    return {
        world: [
            torch.load(Path(folder) / f"{world}-{rank}.pt", weights_only=True)
            for rank in range(world)
        ]
        for world in worlds
    }


def main(module, function, folder, *worlds):
    torch.set_num_threads(1)  # threads of a parent do not live in its forks
    run = getattr(importlib.import_module(module), function)
    return 0 if all(run_world(run, Path(folder), int(world)) for world in worlds) else 1


def run_world(run, folder, world):
    """Whether all ranks ended well; where one did not, the others do not wait for it."""
    ranks = {fork(run, folder, rank, world) for rank in range(world)}
    well = True
    while ranks:
        rank, status = os.wait()
        ranks.discard(rank)
        if status:
            well = False
            for other in ranks:
                os.kill(other, signal.SIGKILL)
    return well


def fork(run, folder, rank, world):
    child = os.fork()
    if child:
        return child
    code = 1
    try:
        signal.alarm(SECONDS)
        os.environ |= {"RANK": str(rank), "WORLD_SIZE": str(world)}
        os.environ[MEETING] = str(folder / f"meeting-{world}")
        group = Group.join("cpu")
        torch.save(run(group, folder), folder / f"{world}-{rank}.pt")
        group.leave()
        code = 0
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(code)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
