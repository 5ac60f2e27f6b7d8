"""Trainings that are killed, stopped and spread over nodes, and end as one that was left alone.

    python -m tests.drills.training             # all: 20 kills, three launchers, a hang
    python -m tests.drills.training --short     # what CI does

A tiny model trains on a small store, alone: once as one process, once as two. Then kill -9 meets
one of its processes, all of them, or the command that started them, in the middle of an epoch and
while a checkpoint is being written; and two commands on 127.0.0.1 and 127.0.0.2 train together, as
an outer launcher, Slurm or Dask start them. Each must end with the checksum of the training that
was left alone, with no process left and nothing listening but on the two addresses. Exits 1 where
one does not.
"""

import argparse
import json
import os
import random
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import psutil

from reelvec.configs import PipelineConfig
from reelvec.tasks.artifacts import Session
from reelvec.tasks.training.finding import find_trained
from tests.drills.ground import DrillError, Row, must, table
from tests.support.programs import Watched
from tests.tasks.training.builders import make_store

SECONDS = 300.0
ADDRESSES = ("127.0.0.1", "127.0.0.2")
EPOCHS = {"long": 8, "short": 3}
COMMAND = """
import json, sys
from functools import partial
from reelvec.configs import PipelineConfig
from reelvec.flows.clusters import open_cluster
from reelvec.flows.nodes import join, other_place
from reelvec.flows.dask_training import run_on_dask
from reelvec.storage.at_work import announced
from reelvec.tasks.artifacts import Session
from reelvec.tasks.training.running import run_here
from reelvec.tasks.training.train import train

def main():
    config = PipelineConfig.model_validate_json(sys.argv[1])
    place = other_place(config, stages=None)
    if place is not None:
        return join(config, place)
    session = Session(config)
    with announced(session.root, config.name), open_cluster(config) as address:
        run = run_here if address is None else partial(run_on_dask, address)
        tell = lambda event: print(json.dumps(event), flush=True)
        train(session, on_progress=tell, run_training=run)

if __name__ == "__main__":
    main()
"""


class Command:
    """A command that trains, or takes part, and the events that it prints."""

    def __init__(self, place, config, **environment):
        self.events, self.errors = [], []
        self.process = subprocess.Popen(
            [sys.executable, str(place.program), config.model_dump_json()],
            env=place.watched.environment(place.folder, **environment), text=True,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True,
        )  # fmt: skip
        self.readers = [
            threading.Thread(target=read, args=(stream, into), daemon=True)
            for stream, into in (
                (self.process.stdout, self.events),
                (self.process.stderr, self.errors),
            )
        ]
        for reader in self.readers:
            reader.start()

    def heard(self, name, after=0):
        """Events of that name, but for the first `after` of all events."""
        return [event for event in map(json.loads, self.events[after:]) if event["event"] == name]

    def wait_for(self, happened, what):
        """Until it has happened; whether it did before the command ended."""
        until = time.monotonic() + SECONDS
        while not happened():
            if self.process.poll() is not None:
                return False
            must(time.monotonic() < until, f"no {what} in {SECONDS:.0f} s: {self.said}")
            time.sleep(0.002)
        return True

    @property
    def said(self):
        return "".join(self.errors)[-1500:]

    def end(self):
        """To its end, which must be a good one."""
        code = self.process.wait(timeout=SECONDS)
        for reader in self.readers:
            reader.join(10)
        must(code == 0, f"exit {code}: {self.said}")
        return self

    def workers(self):
        """{rank: process} of what this command trains with."""
        found = {}
        with suppress(psutil.Error):
            for process in psutil.Process(self.process.pid).children(recursive=True):
                with suppress(psutil.Error):
                    if "reelvec.tasks.training.worker" in process.cmdline():
                        found[int(process.environ()["RANK"])] = process
        return found


def read(stream, into):
    with stream:
        into.extend(stream)


