"""Runs that have begun and not ended: what gc asks before it frees what dropped runs had.

A run says so before it looks at anything else, and takes it back when it ends, well or not. One
that was killed leaves its file behind; on the machine it ran on that is seen by its process, on
others by the age of the file.
"""

from __future__ import annotations

import dataclasses
import os
import secrets
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import psutil

from reelvec.storage import layout
from reelvec.storage.errors import IntegrityError, MissingArtifactError
from reelvec.storage.roots import Root
from reelvec.storage.sealing import seal, unseal
from reelvec.storage.store_format import stamp_format

__all__ = ["RunAtWork", "announced", "forget_stopped", "runs_at_work"]

_LONGEST_SECONDS = 7 * 86_400.0
"""A run on another machine whose file is older is taken for dead."""
_CLOCK_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class RunAtWork:
    """A run that has begun; `started` is ISO 8601, `born` when its process was made, Unix time."""

    name: str
    started: str
    host: str
    process: int
    born: float
    path: str = ""
    """Of its file, below the root."""
    stopped: bool = False
    """Its process is dead: it was killed before it ended."""


@contextmanager
def announced(root: Root, name: str) -> Iterator[None]:
    """The run of this name is at work while the block runs.

    Raises:
        StoreError: the store cannot be written.
    """
    stamp_format(root)
    forget_stopped(root, name=name)
    now = datetime.now(UTC)
    run = RunAtWork(
        name=name,
        started=now.isoformat(timespec="seconds"),
        host=_host(),
        process=os.getpid(),
        born=psutil.Process().create_time(),
    )
    body = dataclasses.asdict(run)
    del body["path"], body["stopped"]
    path = layout.at_work(now.strftime("%Y%m%dT%H%M%S%f"), secrets.token_hex(4))
    root.put_new(path, seal(body))
    try:
        yield
    finally:
        root.delete(path)


def runs_at_work(root: Root) -> list[RunAtWork]:
    """Runs that have begun and not ended, those that were killed among them, oldest first."""
    runs = []
    for file in root.list(layout.AT_WORK):
        path = f"{layout.AT_WORK}/{file}"
        try:
            run = RunAtWork(**unseal(root.read(path), path=path), path=path)
            runs.append(dataclasses.replace(run, stopped=_is_stopped(root, run)))
        except MissingArtifactError:
            continue  # it has ended meanwhile
        except IntegrityError:
            runs.append(_unreadable(root, path))
    return runs


def forget_stopped(root: Root, *, name: str | None = None) -> None:
    """Removes what killed runs (of that name) have left here."""
    for run in runs_at_work(root):
        if run.stopped and name in (None, run.name):
            root.delete(run.path)


def _is_stopped(root: Root, run: RunAtWork) -> bool:
    if run.host != _host():
        return root.age_seconds(run.path) > _LONGEST_SECONDS
    try:
        born = float(psutil.Process(run.process).create_time())
    except psutil.Error:
        return True
    return abs(born - run.born) > _CLOCK_SECONDS  # the number belongs to another process by now


def _host() -> str:
    """Where numbers of processes mean the same: a container may share its machine's name."""
    with suppress(OSError):
        return f"{socket.gethostname()} {Path('/proc/self/ns/pid').readlink()}"
    return socket.gethostname()


def _unreadable(root: Root, path: str) -> RunAtWork:
    """What a damaged file says: a run that nothing is known of, but how old it is."""
    old = root.exists(path) and root.age_seconds(path) > _LONGEST_SECONDS
    return RunAtWork("(damaged)", "", "", 0, 0.0, path=path, stopped=old)
