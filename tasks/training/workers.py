"""The processes of one attempt at a training, as this command starts and ends them.

There is no launcher between: torch's opens a network store on every address of the machine, and
unpickles what it reads from it.

Each process has a session of its own, so that a terminal's Ctrl-C is for this one alone. What they
have in common is the pipe on their standard input: only this process has its writing end, so it
closes when this process dies, however that happens, and each of them then kills itself.
"""

from __future__ import annotations

import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

import psutil

from reelvec.tasks.training.guard import WATCH
from reelvec.tasks.training.place import Place
from reelvec.tasks.training.processes import LISTEN, MEETING

__all__ = ["Meeting", "Workers", "words_of", "workers"]

_GRACE_SECONDS = 5.0
_LAST_WORDS_SECONDS = 2.0


@dataclass(frozen=True)
class Meeting:
    """Where the processes of an attempt find each other.

    Attributes:
        url: a file, or tcp://HOST:PORT/NAME.
        listen: address of this machine on which they may be reached; empty: loopback.
    """

    url: str
    listen: str = ""


@dataclass
class Workers:
    """The processes, in the order of their ranks, and what all of them write."""

    processes: Sequence[subprocess.Popen[bytes]]
    output: IO[str]
    failed: dict[int, int] = field(default_factory=dict)
    """{place among these processes: exit code} of those that failed first."""

    def lines(self, fault: Callable[[], str]) -> Iterator[str]:
        """Lines as they come; waits in short steps, so that a cancelled task can stop here.

        Ends with the last process, soon after one has failed (the others wait for it), or where
        `fault` says that something is wrong.
        """
        lines: queue.Queue[str | None] = queue.Queue()
        reader = threading.Thread(
            target=_read, args=(self.output, lines), name="reelvec-train-output", daemon=True
        )
        reader.start()
        failed_at = 0.0
        while not fault():
            with suppress(queue.Empty):
                line = lines.get(timeout=0.2)
                if line is None:
                    self._wait(fault)
                    return
                yield line
            if not failed_at and self._look():
                failed_at = time.monotonic()
            if failed_at and time.monotonic() - failed_at > _LAST_WORDS_SECONDS:
                return

    def _look(self) -> dict[int, int]:
        """Who has failed, when first somebody has; one that was killed rather than one that ended.

        The others end as well, since they lose it: a moment later.
        """
        codes = {place: process.poll() or 0 for place, process in enumerate(self.processes)}
        failed = {place: code for place, code in codes.items() if code}
        killed = {place: code for place, code in failed.items() if code < 0}
        self.failed = self.failed or killed or failed
        return self.failed

    def _wait(self, fault: Callable[[], str]) -> None:
        """Until all have ended: their output has."""
        while any(process.poll() is None for process in self.processes) and not fault():
            time.sleep(0.02)
        self._look()


@contextmanager
def workers(command: Sequence[str], place: Place, meeting: Meeting) -> Iterator[Workers]:
    """The processes of a place, each started by this command; none is left after the block."""
    lifeline, alive = os.pipe()
    heard, said = os.pipe()
    processes: list[subprocess.Popen[bytes]] = []
    output = open(heard, encoding="utf-8", errors="replace")  # noqa: PTH123, SIM115 - a pipe
    try:
        try:
            for number in range(place.processes):
                processes.append(
                    subprocess.Popen(
                        command,
                        stdin=lifeline,
                        stdout=said,
                        stderr=said,
                        env=_environment(number, place, meeting),
                        start_new_session=True,
                    )
                )
        except BaseException:
            output.close()
            raise
        finally:
            os.close(lifeline)
            os.close(said)
        yield Workers(processes, output)
    finally:
        os.close(alive)  # the workers see it and die
        _end(processes)


def words_of(code: int) -> str:
    """An exit code in words."""
    with suppress(ValueError):
        if code < 0:
            return f"ended with code {code} ({signal.Signals(-code).name})"
    return f"ended with code {code}"


def _environment(number: int, place: Place, meeting: Meeting) -> dict[str, str]:
    """Of one worker: torch's names for its place among the others, and where it finds them."""
    torchs = {
        "RANK": place.ranks[number],
        "LOCAL_RANK": place.first_local + number,
        "WORLD_SIZE": place.world,
        "LOCAL_WORLD_SIZE": place.local_world,
    }
    environment = {
        **os.environ,
        **{name: str(value) for name, value in torchs.items()},
        WATCH: "1",
        MEETING: meeting.url,
        LISTEN: meeting.listen,
        "PYTHONPATH": _python_path(),
        "PYTHONUNBUFFERED": "1",
    }
    # threads that wait spin by default: six times the CPU as soon as cores are shared
    environment.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    if place.world > 1:
        environment.setdefault("OMP_NUM_THREADS", "1")
    interface = _interface(meeting.listen)
    if interface:  # gloo and NCCL would else find out an address of their own
        environment.setdefault("GLOO_SOCKET_IFNAME", interface)
        environment.setdefault("NCCL_SOCKET_IFNAME", interface)
    return environment


def _interface(address: str) -> str:
    """The network interface that has an address; loopback where none is given."""
    if not address or address.startswith("127.") or address == "::1":
        return {"linux": "lo", "darwin": "lo0"}.get(sys.platform, "")
    for name, addresses in psutil.net_if_addrs().items():
        if any(one.address.partition("%")[0] == address for one in addresses):
            return str(name)
    return ""


def _python_path() -> str:
    """Where this code is from, first; so that the worker runs the same."""
    here = str(Path(__file__).absolute().parents[3])  # not resolved: `reelvec` is a folder of links
    given = os.environ.get("PYTHONPATH")
    return os.pathsep.join([here, given]) if given else here


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
