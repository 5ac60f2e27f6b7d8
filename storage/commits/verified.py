"""Parts as local files whose bytes are what their receipts promised."""

from __future__ import annotations

from pathlib import Path

from reelvec.storage.errors import IntegrityError
from reelvec.storage.places.failures import explained
from reelvec.storage.roots import Root
from reelvec.storage.sealing import checksum_of_file

__all__ = ["VerifiedParts"]


class VerifiedParts:
    """Reads each part whole the first time it is asked for, and again once its file is another."""

    def __init__(self, root: Root) -> None:
        self._root = root
        self._verified: set[tuple[str, int, int]] = set()

    def path(self, part: str, *, size: int, checksum: str) -> Path:
        """A local file with the bytes of the part at `part` below the root.

        Raises:
            IntegrityError: they are not what the receipt promised.
            MissingArtifactError: the part is gone.
        """
        promised = (size, checksum)
        path, actual = self._checked(part, promised=promised)
        if actual != promised:  # perhaps only a local copy of it is damaged
            path, actual = self._checked(part, promised=promised, fresh=True)
        if actual != promised:
            raise IntegrityError(
                f"{path} is damaged: {actual[0]} bytes with checksum {actual[1]}, its receipt "
                f"promises {size} with {checksum}; `reelvec verify` names what must be redone",
                path=str(path),
            )
        return path

    def _checked(
        self, part: str, *, promised: tuple[int, str], fresh: bool = False
    ) -> tuple[Path, tuple[int, str]]:
        """The part's local file, and its size and checksum (remembered while it is the same)."""
        path = self._root.local_path(part, fresh=fresh)
        with explained("read", path=path):
            file = path.stat()
            version = (part, file.st_ino, file.st_mtime_ns)
            if version in self._verified:
                return path, promised
            actual = (file.st_size, checksum_of_file(path))
        if actual == promised:
            self._verified.add(version)
        return path, actual
