"""End a training worker when the process that started it ends.

The kernel kills it with its parent (Linux), and, where the supervisor says so, it kills itself when
the supervisor's end of its standard input closes (everywhere, and also where a launcher stands in
between).
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import threading

__all__ = ["WATCH", "die_with_parent"]

WATCH = "REELVEC_WATCH_STDIN"
"""Environment variable: the worker dies when its standard input ends."""

_PR_SET_PDEATHSIG = 1


def die_with_parent() -> None:
    """Make this process end with its parent; call it once, before anything else."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.environ.get(WATCH):
        threading.Thread(target=_watch_stdin, name="reelvec-watch", daemon=True).start()


def _watch_stdin() -> None:
    while os.read(0, 1):
        pass
    os.kill(os.getpid(), signal.SIGKILL)
