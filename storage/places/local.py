"""A store in a folder of this machine, or one it mounts."""

from __future__ import annotations

import errno
import os
import secrets
import shutil
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from reelvec.storage.errors import StoreError
from reelvec.storage.layout import SCRATCH
from reelvec.storage.places.failures import WRITE_FAILURES, explained
from reelvec.storage.places.paths import split_path

__all__ = ["LocalRoot"]

_BLOCK = 512
"""Bytes; what file systems count in, whatever their own blocks are."""
_NO_LINKS = (errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK)


class LocalRoot:
    """The verbs of `storage.roots.Root` on a folder.

    Publishing is write to a temporary file, fsync, hard link under the final name (which fails
    if that is taken: atomic and create-only), fsync of the folder. A crash at any point leaves
    either nothing or the whole file, and at worst a stray file under ``.scratch`` for gc.
    """

    def __init__(self, folder: str | Path) -> None:
        self._folder = Path(folder).expanduser().absolute()
        self.uri = str(self._folder)
        self.local_folder = self._folder

    def put_new(self, path: str, data: bytes) -> None:
        scratch = self.new_scratch()
        try:
            with explained("write", path=self._at(path), need=len(data)):
                _write_durably(scratch, data)
            self._publish(path, scratch)
        finally:
            _discard(scratch)

    def put_file(self, path: str, file: Path) -> None:
        need = file.stat().st_size
        scratch = file
        if file.parent != self._folder / SCRATCH:
            scratch = self.new_scratch(file.suffix)
            with explained("write", path=self._at(path), need=need):
                shutil.copyfile(file, scratch)
        try:
            with explained("write", path=self._at(path), need=need):
                _fsync(scratch)
            self._publish(path, scratch)
        finally:
            _discard(scratch)

    @contextmanager
    def new_file(self, path: str) -> Iterator[Path]:
        scratch = self.new_scratch(Path(path).suffix)
        try:
            with explained("write", path=self._at(path), only=WRITE_FAILURES):
                yield scratch
            self.put_file(path, scratch)
        finally:
            _discard(scratch)

    def new_scratch(self, suffix: str = "") -> Path:
        folder = self._folder / SCRATCH
        with explained("make the store at", path=self._folder):
            try:
                _make_folder(folder)
            except (FileExistsError, FileNotFoundError, NotADirectoryError) as error:
                raise StoreError(
                    f"cannot make the store at {self._folder}: {error.filename} cannot be made a "
                    f"folder ({error.strerror}); choose another place",
                    path=self.uri,
                ) from error
        return folder / f"{os.getpid()}-{secrets.token_hex(8)}{suffix}"

    def read(self, path: str) -> bytes:
        with explained("read", path=self._at(path)):
            return self._at(path).read_bytes()

    def exists(self, path: str) -> bool:
        with explained("read", path=self._at(path)):
            try:
                self._at(path).stat()
            except (FileNotFoundError, NotADirectoryError):
                return False
            return True

    def list(self, prefix: str) -> list[str]:
        folder = self._at(prefix) if prefix else self._folder
        with explained("list", path=folder):
            try:
                return sorted(entry.name for entry in folder.iterdir())
            except (FileNotFoundError, NotADirectoryError):
                return []

    def size(self, path: str) -> int:
        with explained("read", path=self._at(path)):
            return self._at(path).stat().st_size

    def age_seconds(self, path: str) -> float:
        with explained("read", path=self._at(path)):
            return max(0.0, time.time() - self._at(path).stat().st_mtime)

    def walk(self) -> Iterator[tuple[str, int, bool]]:
        seen: set[tuple[int, int]] = set()
        due = [self._folder]
        while due:
            path = due.pop()
            with explained("list", path=path):
                try:
                    facts = path.lstat()
                    is_folder = stat.S_ISDIR(facts.st_mode)
                    due += path.iterdir() if is_folder else ()
                except FileNotFoundError:
                    continue  # deleted since it was listed
            if (facts.st_dev, facts.st_ino) in seen:
                continue
            seen.add((facts.st_dev, facts.st_ino))
            taken = getattr(facts, "st_blocks", -(-facts.st_size // _BLOCK)) * _BLOCK
            place = path.relative_to(self._folder).as_posix()
            yield "" if path == self._folder else place, taken, not is_folder

    def delete(self, *paths: str) -> None:
        folders = set()
        for path in paths:
            target = self._at(path)
            with explained("delete", path=target):
                try:
                    target.unlink()
                except (FileNotFoundError, NotADirectoryError):
                    continue
            folders.add(target.parent)
        for folder in sorted(folders):
            _fsync(folder)

    def local_path(self, path: str, *, fresh: bool = False) -> Path:  # noqa: ARG002
        self.size(path)
        return self._at(path)

    def _publish(self, path: str, scratch: Path) -> None:
        target = self._at(path)
        with explained("write", path=target):
            _make_folder(target.parent)
            try:
                os.link(scratch, target)
            except OSError as error:
                if error.errno in _NO_LINKS:
                    raise StoreError(
                        f"the file system of {self._folder} has no hard links, which publish "
                        "parts atomically; put the store on one that has (ext4, xfs, btrfs, nfs)",
                        path=str(target),
                    ) from error
                raise
            _fsync(target.parent)

    def _at(self, path: str) -> Path:
        return self._folder.joinpath(*split_path(path))


def _write_durably(file: Path, data: bytes) -> None:
    with file.open("xb") as stream:
        stream.write(data)
        stream.flush()
        os.fsync(stream.fileno())


def _fsync(path: Path) -> None:
    """Flushes a file, or a folder's names, to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _make_folder(folder: Path) -> None:
    """Makes the folder and its parents; each new name is durable."""
    if folder.is_dir():
        return
    _make_folder(folder.parent)
    folder.mkdir(exist_ok=True)
    _fsync(folder.parent)


def _discard(scratch: Path) -> None:
    try:
        scratch.unlink()
    except OSError:
        return  # gone already, or the disk is failing: gc sweeps scratch files
