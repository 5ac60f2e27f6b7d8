"""One worker process as its owner sees it."""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import socket
import time
from dataclasses import dataclass, field
from typing import Any

from reelvec.configs.decoding import JobLimits
from reelvec.storage.sandbox.options import SandboxOptions
from reelvec.storage.sandbox.slots import ArrayPlace, Slot
from reelvec.storage.sandbox.worker import READY
from reelvec.storage.sandbox.zygote import Zygote

__all__ = ["Job", "WorkerProcess"]

MESSAGE_LIMIT = 16 * 2**20
"""Bytes of one answer; its arrays do not count."""

WORDS_KEPT = 400
"""Characters of a worker's last messages that are quoted."""

WORDS_LIMIT = 2**20
"""Bytes of messages after which they are thrown away: nobody fills memory by complaining."""

_DEADLINE_KEYS = (
    "extract.deadline_seconds, deadline_seconds_per_gib and deadline_seconds_per_gigapixel set that"
)


@dataclass
class Job:
    """A job, and how many times it was started."""

    number: int
    payload: dict[str, Any]
    deadline_seconds: float = 0.0
    """0: that of the limits."""
    attempts: int = 1
    started: float = field(default=0.0)


class WorkerProcess:
    """A forked worker, its socket, its slot and what it wrote to stderr."""

    def __init__(self, zygote: Zygote, target: str, *, options: SandboxOptions) -> None:
        self.owner, self.target, self.options = os.getpid(), target, options
        self._zygote = zygote
        self._slot = Slot(keep_bytes=options.slot_bytes, scratch=options.scratch)
        self._words = os.memfd_create("reelvec-words", os.MFD_CLOEXEC)
        self.socket, theirs = socket.socketpair()
        memory_mb, max_bytes = options.limits.memory_mb, options.max_result_bytes
        limits = {"memory_mb": memory_mb, "max_result_bytes": max_bytes}
        try:
            with theirs:
                fds = (theirs.fileno(), self._words, *self._slot.fds)
                self.child = zygote.spawn(target, fds, options=limits, also=options.also)
        except BaseException:
            self._let_go()
            raise
        self.socket.setblocking(False)
        self._heard = b""
        self.job: Job | None = None
        self._forgiven_at = 0.0
        self.ready = False
        self.is_spent = False
        """Its last answer is in a file, for whose sake it was ended."""
        self.jobs_done = 0
        self._inherited_mb = resident_mb(zygote.pid, with_children=False)

    def start(self, job: Job) -> None:
        """Hand over a job; its clock starts now."""
        job.started = time.monotonic()
        self.job = job
        os.ftruncate(self._words, 0)
        with contextlib.suppress(OSError):  # gone already: fault() will see it
            self.socket.setblocking(True)
            self.socket.sendall(json.dumps(job.payload).encode() + b"\n")
        self.socket.setblocking(False)

    def forgive(self, seconds: float) -> None:
        """Do not count this time, which has just gone by, against the running job."""
        if self.job is not None:
            self.job.started += seconds
            self._forgiven_at = time.monotonic()

    def answer(self) -> dict[str, Any] | None:
        """The answer to the running job, its arrays read, or None while there is none."""
        with contextlib.suppress(OSError):
            while len(self._heard) < MESSAGE_LIMIT and (data := self.socket.recv(65536)):
                self._heard += data
        while b"\n" in self._heard:
            line, _, self._heard = self._heard.partition(b"\n")
            if line == READY:
                self.ready = True
                continue
            answer = self._understand(line)
            self.job = None
            self.jobs_done += 1
            return answer
        return None

    def _understand(self, line: bytes) -> dict[str, Any]:
        """The answer with its arrays; a worker that sends nonsense counts as crashed."""
        try:
            answer = dict(json.loads(line))
            places = [ArrayPlace(o, tuple(s), d, f) for o, s, d, f in answer.pop("arrays")]
            if any(place.in_file for place in places):
                self._end()  # who can shrink the file would take down whoever has it mapped
                self.is_spent = True
            return {**answer, "arrays": self._slot.take(places)}
        except (ValueError, KeyError, TypeError) as error:
            return {"reason": "crashed", "message": f"the worker's answer makes no sense: {error}"}

    def fault(self, limits: JobLimits) -> tuple[str, str]:
        """(reason, message) if the running job must be given up now, else ("", "")."""
        if self.job is None:
            return "", ""
        if self.has_ended():
            return "crashed", "the decoder took its process down"
        now = time.monotonic()
        alive = max(self._slot.last_sign_of_life(), self.job.started, self._forgiven_at)
        deadline = self.job.deadline_seconds or limits.deadline_seconds
        if now - self.job.started > deadline:
            return "timeout", f"not done after {deadline:g} s; {_DEADLINE_KEYS}"
        if now - alive > limits.no_progress_seconds:
            words = f"no sign of life for {limits.no_progress_seconds:g} s"
            return "no_progress", f"{words}; extract.no_progress_seconds sets that"
        if resident_mb(self.child.pid) - self._inherited_mb > limits.memory_mb:
            words = f"more than {limits.memory_mb} MiB resident"
            return "memory", f"{words}; extract.memory_mb sets that"
        if os.fstat(self._words).st_size > WORDS_LIMIT:
            os.ftruncate(self._words, 0)
        return "", ""

    def kill(self) -> str:
        """End it and all it started, wait until it is gone, and return its last words."""
        self._end()
        code = self._zygote.reap(self.child)
        words = self._last_words()
        self._let_go()
        if code < 0 and code != -signal.SIGKILL:
            words = f"{words} (signal {signal.Signals(-code).name})".strip()
        return words

    def _end(self) -> None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.child.pid, signal.SIGKILL)  # its own session: see sandbox_worker.live
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(self.child.pidfd, signal.SIGKILL)
        select.select([self.child.pidfd], [], [])

    def has_ended(self) -> bool:
        """Whether the process is gone."""
        return bool(select.select([self.child.pidfd], [], [], 0)[0])

    def _last_words(self) -> str:
        size = os.fstat(self._words).st_size
        raw = os.pread(self._words, WORDS_KEPT, max(0, size - WORDS_KEPT))
        return raw.decode(errors="replace").strip()

    def _let_go(self) -> None:
        self.socket.close()
        self._slot.close()
        os.close(self._words)


def resident_mb(pid: int, *, with_children: bool = True) -> float:
    """Resident memory of a process and what it started, MiB; 0 once it is gone."""
    pages = 0
    for process in (pid, *(_children(pid) if with_children else ())):
        try:
            with open(f"/proc/{process}/statm", encoding="ascii") as file:  # noqa: PTH123
                pages += int(file.read().split()[1])
        except (OSError, IndexError):
            continue
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def _children(pid: int) -> list[int]:
    try:
        with open(f"/proc/{pid}/task/{pid}/children", encoding="ascii") as file:  # noqa: PTH123
            return [int(child) for child in file.read().split()]
    except OSError:
        return []
