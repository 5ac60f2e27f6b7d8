"""What a command costs with all the processes it starts, those that outlive it too."""

import ctypes
import os
import subprocess
import sys
import time

PR_SET_CHILD_SUBREAPER = 36


def tree_cost(command):
    """CPU and clock seconds until all the command's processes have ended; the largest one's MB.

    The calling process has to be their subreaper (`adopt_orphans`).
    """
    environment = {k: v for k, v in os.environ.items() if k != "PREFECT_API_URL"}
    started, cpu, peak = time.perf_counter(), 0.0, 0
    running = subprocess.Popen(
        command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    clock = None
    while True:
        try:
            process, status, usage = os.wait4(-1, 0)
        except ChildProcessError:
            return cpu, clock, peak / 1000
        cpu += usage.ru_utime + usage.ru_stime
        peak = max(peak, usage.ru_maxrss)
        if process == running.pid:
            clock = time.perf_counter() - started
            running.returncode = os.waitstatus_to_exitcode(status)
            if running.returncode:
                raise RuntimeError(f"{command} ended with {running.returncode}")


def adopt_orphans():
    """Processes that outlive their parent are ours to wait for."""
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def python(*words):
    return [sys.executable, *words]


def reelvec(*words):
    return python("-m", "reelvec.flows.cli", *words)
