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

from tests.benchmarks._trees import python, reelvec, tree_cost
from tests.drills.bitflips import draw

BESIDE = "import torch"


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
    with tempfile.TemporaryDirectory() as folder:
        ground = Ground(Path(folder), videos=given.videos, more=given.rounds)
        ground.add_one()
        first = tree_cost(reelvec("run", str(ground.file)))
        least = {}
        for _ in range(given.rounds):
            for name, (before, command) in lines(ground).items():
                if before is not None:
                    before()
                found = tree_cost(command)
                least[name] = found.least(least.get(name, found))
    show(least | {f"the first run, {given.videos} videos": first})


def show(least):
    beside = least[BESIDE]
    print(f"load {os.getloadavg()[0]:.1f}, {os.cpu_count()} cores")
    print(f"{'':<32} {'CPU s':>7} {'clock s':>8} {'CPU, of import':>15} {'clock, of import':>17}")
    for name, cost in least.items():
        shares = f"{cost.cpu / beside.cpu:15.2f} {cost.clock / beside.clock:17.2f}"
        print(f"{name:<32} {cost.cpu:7.2f} {cost.clock:8.2f} {shares}")


if __name__ == "__main__":
    main(sys.argv[1:])
