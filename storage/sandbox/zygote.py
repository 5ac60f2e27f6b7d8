"""A process that has imported the heavy modules and forks sandbox workers from itself.

multiprocessing's own forkserver is not used: it imports the caller's `__main__` into each child
(the whole command line for the `reelvec` script), refuses to work inside daemonic processes (Dask's
workers are), and does not tell who reaped whom. This one imports what it is told, forks on request
and reaps on request, so a process id stays taken until its owner has let go of it.

It ends when its owner's socket closes, however the owner ended; its children end with it.
"""

from __future__ import annotations

import fcntl
import importlib
import json
import os
import select
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from reelvec.storage.errors import ReelvecError

__all__ = ["Child", "Zygote", "ZygoteError", "zygote_of_this_process"]

MESSAGE_BYTES = 65536
MAX_FDS = 4
_LOCK = threading.Lock()
_ZYGOTES: dict[tuple[int, tuple[str, ...]], Zygote] = {}
"""By process id (a fork must not talk on its parent's socket) and imports."""


_KEPT_MEMORY = {
    "MALLOC_MMAP_THRESHOLD_": str(32 * 2**20),
    "MALLOC_TRIM_THRESHOLD_": str(64 * 2**20),
}
"""For glibc. It would give what a picture took back to the kernel, to have it cleared page by page
for the next one; a worker keeps so many bytes of it at most. Ours count: Dask sets 64 KiB wherever
it starts workers."""


class ZygoteError(ReelvecError, RuntimeError):
    """No worker process can be started."""


@dataclass(frozen=True)
class Child:
    """A forked worker. `pidfd` becomes readable when it has ended; it is a zombie until reaped."""

    pid: int
    pidfd: int


class Zygote:
    """The owner's handle. Safe to use from several threads."""

    def __init__(self, preload: Sequence[str]) -> None:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._socket = ours
        self._lock = threading.Lock()
        with theirs:
            # -P: the working directory must not put modules of its own in front of ours
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", __name__, str(theirs.fileno()), *preload],
                pass_fds=(theirs.fileno(),),
                env=_environment(),
                cwd=os.sep,  # ours may be removed: MKL then ends a process at its first product
                stdin=subprocess.DEVNULL,
                start_new_session=True,  # Ctrl-C is for the owner alone
            )

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    def spawn(
        self,
        target: str,
        fds: Sequence[int],
        *,
        options: dict[str, int],
        also: Sequence[str] = (),
    ) -> Child:
        """Fork a worker running `target` ("module:function") on `fds`, as `live` takes them.

        What of `also` is not imported there yet is imported before, for all workers to come.

        Raises:
            ZygoteError: the zygote is gone or could not fork.
        """
        request = {"do": "spawn", "target": target, "options": options, "also": list(also)}
        reply, handles = self._ask(request, fds)
        return Child(int(reply["pid"]), handles[0])

    def reap(self, child: Child) -> int:
        """Wait for `child`, which has ended, and say how: exit code, or minus the signal."""
        reply, _ = self._ask({"do": "reap", "pid": child.pid}, ())
        os.close(child.pidfd)
        return int(reply["code"])

    def close(self) -> None:
        """End the zygote and with it every child."""
        self._socket.close()
        self._process.wait()

    def _ask(
        self, request: Mapping[str, object], fds: Sequence[int]
    ) -> tuple[dict[str, int], list[int]]:
        with self._lock:
            try:
                socket.send_fds(self._socket, [json.dumps(request).encode()], list(fds))
                data, handles, _, _ = socket.recv_fds(self._socket, MESSAGE_BYTES, 1)
            except OSError as error:
                raise ZygoteError(f"the process that forks workers is gone: {error}") from error
        if not data:
            code = self._process.poll()
            raise ZygoteError(
                f"the process that forks workers ended (exit code {code}); its own words are above"
            )
        reply = json.loads(data)
        if "error" in reply:
            raise ZygoteError(f"no worker could be forked: {reply['error']}")
        return reply, handles


def zygote_of_this_process(preload: tuple[str, ...], *, fresh: bool = False) -> Zygote:
    """The one zygote this process shares among its sandboxes; `fresh` after one was lost."""
    key = (os.getpid(), preload)
    with _LOCK:
        zygote = None if fresh else _ZYGOTES.get(key)
        if zygote is None:
            zygote = _ZYGOTES[key] = Zygote(preload)
        return zygote


def _environment() -> dict[str, str]:
    """Our environment with our import path and no thread pools, whose threads a fork would lose."""
    single = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    path = os.pathsep.join(map(os.path.abspath, filter(None, sys.path)))
    return {**os.environ, **_KEPT_MEMORY, **single, "PYTHONPATH": path}


def serve(fd: int, preload: Sequence[str]) -> None:
    """The zygote's own life: import, then fork and reap until the owner is gone."""
    _import(preload, fd)
    with socket.socket(fileno=fd) as owner:
        while True:
            data, fds, _, _ = socket.recv_fds(owner, MESSAGE_BYTES, MAX_FDS)
            if not data:
                os._exit(0)
            request = json.loads(data)
            if request["do"] == "reap":
                status = os.waitpid(request["pid"], 0)[1]
                owner.sendall(json.dumps({"code": os.waitstatus_to_exitcode(status)}).encode())
            else:
                _import(request["also"], fd)
                _fork(owner, request, fds)


def _import(modules: Sequence[str], fd: int) -> None:
    missing = [module for module in modules if module not in sys.modules]
    if missing:
        with _ending_with_owner(fd):
            for module in missing:
                importlib.import_module(module)


@contextmanager
def _ending_with_owner(fd: int) -> Iterator[None]:
    """While modules are imported, which takes long on a busy machine, the owner's end is ours."""

    def look(*_: object) -> None:
        if any(event & select.POLLHUP for _, event in owner.poll(0)):
            os._exit(0)

    owner = select.poll()
    owner.register(fd, 0)
    signal.signal(signal.SIGIO, look)
    signal.siginterrupt(signal.SIGIO, False)
    flags = fcntl.fcntl(fd, fcntl.F_GETFL)
    fcntl.fcntl(fd, fcntl.F_SETOWN, os.getpid())
    fcntl.fcntl(fd, fcntl.F_SETFL, flags | os.O_ASYNC)
    look()  # gone before we asked to be told
    yield
    fcntl.fcntl(fd, fcntl.F_SETFL, flags)
    signal.signal(signal.SIGIO, signal.SIG_IGN)


def _fork(owner: socket.socket, request: dict[str, object], fds: list[int]) -> None:
    zygote = os.getpid()
    try:
        pid = os.fork()
    except OSError as error:
        owner.sendall(json.dumps({"error": str(error)}).encode())
    else:
        if pid == 0:
            from reelvec.storage.sandbox.worker import live

            owner.close()
            live(str(request["target"]), fds, options=request["options"], parent=zygote)
        pidfd = os.pidfd_open(pid)
        socket.send_fds(owner, [json.dumps({"pid": pid}).encode()], [pidfd])
        os.close(pidfd)
    for fd in fds:
        os.close(fd)


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    serve(int(sys.argv[1]), sys.argv[2:])
