"""Errors of the file system as StoreErrors, with path, need and remedy."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from reelvec.storage.errors import MissingArtifactError, RefusedError, StoreError

__all__ = ["WRITE_FAILURES", "explained", "words_for"]

_DISK_FULL = (errno.ENOSPC, errno.EDQUOT)
_OPEN_FILES = (errno.EMFILE, errno.ENFILE)
_RIGHTS = (errno.EACCES, errno.EPERM)
_GONE = (errno.ESTALE, errno.ENODEV, errno.ENXIO)
_OTHERS = (errno.EROFS, errno.EIO, errno.EFBIG, errno.EXDEV, errno.ENAMETOOLONG, errno.ENOMEM)
WRITE_FAILURES = (*_DISK_FULL, *_OPEN_FILES, *_RIGHTS, *_GONE, *_OTHERS)
"""What the place refuses or fails at, whatever the program does."""


@contextmanager
def explained(
    action: str, *, path: Path, need: int = 0, only: tuple[int, ...] = ()
) -> Iterator[None]:
    """Turns the system's errors into StoreErrors that name path, need and remedy.

    FileExistsError passes (it is an answer, not a failure). With `only`, for blocks whose errors
    may come from elsewhere, so does every other error number, and what names another file.

    Raises:
        MissingArtifactError: it is not there.
        StoreError: its bytes cannot be read.
        RefusedError: the system refuses; nothing is known of the bytes.
    """
    try:
        yield
    except (FileExistsError, StoreError):
        raise
    except OSError as error:
        elsewhere = error.filename is not None and os.fspath(error.filename) != str(path)
        if only and (error.errno not in only or elsewhere):
            raise
        kinds = {errno.ENOENT: MissingArtifactError, errno.EIO: StoreError}
        kind = kinds.get(error.errno or 0, RefusedError)
        message = f"cannot {action} {path}: {_remedy(error, path=path, need=need)}"
        raise kind(message, path=str(path)) from error


def words_for(error: OSError) -> str:
    """An error of the system that nobody explained, with its remedy; "" where it is no such."""
    if error.errno not in WRITE_FAILURES:
        return ""
    path = Path(os.fsdecode(error.filename)) if error.filename else Path()
    what = f"cannot use {path}" if error.filename else "the system refused"
    return f"{what}: {_remedy(error, path=path, need=0)}"


def _remedy(error: OSError, *, path: Path, need: int) -> str:
    if error.errno == errno.ENOENT:
        return "it is not there; was it removed, or is this another store?"
    words = os.strerror(error.errno) if error.errno else str(error)
    wanted = f"{need} bytes are needed, " if need else ""
    remedies = {
        _DISK_FULL: f"{wanted}{_free_bytes(path)} are free; free space (`reelvec gc`) or move the "
        "store, then run again: what is committed is intact",
        _RIGHTS: f"user {os.getuid()} needs the right to do so (chown or chmod it)",
        _OPEN_FILES: "raise the limit (`ulimit -n 65536`), then run again",
        _GONE: "its file system is gone or was exchanged; mount it again, then run again",
        (errno.EROFS,): "mount it writable or choose another store",
        (errno.EIO,): "the disk, or the network it is on, failed: see the system's log (`dmesg`). "
        "Then run again; `reelvec verify` reads all that is stored",
        (errno.EFBIG,): "no file may be so large here (`ulimit -f`, or the file system's limit)",
        (errno.EXDEV,): "a store lies on one file system: no folder in it may be a mount or a link",
    }
    for numbers, remedy in remedies.items():
        if error.errno in numbers:
            return f"{words}: {remedy}"
    return f"{words}; the store is intact, run again when the cause is gone"


def _free_bytes(path: Path) -> str:
    try:
        folder = next((p for p in (path, *path.parents) if p.exists()), Path("/"))
        return str(shutil.disk_usage(folder).free)
    except OSError:  # that fails as well
        return "an unknown number of bytes"
