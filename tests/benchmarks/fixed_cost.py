"""What a command costs before and after its work, beside a bare `import torch`.

    python -m tests.benchmarks.fixed_cost [--videos 60] [--rounds 2]

Each line is a process tree of its own: CPU seconds of all its processes, those that outlive the
command too, and the clock; the least of the rounds. `one video added` decodes, embeds and scores
it, with the tiny tower. Without PREFECT_API_URL, so that no server is waited for. Quote the ratios,
and the load.
"""

import argparse
import json
import os
import sys
import tempfile
from pathlib import Path

from tests.benchmarks._trees import adopt_orphans, python, reelvec, tree_cost
from tests.drills.bitflips import draw

BESIDE = "import torch"


def tree_seconds(command):
    """CPU and clock seconds until every process of the command has ended."""
    return tree_cost(command)[:2]


class Ground:
    """A folder of drawn videos, and a run of them that is done."""

    def __init__(self, folder, *, videos, more):
        self._folder = folder
        self._drawn, self._write = draw(folder, videos=videos + more)
        self._count = videos - 1
        self.store = str(folder / "store")
        self.file = folder / "run.yaml"
        self.file.write_text(
            json.dumps(
                {
                    "name": "fixed",
                    "store": self.store,
                    "corpus": {
                        "kind": "folder",
                        "videos": str(folder / "videos"),
                        "captions": str(folder / "captions.csv"),
                    },
                    "extract": {"size": 64, "sampling": {"rate": 2.0}},
                    "model": {"family": "frozen", "max_frames": 2},
                    "train": {"epochs": 0},
                }
            )
        )

    def add_one(self):
        """One more video of the folder has captions."""
        self._count += 1
        self._write(self._drawn[: self._count])


def lines(ground):
    """Name -> (what is done before the clock starts, command)."""
    run = reelvec("run", str(ground.file))
    return {
        BESIDE: (None, python("-c", BESIDE)),
        "reelvec --help": (None, reelvec("--help")),
        "reelvec runs": (None, reelvec("runs", "--store", ground.store)),
        "reelvec run, nothing to do": (None, run),
        "reelvec run, one video added": (ground.add_one, run),
        "reelvec search": (None, reelvec("search", "a red circle", "--store", ground.store)),
    }


def main(arguments=()):
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.fixed_cost")
    parser.add_argument("--videos", type=int, default=60)
    parser.add_argument("--rounds", type=int, default=2)
    given = parser.parse_args(list(arguments))
    adopt_orphans()
    with tempfile.TemporaryDirectory() as folder:
        ground = Ground(Path(folder), videos=given.videos, more=given.rounds)
        ground.add_one()
        first = tree_seconds(reelvec("run", str(ground.file)))
        least = {}
        for _ in range(given.rounds):
            for name, (before, command) in lines(ground).items():
                if before is not None:
                    before()
                found = tree_seconds(command)
                least[name] = tuple(map(min, least.get(name, found), found))
    show(least | {f"the first run, {given.videos} videos": first})


def show(least):
    cpu, clock = least[BESIDE]
    print(f"load {os.getloadavg()[0]:.1f}, {os.cpu_count()} cores")
    print(f"{'':<32} {'CPU s':>7} {'clock s':>8} {'CPU, of import':>15} {'clock, of import':>17}")
    for name, (spent, taken) in least.items():
        print(f"{name:<32} {spent:7.2f} {taken:8.2f} {spent / cpu:15.2f} {taken / clock:17.2f}")


if __name__ == "__main__":
    main(sys.argv[1:])
