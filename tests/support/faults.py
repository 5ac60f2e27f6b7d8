"""Calls of the system that fail when they are told to: see faults.c, loaded before libc."""

import ctypes
import os
import shutil
import subprocess
from pathlib import Path

SOURCE = Path(__file__).with_suffix(".c")
PRELOAD = "LD_PRELOAD"


def compiler():
    """The C compiler of this machine; None: it has none."""
    return shutil.which("cc") or shutil.which("gcc")


def library(folder):
    """Compiled into `folder`."""
    made = folder / "faults.so"
    subprocess.run([compiler(), "-shared", "-fPIC", "-o", made, SOURCE, "-ldl"], check=True)
    return made


class Faults:
    """The library as it is loaded in this process."""

    def __init__(self, loaded):
        self._library = ctypes.CDLL(str(loaded))
        self._library.reelvec_fault_seen.restype = ctypes.c_long

    @classmethod
    def of_this_process(cls):
        """None where it was not started with it."""
        loaded = os.environ.get(PRELOAD, "")
        return cls(loaded) if Path(loaded).name == "faults.so" else None

    def fail(self, call, below, *, number, error, every=False):
        """The `number`-th such call below a folder fails from now on, or each one from there."""
        self._library.reelvec_fault(
            os.fsencode(below), call.encode(), ctypes.c_long(number), error, ctypes.c_long(every)
        )

    def count(self, below):
        """Only counts, every kind of call."""
        self.fail("", below, number=0, error=0)

    def seen(self, call):
        """How many such calls there were since."""
        return self._library.reelvec_fault_seen(call.encode())


def in_environment(loaded, call, below, *, number, error, every=False):
    """For a program that is to be started so."""
    words = f"{below}|{call}|{number}|{error}|{int(every)}"
    return {PRELOAD: str(loaded), "REELVEC_FAULT": words}
