"""A disk that forgets: what was not synced may be gone when the power comes back.

Calls of this process below one folder are watched. A file's bytes are what they were at its last
fsync; a folder's names are what they were at the folder's last fsync, and of what was linked or
unlinked since, anything may have come through.
"""

import os
import stat
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from unittest import mock

WATCHED = ("fsync", "link", "unlink", "mkdir")


class Killed(BaseException):
    """The process is gone; what it did is seen by the next one, synced or not."""


class Disk:
    """One folder on such a disk, and the processes that come and go."""

    def __init__(self, folder):
        self.folder = folder
        self.operations = []
        self._left = None
        self._files = {}  # inode -> bytes at its last fsync
        self._names = {}  # inode of a folder -> {name: (inode, whether it is a folder)}
        self._held = folder.parent / f"{folder.name}-held"  # so that no inode is used again
        self._held.mkdir()
        folder.mkdir()

    @contextmanager
    def process(self, *, dies_after=None):
        """Runs the block as one process; it dies after so many operations, if it has as many.

        `operations` names those it came to.
        """
        self.operations, self._left = [], dies_after
        with ExitStack() as stack:
            for name in WATCHED:
                stack.enter_context(mock.patch.object(os, name, self._watched(name)))
            with suppress(Killed):
                yield
        self._left = None

    def after_power_loss(self, target, *, rng=None):
        """A copy of the folder as it is found afterwards; `rng` throws a coin for what is unsynced.

        Without it nothing unsynced comes through.
        """
        target.mkdir()
        self._restore(self.folder, target, rng)
        return target

    def _watched(self, name):
        plain = getattr(os, name)

        def call(*arguments, **options):
            path = Path(_path_of(name, arguments))
            if not path.is_relative_to(self.folder):
                return plain(*arguments, **options)
            self._tick(name)
            if name != "fsync":
                return plain(*arguments, **options)
            return self._sync(path)

        return call

    def _tick(self, name):
        if self._left == 0:
            raise Killed
        self.operations.append(name)
        if self._left is not None:
            self._left -= 1

    def _sync(self, path):
        on_disk = path.stat()
        if stat.S_ISDIR(on_disk.st_mode):
            self._names[on_disk.st_ino] = _names(path)
            return
        self._files[on_disk.st_ino] = path.read_bytes()
        held = self._held / str(on_disk.st_ino)
        if not held.exists():
            held.hardlink_to(path)

    def _restore(self, folder, target, rng):
        now = _names(folder) if folder.is_dir() else {}
        synced = self._names.get(folder.stat().st_ino, {}) if folder.is_dir() else {}
        for name in sorted(now.keys() | synced.keys()):
            came_through = rng is not None and rng.random() < 0.5
            found = (now if came_through else synced).get(name)
            if found is None:
                continue
            inode, is_folder = found
            if is_folder:
                (target / name).mkdir()
                self._restore(folder / name, target / name, rng)
            else:
                (target / name).write_bytes(self._files.get(inode, b""))


def _path_of(name, arguments):
    if name == "fsync":
        return os.readlink(f"/proc/self/fd/{arguments[0]}")
    return arguments[1 if name == "link" else 0]


def _names(folder):
    with os.scandir(folder) as entries:
        return {entry.name: (entry.inode(), entry.is_dir()) for entry in entries}
