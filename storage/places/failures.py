"""Errors of the file system as StoreErrors, with path, need and remedy."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from reelvec.storage.errors import MissingArtifactError, StoreError

__all__ = ["WRITE_FAILURES", "explained"]

_DISK_FULL = (errno.ENOSPC, errno.EDQUOT)
WRITE_FAILURES = (*_DISK_FULL, errno.EROFS)  # only a store that cannot be written raises these


@contextmanager
def explained(
    action: str, *, path: Path, need: int = 0, only: tuple[int, ...] = ()
) -> Iterator[None]:
    """Turns the system's errors into StoreErrors that name path, need and remedy.

    FileExistsError passes (it is an answer, not a failure); with `only`, so does every other
    error number, for blocks whose errors may come from elsewhere.
    """
    try:
        yield
    except (FileExistsError, StoreError):
        raise
    except OSError as error:
        if only and error.errno not in only:
            raise
        kind = MissingArtifactError if error.errno == errno.ENOENT else StoreError
        message = f"cannot {action} {path}: {_remedy(error, path=path, need=need)}"
        raise kind(message, path=str(path)) from error


def _remedy(error: OSError, *, path: Path, need: int) -> str:
    words = error.strerror or str(error)
    if error.errno in _DISK_FULL:
        wanted = f"{need} bytes are needed, " if need else ""
        return (
            f"{words}: {wanted}{_free_bytes(path)} are free; free space (`reelvec gc`) or move "
            "the store, then run again: what is committed is intact"
        )
    if error.errno == errno.EROFS:
        return f"{words}: mount it writable or choose another store"
    if error.errno in (errno.EACCES, errno.EPERM):
        return f"{words}: user {os.getuid()} needs the right to do so (chown or chmod the store)"
    if error.errno == errno.ENOENT:
        return "it is not there; was it removed, or is this another store?"
    return f"{words}; the store is intact, run again when the cause is gone"


def _free_bytes(path: Path) -> int:
    folder = next((p for p in (path, *path.parents) if p.exists()), Path("/"))
    return shutil.disk_usage(folder).free
