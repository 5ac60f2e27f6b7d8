"""Local copies of a remote store's files, so that readers can map them: bounded, least used first.

A copy is named after what it is a copy of (path and version), so a wrong one is never handed out;
that its bytes are right is for the reader to check, as it does for every part it opens.
"""

from __future__ import annotations

import os
import secrets
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

from reelvec.storage.errors import ReelvecError, StoreError
from reelvec.storage.layout import is_scratch
from reelvec.storage.places.failures import explained

__all__ = ["CacheOptions", "PartCache", "forget_scratch", "sweep_scratch"]

_TEMPORARY = ".part"
_DAY, _MINUTE = 86_400.0, 60.0
_LIMIT = 50 << 30


@dataclass(frozen=True, slots=True)
class CacheOptions:
    """Where copies are kept and how much they may take."""

    folder: Path
    limit_bytes: int = _LIMIT
    grace_seconds: float = 30.0
    """A copy handed out within this time stays, as somebody may be about to open it; what is
    fetched within it may pass the limit. Later a removal is harmless: open files stay readable."""

    @classmethod
    def from_environment(cls) -> CacheOptions:
        """$REELVEC_CACHE, else ~/.cache/reelvec; at most $REELVEC_CACHE_BYTES, else 50 GiB.

        Raises:
            ReelvecError: the limit is no positive whole number.
        """
        folder = os.environ.get("REELVEC_CACHE") or "~/.cache/reelvec"
        limit = os.environ.get("REELVEC_CACHE_BYTES") or str(_LIMIT)
        if not limit.isascii() or not limit.isdigit() or int(limit) == 0:
            raise ReelvecError(
                f"REELVEC_CACHE_BYTES ({limit}) must be a positive whole number of bytes, such as "
                f"{_LIMIT}"
            )
        return cls(Path(folder).expanduser().absolute(), int(limit))


class PartCache:
    """Files below `options.folder`/parts; processes of one machine may share it."""

    def __init__(self, options: CacheOptions) -> None:
        self._options = options
        self._folder = options.folder / "parts"

    def get(
        self, name: str, *, size: int, fetch: Callable[[Path], None], fresh: bool = False
    ) -> Path:
        """The local copy called `name`, fetched if it is not there.

        Args:
            name: a file name that stands for one version of one object.
            size: its bytes.
            fetch: writes them to the path it is given.
            fresh: fetch even where there is a copy (its bytes turned out to be wrong).

        Raises:
            StoreError: the cache cannot be written, or another number of bytes came.
        """
        path = self._folder / name
        if not fresh and _touch(path, size=size):
            return path
        temporary = self._folder / f"{secrets.token_hex(8)}{_TEMPORARY}"
        with explained("write", path=path, need=size):
            self._folder.mkdir(parents=True, exist_ok=True)
            self._make_room(size)
        try:
            fetch(temporary)
            with explained("write", path=path, need=size):
                arrived = temporary.stat().st_size
                if arrived != size:
                    raise StoreError(
                        f"{arrived} bytes came for {path.name}, {size} were announced; run again",
                        path=str(path),
                    )
                temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)
        return path

    def empty(self) -> None:
        """Removes every copy, but for those that are being fetched; open ones stay readable."""
        if self._folder.is_symlink() or not self._folder.is_dir():
            return
        for path in list(self._folder.iterdir()):
            with suppress(FileNotFoundError):  # another process was faster
                fetching = (
                    path.suffix == _TEMPORARY and time.time() - path.stat().st_mtime < _MINUTE
                )
                if path.is_file() and not path.is_symlink() and not fetching:
                    path.unlink()

    def _make_room(self, size: int) -> None:
        """Removes the copies used longest ago until `size` more bytes fit."""
        if self._folder.is_symlink():
            return  # what is behind a link may be somebody else's
        now = time.time()
        copies = []
        total = size
        for entry in os.scandir(self._folder):
            try:
                if not entry.is_file(follow_symlinks=False):
                    continue  # none of ours
                on_disk = entry.stat()
            except FileNotFoundError:
                continue  # another process was faster
            left = entry.name.endswith(_TEMPORARY) and now - on_disk.st_mtime > _DAY
            total += on_disk.st_size
            if left or not entry.name.endswith(_TEMPORARY):
                copies.append((0.0 if left else on_disk.st_atime, on_disk.st_size, entry.path))
        for used, bytes_, path in sorted(copies):
            if total <= self._options.limit_bytes or now - used < self._options.grace_seconds:
                break
            Path(path).unlink(missing_ok=True)
            total -= bytes_


def _touch(path: Path, *, size: int) -> bool:
    """Marks a copy as used now, without touching its mtime; False where there is none whole."""
    try:
        on_disk = path.stat()
        if on_disk.st_size != size:
            return False
        os.utime(path, ns=(time.time_ns(), on_disk.st_mtime_ns))
    except FileNotFoundError:
        return False
    return True


def sweep_scratch(folder: Path) -> None:
    """Removes what killed processes left half-written in a folder of ours, a day ago."""
    for entry in os.scandir(folder):
        with suppress(FileNotFoundError):  # another process was faster
            age = time.time() - entry.stat(follow_symlinks=False).st_mtime
            if age > _DAY and is_scratch(entry.name):
                Path(entry.path).unlink(missing_ok=True)


def forget_scratch(folder: Path) -> None:
    """Removes what dead processes of this machine left half-written in a folder of ours."""
    for path in list(folder.iterdir()):
        if is_scratch(path.name) and not psutil.pid_exists(int(path.name.partition("-")[0])):
            path.unlink(missing_ok=True)
