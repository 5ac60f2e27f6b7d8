"""Drills about the network: a machine without loopback, and what a run listens on or asks for."""

import shutil
import subprocess
import time

from tests.drills.ground import Drill, must
from tests.support.programs import watching

TOLD_WITHIN = 30.0  # seconds; ten on a machine of one's own
WITHOUT_NETWORK = ("unshare", "--map-root-user", "--net")
"""Starts a program in a network of its own, in which not even loopback is up (util-linux)."""


def no_loopback(ground, store):
    """One process needs none; several say so before anything is begun."""
    must(shutil.which("unshare"), "unshare is not installed")
    for need in ("train.processes=2", "runner=dask"):
        started = time.monotonic()
        words = ground.words(store, "--set", need)
        ground.expect(
            ground.to_its_end([*WITHOUT_NETWORK, *words]), 1, "loopback", need.split("=")[0]
        )
        seconds = time.monotonic() - started
        must(seconds < TOLD_WITHIN, f"{need}: told after {seconds:.0f} s")
    ground.expect(ground.to_its_end([*WITHOUT_NETWORK, *ground.words(store)]), 0)
    return "one process ends with 0; two, and Dask, with 1 and the remedy"


def listening(ground, store):
    """Every socket that listens, ten times a second, and every name looked up, in three runs."""
    for way in ("train.processes=1", "train.processes=2", "runner=dask"):
        shutil.rmtree(store, ignore_errors=True)
        run = ground.start(store, "--set", way)
        with watching(run.pid, ground.watched):
            _, said = run.communicate()
        done = subprocess.CompletedProcess(run.args, run.returncode, "", said)
        ground.expect(done, 0)
    doors, calls = sorted(ground.watched.open_doors), ground.watched.outbound()
    must(not doors, f"listens beyond loopback: {'; '.join(doors)}")
    must(not calls, f"asks for: {' '.join(calls)}")
    must(ground.watched.listened, "nothing listened at all: the drill sees nothing")
    shutil.rmtree(store)
    return "one process, two, Dask: sockets on loopback only, nothing beyond is asked for"


DRILLS = (
    Drill("no loopback", no_loopback),
    Drill("what listens and who is called", listening),
)
