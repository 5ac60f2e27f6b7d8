"""What a command costs with everything it starts: CPU seconds of its whole process tree."""

import ctypes
import os
import signal
import subprocess
import tempfile
import threading
import time
from dataclasses import dataclass

PR_SET_CHILD_SUBREAPER = 36
LEFT_OUT = ("PREFECT_API_URL", "PYTHONDONTWRITEBYTECODE")
"""No server is waited for; and modules are compiled once, as where Reelvec is installed, and not in
each process, which would be most of what an import costs. Have a first command for that."""


@dataclass(frozen=True)
class Cost:
    """CPU seconds of a process tree, and clock seconds of the command."""

    cpu: float
    clock: float

    def __add__(self, other):
        return Cost(self.cpu + other.cpu, self.clock + other.clock)

    def least(self, other):
        """The smaller of each."""
        return Cost(min(self.cpu, other.cpu), min(self.clock, other.clock))


def tree_cost(command, *, kill_after=None, log=None):
    """What a command costs until every process it started has ended.

    Args:
        command: its words.
        kill_after: clock seconds until it and its process group are killed; None: it must go well.
        log: file that its words are added to; None: they are dropped.
    """
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
    cpu, clock, code = 0.0, 0.0, 0
    while True:
        try:
            process, status, usage = os.wait4(-1, 0)
        except ChildProcessError:
            break
        cpu += usage.ru_utime + usage.ru_stime
        if process == running.pid:
            clock = time.perf_counter() - started
            code = running.returncode = os.waitstatus_to_exitcode(status)
            if kill_after is not None:
                end.cancel()
    if code and kill_after is None:
        raise RuntimeError(f"{command} ended with {code}" + (f"; see {log}" if log else ""))
    return Cost(cpu, clock)
