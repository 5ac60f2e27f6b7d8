"""What a file system says of a file without opening it: by this its bytes are taken for the same.

Size and modification time alone do not see a file that was written in place and given its old time
back (`touch -r`, `rsync -t`, `tar -x`): its inode or its change time does, which nobody can set.
"""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass, fields
from typing import Self

__all__ = ["MARK_FIELDS", "NO_FILE", "FileMark"]


_MOST = 2**63 - 1
NO_FILE = (0, 0, 0, 0)
"""The numbers of a mark where there is no regular file."""


@dataclass(frozen=True, slots=True)
class FileMark:
    """Size and times of a regular file; all 0 where there is none."""

    bytes: int = 0
    mtime_ns: int = 0
    inode: int = 0
    """0: not known, as in a row of an earlier version, or where the file system has none. Of an
    object, which has none: its ETag by hash."""
    ctime_ns: int = 0
    """When the file or what is known of it last changed, nanoseconds; 0: not known."""

    @classmethod
    def of(cls, on_disk: os.stat_result) -> Self:
        """The mark of what `stat` found."""
        return cls(*cls.numbers(on_disk))

    @staticmethod
    def numbers(on_disk: os.stat_result) -> tuple[int, int, int, int]:
        """The fields of `of`, in order: a million files need no million objects."""
        if not stat.S_ISREG(on_disk.st_mode):
            return NO_FILE
        inode = on_disk.st_ino & _MOST  # network file systems use all 64 bits, our column 63
        return on_disk.st_size, on_disk.st_mtime_ns, inode, on_disk.st_ctime_ns

    @classmethod
    def at(cls, path: str) -> Self:
        """The mark of the file at `path`, as it is now."""
        try:
            return cls.of(os.stat(path))  # noqa: PTH116 - asked of every file of a corpus
        except (OSError, ValueError):  # ValueError: a NUL in the name
            return cls()

    def agrees(self, other: FileMark) -> bool:
        """Whether they are alike in all that both know."""
        return (
            (self.bytes, self.mtime_ns) == (other.bytes, other.mtime_ns)
            and (self.inode == other.inode or not (self.inode and other.inode))
            and (self.ctime_ns == other.ctime_ns or not (self.ctime_ns and other.ctime_ns))
        )


MARK_FIELDS = tuple(field.name for field in fields(FileMark))