@dataclass
class Place:
    """Where these drills happen: a store that is ready to be trained from, and its copies."""

    folder: Path
    epochs: int
    watched: Watched = field(default_factory=Watched)

    def __post_init__(self):
        self.program = self.folder / "command.py"
        self.program.write_text(COMMAND)
        self.config = make_store(self.folder, epochs=self.epochs, batch_size=4, checkpoint_every=2)
        self.wanted = {}

    def new(self, **train):
        """A config of an untrained copy of the store."""
        store = Path(tempfile.mkdtemp(dir=self.folder)) / "store"
        shutil.copytree(self.folder / "store", store)
        given = self.config.model_dump() | {"store": str(store)}
        given["train"] = given["train"] | train
        return PipelineConfig.model_validate(given)

    def alone(self, processes):
        """The checksum of a training that nobody disturbs."""
        if processes not in self.wanted:
            config = self.new(processes=processes)
            Command(self, config).end()
            self.wanted[processes] = checksum(config)
        return self.wanted[processes]

    def must_equal(self, config, processes):
        found = find_trained(Session(config))
        must(found is not None, "it is not trained")
        must(checksum(config) == self.alone(processes), "another checksum than left alone")
        left = self.watched.left_running()
        must(not left, f"left running: {'; '.join(left)}")


def checksum(config):
    session = Session(config)
    return session.latest(find_trained(session).snapshot.artifact).checksum


def kills(place, *, processes, count, rng):
    """Kill -9 so often, then to the end."""
    config = place.new(processes=processes)
    command, done = Command(place, config), Counter()
    while sum(done.values()) < count:
        when = ("mid-epoch", "mid-commit")[sum(done.values()) % 2]
        happened = {
            "mid-epoch": partial(command.heard, "step", len(command.events)),
            "mid-commit": partial(written_now, config),
        }[when]
        if not command.wait_for(happened, when):
            raise DrillError(f"it ended after {sum(done.values())} kills: {command.said}")
        time.sleep(rng.random() * (0.05 if when == "mid-epoch" else 0.005))
        command = kill(place, command, config, processes=processes, rng=rng)
        done[when] += 1
    command.end()
    place.must_equal(config, processes)
    return ", ".join(f"{number} in {when}" for when, number in done.items())


def written_now(config):
    """Whether a checkpoint is being written."""
    return any((Path(config.store) / ".scratch").glob("*.safetensors"))


def kill(place, command, config, *, processes, rng):
    """Kill a process, all, or the command; what goes on is the same command or a new one."""
    whom = rng.choice(["a process", "the command", "all"])
    workers, seen = command.workers(), len(command.events)
    if whom == "a process" and len(workers) == processes:
        rank = rng.choice(sorted(workers))
        workers[rank].kill()
        must(command.wait_for(lambda: command.heard("restart", seen), "restart"), command.said)
        words = command.heard("restart", seen)[0]["message"]
        named = f"rank {rank} of {processes} on {socket.gethostname()}"
        named = named if processes > 1 else "the training process"
        must(words == f"{named} ended with code -9 (SIGKILL)", f"named otherwise: {words}")
        return command
    if whom == "all":
        for process in workers.values():
            process.kill()
    command.process.kill()
    command.process.wait()
    left = place.watched.left_running(patience=60)  # one that imports sees it afterwards
    must(not left, "processes outlived their command")
    return Command(place, config)


def together(place, environments, *, disturb=None):
    """Two commands on two addresses, to their ends."""
    with socket.create_server((ADDRESSES[0], 0)) as server:
        port = server.getsockname()[1]
    config = place.new(nodes=2, address=f"{ADDRESSES[0]}:{port}")
    commands = [
        Command(place, config, **given, REELVEC_NODE_ADDRESS=address)
        for given, address in zip(environments, ADDRESSES, strict=True)
    ]
    first = commands[0]
    must(first.wait_for(lambda: len(first.heard("step")) > 1, "steps"), first.said)
    listening = sorted({address for c in commands for address in listeners(c.process.pid)})
    must(listening == list(ADDRESSES), f"listening at {', '.join(listening)}")
    seen = disturb(commands) if disturb else ""
    for command in commands:
        command.end()
    place.must_equal(config, 2)
    return seen or f"listening at {' and '.join(listening)} alone"


