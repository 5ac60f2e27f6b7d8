"""Starts the workers and stays with them: events, log, cancellation, restarts.

One worker needs no launcher. Several are started by torchrun and meet through files: torch's
network store listens on every address of the machine, whatever address it is given.

The workers live in sessions of their own (torchrun's doing), so no process group holds them all.
What does is the pipe on their standard input: only this process has its writing end, so it closes
when this process dies, however that happens, and each worker then kills itself.
"""

from __future__ import annotations

import os
import queue
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterator
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

    def command(self, meeting: Path) -> list[str]:
        """One run of the workers, on this machine alone.

        Args:
            meeting: an empty folder, through which several find each other.
        """
        worker = ["-m", "reelvec.tasks.training.worker", str(self.spec)]
        if self.processes == 1:
            return [sys.executable, *worker]
        torchrun = [
            "--rdzv-backend=c10d",
            "--rdzv-conf=store_type=file",
            f"--rdzv-endpoint={meeting / 'launcher'}",
            f"--rdzv-id={meeting.name}",
            "--local-addr=127.0.0.1",
            f"--nproc_per_node={self.processes}",
            f"--log-dir={meeting / 'logs'}",  # else torchrun leaves a folder in the temporary one
        ]
        return [sys.executable, "-m", "torch.distributed.run", *torchrun, *worker]


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
    with launch.log.open("a", encoding="utf-8") as log, _child(launch) as child:
        for line in _lines(child):
            log.write(line)
            log.flush()
            event = parse(line)
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
        end.code = child.wait()
    end.tail = "".join(tail)
    return end


@contextmanager
def _child(launch: Launch) -> Iterator[subprocess.Popen[str]]:
    with meeting_folder() as meeting, _started(launch, meeting) as child:
        yield child


@contextmanager
def _started(launch: Launch, meeting: Path) -> Iterator[subprocess.Popen[str]]:
    environment = {
        **os.environ,
        WATCH: "1",
        MEETING: str(meeting / "workers"),
        "TORCH_DISABLE_SHARE_RDZV_TCP_STORE": "1",  # else torchrun opens a network store after all
        "PYTHONPATH": _python_path(),
        "PYTHONUNBUFFERED": "1",
    }
    # threads that wait spin by default: six times the CPU as soon as cores are shared
    environment.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    if sys.platform == "linux":  # one machine: gloo need not find out its address in a network
        environment.setdefault("GLOO_SOCKET_IFNAME", "lo")
    child = subprocess.Popen(
        launch.command(meeting),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        encoding="utf-8",
        errors="replace",
        env=environment,
        start_new_session=True,
    )
    try:
        yield child
    finally:
        _end(child)


def _python_path() -> str:
    """Where this code is from, first; so that the worker runs the same."""
    here = str(Path(__file__).absolute().parents[3])  # not resolved: `reelvec` is a folder of links
    given = os.environ.get("PYTHONPATH")
    return os.pathsep.join([here, given]) if given else here


def _lines(child: subprocess.Popen[str]) -> Iterator[str]:
    """Lines as they come; waits in short steps, so that a cancelled task can stop here."""
    lines: queue.Queue[str | None] = queue.Queue()
    if child.stdout is None:
        return
    reader = threading.Thread(
        target=_read, args=(child.stdout, lines), name="reelvec-train-output", daemon=True
    )
    reader.start()
    while True:
        try:
            line = lines.get(timeout=0.2)
        except queue.Empty:
            continue
        if line is None:
            return
        yield line


def _read(stream: IO[str], lines: queue.Queue[str | None]) -> None:
    with stream:
        for line in stream:
            lines.put(line)
    lines.put(None)


def _end(child: subprocess.Popen[str]) -> None:
    """End the child and every process it started."""
    family = []
    with suppress(psutil.Error):
        family = psutil.Process(child.pid).children(recursive=True)
    if child.stdin is not None:
        with suppress(OSError):
            child.stdin.close()  # the workers see it and die
    if child.poll() is None:
        child.kill()
    for process in family:
        with suppress(psutil.Error):
            process.kill()
    psutil.wait_procs(family, timeout=_GRACE_SECONDS)
    child.wait()
