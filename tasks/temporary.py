"""A run's folder on this machine's disk: where processes meet, where Dask's workers spill.

It is made below a folder of our own in the temporary one: file systems of stores may have no
locks, which a meeting needs. A run that is killed cannot remove its folder, but its lock goes
with it: the next run that makes one removes it, or gc.
"""

from __future__ import annotations

import os
import secrets
import shutil
import stat
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from reelvec.storage.errors import ReelvecError

try:
    import fcntl
except ImportError:  # Windows, where a folder is taken for dead by its age alone
    fcntl = None  # type: ignore[assignment]

__all__ = ["remove_dead_folders", "temporary_folder"]

_LOCK = "lock"
_UNLOCKED_SECONDS = 60.0
"""A folder without a lock is being made, or its maker was killed in that moment."""


@contextmanager
def temporary_folder() -> Iterator[Path]:
    """An empty folder that is gone when the block ends; those of dead runs go before.

    Raises:
        ReelvecError: somebody else owns our folder in the temporary one.
    """
    remove_dead_folders()
    folder, held = _new_folder()
    inside = folder / "run"
    inside.mkdir()
    try:
        yield inside
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        if held is not None:
            os.close(held)


def _new_folder() -> tuple[Path, int | None]:
    """A folder and its lock."""
    while True:
        folder = _home() / secrets.token_hex(8)
        folder.mkdir()
        held = _locked(folder)
        if held is not None or fcntl is None:
            return folder, held  # else one that looks for dead ones was there between the two


def remove_dead_folders() -> None:
    """Remove the folders of runs that were killed.

    Raises:
        ReelvecError: somebody else owns our folder in the temporary one.
    """
    for folder in _home().iterdir():
        with suppress(OSError):  # another process removes it, too
            if _is_dead(folder):
                shutil.rmtree(folder, ignore_errors=True)


def _is_dead(folder: Path) -> bool:
    if fcntl is None or not (folder / _LOCK).exists():
        return time.time() - folder.stat().st_mtime > _UNLOCKED_SECONDS
    held = _locked(folder)
    if held is None:
        return False
    os.close(held)
    return True


def _locked(folder: Path) -> int | None:
    """The lock of a folder, held until it is closed; None: a living process holds it."""
    if fcntl is None:
        return None
    held = os.open(folder / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(held)
        return None
    return held


def _home() -> Path:
    """Ours alone: what lies in it decides which processes meet, and Dask's workers read it."""
    owner = os.getuid() if hasattr(os, "getuid") else "user"
    folder = Path(tempfile.gettempdir()) / f"reelvec-{owner}"
    with suppress(FileExistsError):
        folder.mkdir(mode=0o700)
    facts = folder.lstat()
    is_ours = stat.S_ISDIR(facts.st_mode) and facts.st_uid == owner and not facts.st_mode & 0o022
    if hasattr(os, "getuid") and not is_ours:
        raise ReelvecError(
            f"({folder}) is no folder that you alone may write in, so others could reach into"
            " the run; remove it, or set TMPDIR to a folder of your own"
        )
    return folder
