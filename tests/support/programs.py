"""Programs started by a test, watched from outside: what listens, and what they leave running."""

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from dataclasses import dataclass, field
from pathlib import Path

import psutil

MARK = "REELVEC_TEST_MARK"
LOOPBACK = ("127.", "::1")
ROOT = Path(__file__).parents[2]
OUTBOUND = str(Path(__file__).parent / "outbound")


def heeding_ctrl_c():
    """For `preexec_fn`: a shell's `&` starts the tests, and so what they start, deaf to SIGINT."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


@dataclass
class Watched:
    """What was seen of a program and of everything it started."""

    mark: str = field(default_factory=lambda: uuid.uuid4().hex)
    open_doors: set[str] = field(default_factory=set)
    """`address:port command` of every socket that listened beyond loopback."""
    listened: bool = False
    """Whether anything listened at all: else nothing was proven."""

    @property
    def calls(self):
        """The file that tests/support/outbound writes."""
        return Path(tempfile.gettempdir(), f"reelvec-outbound-{self.mark}")

    def environment(self, folder, **more):
        """For the program: marked, with a Prefect home of its own, installed as people have it."""
        given = {k: v for k, v in os.environ.items() if not k.startswith(("PREFECT_", "PYTEST_"))}
        given |= {MARK: self.mark, "PREFECT_HOME": str(folder), "PWD": str(folder)}
        given |= {"OMP_NUM_THREADS": "1", "REELVEC_TEST_OUTBOUND": str(self.calls)}
        return given | {"PYTHONPATH": os.pathsep.join([OUTBOUND, str(ROOT / ".editable")])} | more

    def outbound(self):
        """Addresses beyond this machine that any of its processes asked for."""
        return self.calls.read_text().split() if self.calls.exists() else []

    def left_running(self, *, patience=10.0):
        """Command lines of marked processes that are alive after so many seconds."""
        until = time.monotonic() + patience
        while (alive := self._alive()) and time.monotonic() < until:
            time.sleep(0.2)
        return [shown(process) for process in alive]

    def kill(self):
        """End whatever is left, so that a failed test harms no other."""
        for process in self._alive():
            with contextlib.suppress(psutil.Error):
                process.kill()

    def look(self, pid):
        """Note the sockets of a process and its descendants that listen now."""
        family = []
        with contextlib.suppress(psutil.Error):
            family = [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]
        for process in family:
            with contextlib.suppress(psutil.Error):
                for socket in process.net_connections(kind="inet"):
                    if socket.status == psutil.CONN_LISTEN:
                        self.listened = True
                        if not socket.laddr.ip.startswith(LOOPBACK):
                            where = f"{socket.laddr.ip}:{socket.laddr.port}"
                            self.open_doors.add(f"{where} {shown(process)}")

    def _alive(self):
        found = []
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error):
                if process.environ().get(MARK) == self.mark and process.status() != "zombie":
                    found.append(process)
        return found


def shown(process):
    return " ".join(process.cmdline())[:200]


@contextlib.contextmanager
def watching(pid, watched):
    """Look at a process and its descendants ten times a second."""
    over = threading.Event()

    def watch():
        while not over.wait(0.1):
            watched.look(pid)

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield watched
    finally:
        over.set()
        watcher.join()


def run_watched(command, *, cwd, timeout=400, **environment):
    """Run a program to its end: (CompletedProcess, Watched)."""
    watched = Watched()
    child = subprocess.Popen(
        command, cwd=cwd, env=watched.environment(cwd, **environment), text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    try:
        with watching(child.pid, watched):
            out, err = child.communicate(timeout=timeout)
    except subprocess.TimeoutExpired:
        watched.kill()
        raise
    return subprocess.CompletedProcess(command, child.returncode, out, err), watched


def python(*arguments):
    return [sys.executable, *arguments]


def end(child, *, seconds=60):
    """End a program as a person does, and kill it where it does not heed that.

    A worker of Prefect's never ends where SIGINT is ignored, as behind a shell's `&`.
    """
    child.terminate()
    try:
        child.wait(seconds)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()