def listeners(pid):
    """Addresses at which a process or what it started listens."""
    for process in [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]:
        with suppress(psutil.Error):
            for one in process.net_connections(kind="inet"):
                if one.status == psutil.CONN_LISTEN:
                    yield one.laddr.ip


def outer(index):
    """What an outer launcher says."""
    return {"RANK": str(index), "WORLD_SIZE": "2", "LOCAL_RANK": "0"}


def slurm(index):
    """What srun says."""
    return {
        "SLURM_JOB_ID": "4711",
        "SLURM_PROCID": str(index),
        "SLURM_STEP_NUM_TASKS": "2",
        "SLURM_LOCALID": "0",
        "SLURM_NODEID": str(index),
        "SLURM_JOB_NODELIST": "node[1-2]",
    }


def rank_dies(commands):
    """Kill -9 to the process of the second node."""
    first, second = commands
    seen = len(first.events)
    second.workers()[1].kill()
    return restarted(first, seen, "rank 1 of 2 on", "SIGKILL")


def rank_stops(commands):
    """SIGSTOP to the process of the second node, which then says nothing any more."""
    first, second = commands
    seen = len(first.events)
    second.workers()[1].suspend()
    return restarted(first, seen, "rank 1 of 2 on", "hangs: it has said nothing")


def restarted(command, seen, *words):
    """The next restart after these events, which must be said in these words."""
    started = time.monotonic()
    must(command.wait_for(lambda: command.heard("restart", seen), "restart"), command.said)
    said = command.heard("restart", seen)[0]["message"]
    must(all(word in said for word in words), f"named otherwise: {said}")
    return f"after {time.monotonic() - started:.0f} s: {said}"


def launched(place, launcher, disturb=None):
    return together(place, [launcher(index) for index in (0, 1)], disturb=disturb)


def hanging(place):
    """As `launched`, with a bound that a drill can wait for."""
    usual, given = place.config, place.config.train.model_copy(update={"hang_minutes": 0.25})
    place.config = usual.model_copy(update={"train": given})
    try:
        return launched(place, outer, rank_stops)
    finally:
        place.config = usual


def on_dask(place):
    """On two workers of a local Dask cluster."""
    config = place.new(nodes=2).model_copy(update={"runner": "dask", "workers": 2})
    command = Command(place, config)
    must(command.wait_for(lambda: command.heard("step"), "steps"), command.said)
    listening = set(listeners(command.process.pid))
    must(listening == {"127.0.0.1"}, f"listening at {listening}")
    command.end()
    place.must_equal(config, 2)
    return f"{len(command.heard('checkpoint'))} checkpoints told through Dask"


def drills(*, short):
    """(name, what is done) of each row."""
    rng = random.Random(12)
    chosen = [
        ("srun's variables, rank 1 killed", lambda p: launched(p, slurm, rank_dies)),
    ]
    if short:
        return chosen
    return [
        ("10 kills, one process", lambda p: kills(p, processes=1, count=10, rng=rng)),
        ("10 kills, two processes", lambda p: kills(p, processes=2, count=10, rng=rng)),
        ("two nodes, an outer launcher", lambda p: launched(p, outer)),
        *chosen,
        ("two nodes, rank 1 stopped, bound 15 s", hanging),
        ("two workers of a Dask cluster", on_dask),
    ]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--short", action="store_true", help="what CI does")
    parser.add_argument("--only", default="", help="words of a row's name")
    options = parser.parse_args()
    folder, rows = Path(tempfile.mkdtemp(prefix="reelvec-training-")), []
    place = Place(folder, EPOCHS["short" if options.short else "long"])
    try:
        for name, do in drills(short=options.short):
            if options.only not in name:
                continue
            row = Row(name)
            try:
                row.seen = do(place)
            except (DrillError, subprocess.TimeoutExpired) as error:
                row.wrong = " ".join(str(error).split())
            place.watched.kill()
            print(f"{row.name}: {row.wrong or row.seen}", file=sys.stderr, flush=True)
            rows.append(row)
    finally:
        place.watched.kill()
        shutil.rmtree(folder, ignore_errors=True)
    sys.exit(0 if table(rows) else 1)


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    main()
