"""Starts the workers and stays with them: events, log, cancellation, restarts.

There is no launcher: torch's opens a network store on every address of the machine, and unpickles
what it reads from it. Several workers meet through a file, and talk over loopback.

Each worker has a session of its own, so that a terminal's Ctrl-C is for this process alone. What
they have in common is the pipe on their standard input: only this process has its writing end, so
it closes when this process dies, however that happens, and each worker then kills itself.
"""

from __future__ import annotations

import os
import queue
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import psutil

from reelvec.tasks.training.errors import TrainingError
from reelvec.tasks.training.events import parse
from reelvec.tasks.training.guard import WATCH
from reelvec.tasks.training.meeting import meeting_folder
from reelvec.tasks.training.processes import MEETING

__all__ = ["Launch", "OnProgress", "supervise"]

OnProgress = Callable[[dict[str, Any]], None]

_RESTARTS = 2
_GRACE_SECONDS = 5.0
_LAST_WORDS_SECONDS = 2.0
_TAIL = 40


@dataclass(frozen=True)
class Launch:
    """How the worker is started.

    Attributes:
        spec: path of its JSON spec.
        processes: how many on this machine, one or more.
        log: file that everything the processes say is appended to.
        restarts: times it is started again without having committed a checkpoint in between.
    """

    spec: Path
    processes: int
    log: Path
    restarts: int = _RESTARTS

    def command(self) -> list[str]:
        """What each worker is started by."""
        return [sys.executable, "-m", "reelvec.tasks.training.worker", str(self.spec)]


def supervise(launch: Launch, *, on_progress: OnProgress) -> None:
    """Run the worker to its end; nothing of it is left when this returns or raises.

    Raises:
        TrainingError: the worker said what is wrong, or crashed too often.
    """
    left = launch.restarts
    while True:
        end = _run_once(launch, on_progress=on_progress)
        if end.code == 0:
            return
        if end.error:
            raise TrainingError(end.error)
        left = launch.restarts if end.committed else left
        if left <= 0:
            raise TrainingError(
                f"the training process ended with code {end.code}"
                f"{': ' + end.crash if end.crash else ''}; its log is {launch.log}, the last "
                f"checkpoint stands. It last said: {' | '.join(end.tail.splitlines())}"
            )
        left -= 1
        on_progress({"event": "restart", "code": end.code, "message": end.crash})


@dataclass
class _End:
    """How one attempt ended."""

    code: int = 0
    error: str = ""
    crash: str = ""
    committed: bool = False
    tail: str = ""


def _run_once(launch: Launch, *, on_progress: OnProgress) -> _End:
    end = _End()
    tail: deque[str] = deque(maxlen=_TAIL)
    launch.log.parent.mkdir(parents=True, exist_ok=True)
    with launch.log.open("a", encoding="utf-8") as log, _workers(launch) as workers:
        for line in _lines(workers):
            event = parse(line)
            if event is None or event["event"] != "point":  # points are the curve, in the store
                log.write(line)
                log.flush()
            if event is None:
                tail.append(line)
                continue
            end.committed |= event["event"] == "checkpoint"
            if event["event"] == "error":
                end.error = end.error or str(event["message"])
            elif event["event"] == "crash":
                end.crash = end.crash or str(event["message"])
            else:
                on_progress(event)
        end.code = next((code for code in workers.codes() if code), 0)
    end.tail = "".join(tail)
    return end


@dataclass(frozen=True)
class _Workers:
    """The processes of one attempt, and what all of them write."""

    processes: Sequence[subprocess.Popen[bytes]]
    output: IO[str]

    def codes(self) -> list[int | None]:
        """Their exit codes; None: still at work."""
        return [process.poll() for process in self.processes]


@contextmanager
def _workers(launch: Launch) -> Iterator[_Workers]:
    with meeting_folder() as meeting, _started(launch, meeting) as workers:
        yield workers


@contextmanager
def _started(launch: Launch, meeting: Path) -> Iterator[_Workers]:
    lifeline, alive = os.pipe()
    heard, said = os.pipe()
    processes: list[subprocess.Popen[bytes]] = []
    output = open(heard, encoding="utf-8", errors="replace")  # noqa: PTH123, SIM115 - a pipe
    try:
        try:
            for rank in range(launch.processes):
                processes.append(
                    subprocess.Popen(
                        launch.command(),
                        stdin=lifeline,
                        stdout=said,
                        stderr=said,
                        env=_environment(rank, launch.processes, meeting=meeting / "workers"),
                        start_new_session=True,
                    )
                )
        except BaseException:
            output.close()
            raise
        finally:
            os.close(lifeline)
            os.close(said)
        yield _Workers(processes, output)
    finally:
        os.close(alive)  # the workers see it and die
        _end(processes)


def _environment(rank: int, world: int, *, meeting: Path) -> dict[str, str]:
    """Of one worker: torch's names for its place among the others, and where it finds them."""
    place = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": world, "LOCAL_WORLD_SIZE": world}
    environment = {
        **os.environ,
        **{name: str(value) for name, value in place.items()},
        WATCH: "1",
        MEETING: str(meeting),
        "PYTHONPATH": _python_path(),
        "PYTHONUNBUFFERED": "1",
    }
    # threads that wait spin by default: six times the CPU as soon as cores are shared
    environment.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    if world > 1:
        environment.setdefault("OMP_NUM_THREADS", "1")
    loopback = {"linux": "lo", "darwin": "lo0"}.get(sys.platform)
    if loopback:  # one machine: gloo and NCCL need not find out its address in a network
        environment.setdefault("GLOO_SOCKET_IFNAME", loopback)
        environment.setdefault("NCCL_SOCKET_IFNAME", loopback)
    return environment


def _python_path() -> str:
    """Where this code is from, first; so that the worker runs the same."""
    here = str(Path(__file__).absolute().parents[3])  # not resolved: `reelvec` is a folder of links
    given = os.environ.get("PYTHONPATH")
    return os.pathsep.join([here, given]) if given else here


def _lines(workers: _Workers) -> Iterator[str]:
    """Lines as they come; waits in short steps, so that a cancelled task can stop here.

    Ends with the last worker, or soon after one has failed: the others wait for it.
    """
    lines: queue.Queue[str | None] = queue.Queue()
    reader = threading.Thread(
        target=_read, args=(workers.output, lines), name="reelvec-train-output", daemon=True
    )
    reader.start()
    failed_at = 0.0
    while True:
        with suppress(queue.Empty):
            line = lines.get(timeout=0.2)
            if line is None:
                break
            yield line
        if not failed_at and any(workers.codes()):
            failed_at = time.monotonic()
        if failed_at and time.monotonic() - failed_at > _LAST_WORDS_SECONDS:
            return
    for process in workers.processes:
        process.wait()


def _read(stream: IO[str], lines: queue.Queue[str | None]) -> None:
    with stream:
        for line in stream:
            lines.put(line)
    lines.put(None)


def _end(processes: Sequence[subprocess.Popen[bytes]]) -> None:
    """End the workers and every process they started."""
    family = []
    for process in processes:
        with suppress(psutil.Error):
            family += psutil.Process(process.pid).children(recursive=True)
        process.kill()
    for member in family:
        with suppress(psutil.Error):
            member.kill()
    psutil.wait_procs(family, timeout=_GRACE_SECONDS)
    for process in processes:
        process.wait()
