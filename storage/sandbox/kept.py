"""Workers without a job that are kept for the next sandbox of their kind, while a run goes on.

A worker is forked in some ten milliseconds of processor time, which a shard of eight short clips
feels. It is the same process with the same limits, and is recycled by the jobs it has done.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from reelvec.storage.sandbox.options import SandboxOptions
from reelvec.storage.sandbox.process import WorkerProcess

__all__ = ["keep", "keeping_workers", "take_kept"]

_LOCK = threading.Lock()
_KEPT: list[WorkerProcess] = []
"""Oldest first."""
_ROOMS: list[int] = []
"""How many each run at work keeps."""


@contextmanager
def keeping_workers(most: int) -> Iterator[None]:
    """While the block runs, so many workers of this process are kept; none after the last block."""
    with _LOCK:
        _ROOMS.append(most)
    try:
        yield
    finally:
        with _LOCK:
            _ROOMS.remove(most)
        _end_surplus()


def take_kept(target: str, options: SandboxOptions) -> WorkerProcess | None:
    """A kept worker of that target and those options; None: there is none that lives."""
    with _LOCK:
        same = [worker for worker in _KEPT if _fits(worker, target, options)]
        for worker in same:
            _KEPT.remove(worker)
    found = None
    for worker in same:
        if found is None and not worker.has_ended():
            found = worker
        elif not keep(worker):
            worker.kill()
    return found


def keep(worker: WorkerProcess) -> bool:
    """Keep a worker without a job; False: it is not kept, and still the caller's to end."""
    with _LOCK:
        is_kept = bool(_ROOMS) and not worker.has_ended()
        if is_kept:
            _KEPT.append(worker)
    _end_surplus()
    return is_kept


def _fits(worker: WorkerProcess, target: str, options: SandboxOptions) -> bool:
    kind = (worker.owner, worker.target, worker.options)
    return kind == (os.getpid(), target, options)


def _end_surplus() -> None:
    with _LOCK:
        surplus = _KEPT[: max(0, len(_KEPT) - sum(_ROOMS))]
        del _KEPT[: len(surplus)]
    for worker in surplus:
        worker.kill()
