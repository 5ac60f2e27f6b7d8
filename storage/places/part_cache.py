"""Local copies of remote files, so that readers can map them: bounded, least used first.

A copy is named after what it is a copy of (path and version), so a wrong one is never handed out;
that its bytes are right is for the reader to check, as it does for every part it opens. It appears
under its name whole. Who fetches, and who holds a copy, has it locked, and the kernel lets go of a
lock when a process ends, however it ends: so what nobody has locked may be removed.
"""

from __future__ import annotations

import fcntl
import os
import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

from reelvec.storage.errors import ReelvecError, StoreError
from reelvec.storage.layout import is_scratch
from reelvec.storage.places.failures import explained

__all__ = ["CacheOptions", "HeldCopy", "PartCache", "forget_scratch", "sweep_scratch"]

_TEMPORARY = ".part"
_DAY = 86_400.0
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


class HeldCopy:
    """A copy that nobody removes before `close`, or the end of the process.

    Raises:
        FileNotFoundError: it was removed in the meantime.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
            if os.fstat(self._descriptor).st_nlink == 0:
                raise FileNotFoundError(path)
        except BlockingIOError:  # who has it is about to remove it
            self.close()
            raise FileNotFoundError(path) from None
        except FileNotFoundError:
            self.close()
            raise

    def close(self) -> None:
        """Lets go of it; twice does nothing."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


class PartCache:
    """Files of a folder below `options.folder`; processes of one machine may share it."""

    def __init__(self, options: CacheOptions, *, name: str = "parts") -> None:
        self._options = options
        self._folder = options.folder / name
        self._turn = options.folder / f"{name}.turn"

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
        with self._temporary(path, size=size) as temporary:
            fetch(temporary)
            with explained("write", path=path, need=size):
                arrived = temporary.stat().st_size
                if arrived != size:
                    raise StoreError(
                        f"{arrived} bytes came for {path.name}, {size} were announced; run again",
                        path=str(path),
                    )
                temporary.replace(path)
        return path

    def hold(self, name: str, *, size: int, fetch: Callable[[Path], None]) -> HeldCopy:
        """What `get` gives, kept until it is closed, whoever makes room.

        Raises:
            StoreError: as `get`.
        """
        while True:
            path = self.get(name, size=size, fetch=fetch)
            with suppress(FileNotFoundError):  # removed in between
                return HeldCopy(path)

    def empty(self) -> None:
        """Removes every copy that nobody fetches or holds; open ones stay readable."""
        if self._folder.is_symlink() or not self._folder.is_dir():
            return
        for path in list(self._folder.iterdir()):
            if path.is_file() and not path.is_symlink():
                _removed(path)

    @contextmanager
    def _temporary(self, path: Path, *, size: int) -> Iterator[Path]:
        """A locked file of no bytes, after room was made for what it will have."""
        temporary = self._folder / f"{secrets.token_hex(8)}-{size}{_TEMPORARY}"
        with explained("write", path=path, need=size):
            self._folder.mkdir(parents=True, exist_ok=True)
            turn = os.open(self._turn, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC)
            try:  # one at a time: two would both take the same room
                fcntl.flock(turn, fcntl.LOCK_EX)
                self._make_room(size)
                flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
                descriptor = os.open(temporary, flags, 0o644)
                fcntl.flock(descriptor, fcntl.LOCK_EX)
            finally:
                os.close(turn)
        try:
            yield temporary
        finally:
            temporary.unlink(missing_ok=True)
            os.close(descriptor)

    def _make_room(self, size: int) -> None:
        """Removes what killed fetches left, and copies used longest ago until `size` bytes fit."""
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
            if not entry.name.endswith(_TEMPORARY):
                copies.append((on_disk.st_atime, on_disk.st_size, entry.path))
                total += on_disk.st_size
            elif not _removed(Path(entry.path)):
                total += max(on_disk.st_size, _announced(entry.name))
        for used, bytes_, path in sorted(copies):
            if total <= self._options.limit_bytes or now - used < self._options.grace_seconds:
                break
            if _removed(Path(path)):
                total -= bytes_


def _announced(name: str) -> int:
    """Bytes that a file in the making will have."""
    count = name.removesuffix(_TEMPORARY).partition("-")[2]
    return int(count) if count.isdigit() else 0


def _removed(path: Path) -> bool:
    """Removes a file that nobody has locked; whether it is gone."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except FileNotFoundError:
        return True
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        path.unlink(missing_ok=True)
    except BlockingIOError:
        return False
    finally:
        os.close(descriptor)
    return True


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
