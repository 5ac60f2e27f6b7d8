"""A store in a folder of this machine, or one it mounts."""

from __future__ import annotations

import errno
import os
import secrets
import shutil
import stat
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from weakref import finalize

from reelvec.storage.errors import StoreError
from reelvec.storage.layout import SCRATCH, WRITERS
from reelvec.storage.places.contract import Writer
from reelvec.storage.places.failures import WRITE_FAILURES, explained
from reelvec.storage.places.paths import split_path
from reelvec.storage.places.writers import Lease, writers_in

__all__ = ["LocalRoot"]

_BLOCK = 512
"""Bytes; what file systems count in, whatever their own blocks are."""
_NO_LINKS = (errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK)


class LocalRoot:
    """The verbs of `storage.roots.Root` on a folder.

    Publishing is write to a temporary file, fsync, hard link under the final name (which fails
    if that is taken: atomic and create-only), fsync of the folder. A crash at any point leaves
    either nothing or the whole file, and at worst a stray file under ``.scratch`` for gc.

    A folder's own name is durable before the first file is put in it, so one that holds a file
    needs no look at the folders above. A file's name may be seen before it is durable: whoever
    builds on a file that another process made calls `sync` first.
    """

    def __init__(self, folder: str | Path) -> None:
        self._folder = Path(folder).expanduser().absolute()
        self.uri = str(self._folder)
        self.local_folder = self._folder
        self.copies_limit: int | None = None
        self._durable: set[Path] = set()  # folders whose names, and those above, outlast a crash
        self._lease: Lease | None = None
        self._named: set[Path] = set()  # files whose names do

    def __reduce__(self) -> tuple[object, ...]:
        """Another process has to say for itself that it writes, and to find out what is durable."""
        return type(self), (self._folder,)

    def put_new(self, path: str, data: bytes) -> None:
        scratch = self.new_scratch()
        try:
            with explained("write", path=self._at(path), need=len(data)):
                _write_durably(scratch, data)
            self._publish(path, scratch)
        finally:
            _discard(scratch)

    def put_file(self, path: str, file: Path) -> None:
        with explained("read", path=file):
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
        action = "write in" if self._folder.is_dir() else "make"
        with explained(f"{action} the store at", path=self._folder):
            try:
                if not folder.is_dir():
                    folder.mkdir(parents=True, exist_ok=True)
                self._begin_writing()
            except (FileExistsError, FileNotFoundError, NotADirectoryError) as error:
                raise StoreError(
                    f"cannot make the store at {self._folder}: {error.filename} cannot be made a "
                    f"folder ({error.strerror}); choose another place",
                    path=self.uri,
                ) from error
        return folder / f"{os.getpid()}-{secrets.token_hex(8)}{suffix}"

    def read(self, path: str) -> bytes:
        file = self._at(path)
        with explained("read", path=file):
            return file.read_bytes()

    def read_into(self, path: str, *, start: int, out: memoryview) -> int:
        file, got = self._at(path), 0
        with explained("read", path=file), file.open("rb", buffering=0) as stream:
            stream.seek(start)
            while came := stream.readinto(out[got:]):  # 0 at the end of either; at most 2 GiB
                got += came
        return got

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
        file = self._at(path)
        with explained("read", path=file):
            return file.stat().st_size

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

    def begin_writing(self) -> None:
        with suppress(OSError):  # where this cannot be written nothing can: the first write says so
            self._begin_writing()

    def writers(self) -> Sequence[Writer]:
        with explained("list", path=self._folder / WRITERS):
            return writers_in(self._folder / WRITERS)

    def link_on(self, path: str) -> str:
        place = self._folder
        for part in split_path(path):
            place /= part
            with explained("read", path=place):
                if place.is_symlink():
                    return str(place)
        return ""

    def delete(self, *paths: str) -> None:
        for path in paths:
            target = self._at(path)
            if link := self.link_on(path):
                raise StoreError(
                    f"cannot delete {target}: {link} is a symbolic link, which no store has, so "
                    "what it leads to may be somebody else's; put the file or folder itself "
                    "there, or remove the link, then run again",
                    path=str(target),
                )
            with explained("delete", path=target), suppress(FileNotFoundError, NotADirectoryError):
                target.unlink()
        files = set(map(self._at, paths))
        _sync_names(files)  # gone before, too: who deleted it may have been killed before this
        self._named -= files

    def sync(self, *paths: str) -> None:
        found = set(map(self._at, paths)) - self._named
        _sync_names(found)
        self._named |= found

    def forget_copies(self) -> None:
        """Nothing to do: files are read where they lie, and those in the making lie beside them."""

    def local_path(self, path: str, *, fresh: bool = False) -> Path:  # noqa: ARG002
        self.size(path)
        return self._at(path)

    def _publish(self, path: str, scratch: Path) -> None:
        target = self._at(path)
        with explained("write", path=target):
            self._make_durable(target.parent)
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
        self._named.add(target)

    def _make_durable(self, folder: Path) -> None:
        """Makes the folder where it is not there; its name, and those above, outlast a crash."""
        if folder in self._durable and folder.is_dir():
            return
        if not folder.parent.is_dir():
            self._durable.clear()  # it may have been there before, and was removed
        if not _holds_file(folder):
            folder.mkdir(parents=True, exist_ok=True)
            for above in folder.parents:
                with suppress(PermissionError):  # above the store: nobody made anything there
                    _fsync(above)
                if above in self._durable or above.is_mount():
                    break
                self._durable.add(above)
        self._durable.add(folder)

    def _begin_writing(self) -> None:
        lease = self._lease
        if lease is None or lease.process != os.getpid() or not lease.path.exists():
            self._lease = Lease(self._folder / WRITERS)
            finalize(self, self._lease.end)
        else:
            lease.touch()

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


def _sync_names(files: Iterable[Path]) -> None:
    for folder in sorted({file.parent for file in files}):
        with explained("sync", path=folder), suppress(FileNotFoundError, NotADirectoryError):
            _fsync(folder)


def _holds_file(folder: Path) -> bool:
    try:
        with os.scandir(folder) as entries:
            return any(entry.is_file(follow_symlinks=False) for entry in entries)
    except FileNotFoundError:
        return False


def _discard(scratch: Path) -> None:
    with suppress(OSError):  # gone already, or the disk is failing: gc sweeps scratch files
        scratch.unlink()
