"""Who is writing in a store's folder, for gc to see: each process keeps a locked file there.

On one machine the lock is the proof: the kernel lets go of it when the process ends, however it
ends. Of a process elsewhere that shares the folder a lock may not be seen, so its file counts as
long as it is younger than a day; a writer touches it as it works.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import secrets
import socket
import time
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import Any

from reelvec.storage.places.contract import Writer

__all__ = ["Lease", "writers_in"]

_SILENT_SECONDS = 86_400.0
"""A writer on another machine that wrote nothing for so long is dead."""
_TOUCH_SECONDS = 60.0
_NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL)


class Lease:
    """This process' file in a folder, from now until `end`.

    Raises:
        OSError: it cannot be made.
    """

    def __init__(self, folder: Path) -> None:
        self.process = os.getpid()
        self._touched = time.monotonic()
        folder.mkdir(parents=True, exist_ok=True)
        self.path = folder / f"{_process_token(self.process)}-{secrets.token_hex(4)}.json"
        self._descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC)
        try:
            about = {
                "process": self.process,
                "host": socket.gethostname(),
                "boot": _boot(),
                "locked": _lock(self._descriptor) is not None,
                "began": os.fstat(self._descriptor).st_mtime,  # by the file system's own clock
            }
            os.write(self._descriptor, json.dumps(about).encode())
        except OSError:
            self.end()
            raise

    def touch(self) -> None:
        """Says that the process is still at work; the first call in a minute does."""
        if time.monotonic() - self._touched > _TOUCH_SECONDS:
            self._touched = time.monotonic()
            with suppress(OSError):  # gone with its folder, or the disk fails: the write will say
                os.utime(self._descriptor)

    def end(self) -> None:
        """Removes the file; in a forked process only lets go of it."""
        if os.getpid() == self.process:
            with suppress(OSError):
                self.path.unlink()
        os.close(self._descriptor)


def writers_in(folder: Path) -> list[Writer]:
    """Processes that write there, this one left out; files of dead ones are removed.

    Raises:
        OSError: the folder cannot be read.
    """
    mine = _process_token(os.getpid())
    try:
        names = sorted(entry.name for entry in folder.iterdir())
    except (FileNotFoundError, NotADirectoryError):
        return []
    found = [_writer(folder / name) for name in names if not name.startswith(mine)]
    return [writer for writer in found if writer is not None]


def _writer(path: Path) -> Writer | None:
    """The writer whose file this is, while it lives."""
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
    except FileNotFoundError:
        return None
    try:
        about = _about(descriptor)
        silent = max(0.0, time.time() - os.fstat(descriptor).st_mtime)
        free = _lock(descriptor)
        here = about.get("boot", "") == _boot() and about.get("locked", False)
        if free and (here or silent > _SILENT_SECONDS):
            path.unlink(missing_ok=True)
            return None
        if free is None and silent > _SILENT_SECONDS:
            return None  # a file system without locks
    finally:
        os.close(descriptor)
    who = f"process {about.get('process', '?')} on {about.get('host', 'an unknown machine')}"
    return Writer(who, seconds=max(0.0, time.time() - float(about.get("began", 0.0))), known=True)


def _about(descriptor: int) -> dict[str, Any]:
    """What the file says; nothing where its writer has just made it."""
    try:
        found = json.loads(os.pread(descriptor, 4096, 0))
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _lock(descriptor: int) -> bool | None:
    """Whether the lock was free and is now ours; None: this file system has none."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        if error.errno in _NO_LOCKS:
            return None
        raise
    return True


@lru_cache(maxsize=1)
def _process_token(process: int) -> str:  # noqa: ARG001
    """Names a process on any machine; a forked one gets its own."""
    return secrets.token_hex(8)


def _boot() -> str:
    """The run of this machine's kernel, whose locks all its processes see."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return socket.gethostname()
