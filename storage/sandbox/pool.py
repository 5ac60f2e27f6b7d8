"""Killable workers for code that can hang, crash or eat memory.

Nothing in a thread can stop a native loop that holds the interpreter's lock; only a process can be
killed. Each worker is a fork of the zygote with a socket of its own (a kill in mid-message breaks
that one alone) and a result slot of its own, reused only while that process lives. The owner
watches: wall clock, signs of life, resident memory; then SIGKILL to the whole process group, and a
fresh worker in milliseconds. Linux only (memfd, pidfd).
"""

from __future__ import annotations

import select
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Self

import numpy.typing as npt

from reelvec.storage.sandbox.kept import keep, take_kept
from reelvec.storage.sandbox.options import SandboxOptions
from reelvec.storage.sandbox.process import Job, WorkerProcess
from reelvec.storage.sandbox.zygote import ZygoteError, zygote_of_this_process

__all__ = ["Sandbox", "SandboxResult"]

TICK_SECONDS = 0.1
"""Between two looks at memory and deadlines."""

STANDSTILL_SECONDS = 1.0
"""Between two looks: then this process was stopped, or its machine slept, and the workers with it
or not; nobody is late for it."""

MAX_ATTEMPTS = 2
"""A job that takes its worker down is tried once more, on a fresh one: it may have been the other's
memory, or the kernel's choice of victim."""

MAX_FAILED_STARTS = 3
"""Workers in a row that end before they are ready: then the fault is not the jobs'."""


@dataclass(frozen=True, kw_only=True, eq=False)
class SandboxResult:
    """What became of one job."""

    value: dict[str, Any] | None
    """The target's answer; None where `reason` is set."""
    arrays: tuple[npt.NDArray[Any], ...]
    """Those the target allocated, in order, the caller's own; large ones are mapped files."""
    reason: str
    """ "" or timeout, no_progress, memory, crashed, error (an exception of the target)."""
    message: str
    attempts: int
    seconds: float
    """Wall time of the last attempt."""


class Sandbox:
    """A pool of killable workers running `target` ("package.module:function").

    Use it as a context manager, from one thread at a time; any number of sandboxes may exist, in
    any threads of any kind of process. The target is called as target(job, worker) with a job of
    JSON values and a storage.sandbox.worker.Worker, and answers with JSON values.
    """

    def __init__(self, target: str, *, options: SandboxOptions | None = None) -> None:
        self.options = options or SandboxOptions()
        self._target = target
        self._workers: list[WorkerProcess] = []
        self._failed_starts = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End all workers, busy ones by force; those without a job may be kept for another."""
        for worker in self._workers:
            if worker.job is not None or not keep(worker):
                worker.kill()
        self._workers.clear()

    def run(
        self,
        jobs: Iterable[dict[str, Any]],
        *,
        deadline: Callable[[dict[str, Any]], float] = lambda _: 0.0,
    ) -> Iterator[SandboxResult]:
        """One result for each job, in the order of the jobs, read from `jobs` as needed.

        At most workers * results_ahead results wait behind a slow job. Leaving the iterator early
        kills what still runs.

        Args:
            jobs: what the target is given.
            deadline: seconds that a job may take; 0: what the limits say.

        Raises:
            ZygoteError: workers cannot be started at all.
        """
        source = (Job(number, job, deadline(job)) for number, job in enumerate(jobs))
        retries: deque[Job] = deque()
        done: dict[int, SandboxResult] = {}
        emitted, taken, exhausted = 0, 0, False
        try:
            while not (exhausted and emitted == taken):
                ahead = emitted + self.options.workers * self.options.results_ahead
                while self._has_room():
                    job = retries.popleft() if retries else None
                    if job is None and taken < ahead:
                        job = next(source, None)
                        exhausted = job is None
                        taken += not exhausted
                    if job is None:
                        break
                    self._free_worker().start(job)
                if emitted in done:  # the workers have their next jobs: none waits for who reads
                    given = time.monotonic()
                    yield done.pop(emitted)
                    self._forgive(time.monotonic() - given)
                    emitted += 1
                elif taken > emitted + len(done):
                    self._wait(done, retries)
        finally:
            self._drop(worker for worker in self._workers if worker.job is not None)

    def _has_room(self) -> bool:
        return sum(worker.job is not None for worker in self._workers) < self.options.workers

    def _free_worker(self) -> WorkerProcess:
        for worker in self._workers:
            if worker.job is None:
                return worker
        kept = take_kept(self._target, self.options)
        self._workers.append(kept or self._new_worker())
        return self._workers[-1]

    def _new_worker(self) -> WorkerProcess:
        try:
            zygote = zygote_of_this_process(self.options.preload)
            return WorkerProcess(zygote, self._target, options=self.options)
        except ZygoteError:
            zygote = zygote_of_this_process(self.options.preload, fresh=True)
            return WorkerProcess(zygote, self._target, options=self.options)

    def _wait(self, done: dict[int, SandboxResult], retries: deque[Job]) -> None:
        """Sleep until a worker says something or a tick has passed, then settle every job."""
        busy = [worker for worker in self._workers if worker.job is not None]
        poll = select.poll()
        for worker in busy:
            poll.register(worker.socket, select.POLLIN)
            poll.register(worker.child.pidfd, select.POLLIN)
        slept = time.monotonic()
        poll.poll(TICK_SECONDS * 1000)
        self._forgive(time.monotonic() - slept)
        for worker in busy:
            self._settle(worker, done, retries)

    def _forgive(self, stood_still: float) -> None:
        """Nobody is late for a time in which nobody looked."""
        for worker in self._workers:
            if stood_still > STANDSTILL_SECONDS:
                worker.forgive(stood_still)

    def _settle(
        self, worker: WorkerProcess, done: dict[int, SandboxResult], retries: deque[Job]
    ) -> None:
        job = worker.job
        if job is None:
            return
        seconds = time.monotonic() - job.started
        answer = worker.answer()  # first: what is finished is no longer late
        if answer is not None:
            self._failed_starts = 0
            done[job.number] = _result(answer, job, seconds)
            spent = answer.get("reason") == "memory"  # what it could not free, the next job lacks
            if spent or worker.is_spent or worker.jobs_done >= self.options.recycle_after:
                self._drop([worker])
            return
        reason, message = worker.fault(self.options.limits)
        if not reason:
            return
        was_ready = worker.ready
        words = worker.kill()
        self._workers.remove(worker)
        message = f"{message}; it last said: {words}" if words else message
        if not was_ready:
            self._count_failed_start(message)
        if reason == "crashed" and (job.attempts < MAX_ATTEMPTS or not was_ready):
            job.attempts += was_ready
            retries.append(job)
            return
        done[job.number] = _result({"reason": reason, "message": message}, job, seconds)

    def _count_failed_start(self, message: str) -> None:
        self._failed_starts += 1
        if self._failed_starts >= MAX_FAILED_STARTS:
            raise ZygoteError(
                f"{self._failed_starts} sandbox workers in a row ended before they were ready "
                f"(target {self._target}): {message}"
            )
        time.sleep(0.1 * self._failed_starts)

    def _drop(self, workers: Iterable[WorkerProcess]) -> None:
        for worker in list(workers):
            worker.kill()
            self._workers.remove(worker)


def _result(answer: dict[str, Any], job: Job, seconds: float) -> SandboxResult:
    return SandboxResult(
        value=answer.get("value"),
        arrays=tuple(answer.get("arrays", ())),
        reason=str(answer.get("reason", "")),
        message=str(answer.get("message", "")),
        attempts=job.attempts,
        seconds=seconds,
    )
