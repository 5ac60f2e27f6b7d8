"""What a command costs with everything it starts: CPU seconds of its whole process tree."""

import ctypes
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import astuple, dataclass

import psutil

PR_SET_CHILD_SUBREAPER = 36
LEFT_OUT = ("PREFECT_API_URL", "PYTHONDONTWRITEBYTECODE")
"""No server is waited for; and modules are compiled once, as where Reelvec is installed, and not in
each process, which would be most of what an import costs. Have a first command for that."""


@dataclass(frozen=True)
class Cost:
    """CPU seconds of a process tree, clock seconds of the command, MB of its largest process."""

    cpu: float
    clock: float
    peak: float = 0.0

    def __add__(self, other):
        return Cost(self.cpu + other.cpu, self.clock + other.clock, max(self.peak, other.peak))

    def least(self, other):
        """The smaller of each."""
        return Cost(*map(min, astuple(self), astuple(other)))


def tree_cost(command, *, kill_after=None, log=None):
    """What a command costs until every process it started has ended.

    Args:
        command: its words.
        kill_after: clock seconds until it and its process group are killed; None: it must go well.
        log: file that its words are added to; None: they are dropped.
    """
    before = _children()
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)  # who outlives its parent is ours
    environment = {k: v for k, v in os.environ.items() if k not in LEFT_OUT}
    environment["PYTHONPYCACHEPREFIX"] = f"{tempfile.gettempdir()}/reelvec-bytecode"
    started = time.perf_counter()
    with open(log or os.devnull, "ab") as words:
        running = subprocess.Popen(
            command, env=environment, stdout=words, stderr=words, start_new_session=True
        )
    if kill_after is not None:
        end = threading.Timer(kill_after, os.killpg, (running.pid, signal.SIGKILL))
        end.start()
    cpu, clock, peak, code = 0.0, 0.0, 0.0, 0
    while left := _children() - before:
        process, status, usage = os.wait4(left.pop(), 0)
        cpu += usage.ru_utime + usage.ru_stime
        peak = max(peak, usage.ru_maxrss / 1000)
        if process == running.pid:
            clock = time.perf_counter() - started
            code = running.returncode = os.waitstatus_to_exitcode(status)
            if kill_after is not None:
                end.cancel()
    if code and kill_after is None:
        raise RuntimeError(f"{command} ended with {code}" + (f"; see {log}" if log else ""))
    return Cost(cpu, clock, peak)


def _children():
    """Of this process: multiprocessing keeps one that never ends."""
    return {child.pid for child in psutil.Process().children()}


def python(*words):
    """The command line of this Python."""
    return [sys.executable, *words]


def reelvec(*words):
    """The command line of `reelvec`, without its start script."""
    return python("-m", "reelvec.flows.cli", *words)
