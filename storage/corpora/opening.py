"""Opens annotation files: regular ones, unpacked where they are compressed, never without end."""

from __future__ import annotations

import bz2
import gzip
import io
import os
import stat
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any, BinaryIO, cast

import pyarrow as pa

from reelvec.storage.errors import CorpusError
from reelvec.storage.lookalikes import HEAD_BYTES, LookalikeKind, lookalike_by_head

__all__ = ["open_annotation", "unpacked_limit"]

UNPACKED_BYTES = 256 * 2**20
UNPACKED_RATIO = 100
"""A file unpacks to `UNPACKED_BYTES`, or to so many times its own size where that is more."""

_KINDS = {
    stat.S_ISDIR: "a folder",
    stat.S_ISFIFO: "a pipe",
    stat.S_ISSOCK: "a socket",
    stat.S_ISCHR: "a device",
    stat.S_ISBLK: "a device",
}
_REFUSED = (LookalikeKind.ARCHIVE, LookalikeKind.PAGE, LookalikeKind.POINTER)
_ZIP = b"PK\x03\x04"


def _zstandard(file: BinaryIO) -> IO[bytes]:
    return cast("IO[bytes]", pa.CompressedInputStream(pa.PythonFile(file, mode="r"), "zstd"))


_UNPACKERS: dict[bytes, Callable[[BinaryIO], IO[bytes]]] = {
    b"\x1f\x8b": lambda file: cast("IO[bytes]", gzip.GzipFile(fileobj=file)),
    b"BZh": lambda file: cast("IO[bytes]", bz2.BZ2File(file)),
    b"\x28\xb5\x2f\xfd": _zstandard,
}
"""By the first bytes, not by the name: a name may lie."""


def unpacked_limit(size: int) -> int:
    """Bytes that a file of `size` bytes may unpack to."""
    return max(UNPACKED_BYTES, UNPACKED_RATIO * size)


def open_annotation(path: Path) -> io.BufferedReader:
    """The bytes of a regular file, unpacked where they are gzip, bzip2 or Zstandard.

    Opening never waits: a pipe that nobody writes to is refused like a device or a folder.

    Raises:
        CorpusError: missing, unreadable, no regular file, of a kind that is never read here; and
            while reading, damaged or larger than a file of its size may unpack to.
    """
    file = _open_regular(path)
    try:
        first = file.peek(HEAD_BYTES)[:HEAD_BYTES]
    except OSError as error:
        file.close()
        raise _refused(path, f"cannot be read ({error.strerror}); copy it again") from error
    for magic, unpacker in _UNPACKERS.items():
        if first.startswith(magic):
            limit = unpacked_limit(os.fstat(file.fileno()).st_size)
            return io.BufferedReader(_Unpacked(path, file, unpacker(file), limit), 2**16)
    held = lookalike_by_head(first)
    if held and held.kind in _REFUSED:
        file.close()
        excel = "an Excel workbook or a ZIP archive; save it as CSV, or unpack it"
        raise _refused(path, f"is {excel if first.startswith(_ZIP) else held.words}")
    return file


def _open_regular(path: Path) -> io.BufferedReader:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        raise _refused(path, "no such file; put it there or correct the path") from None
    except (OSError, ValueError) as error:  # ValueError: a zero byte in the name
        words = getattr(error, "strerror", None) or str(error)
        raise _refused(path, f"cannot be read ({words}); make it a readable file") from error
    mode = os.fstat(descriptor).st_mode
    if not stat.S_ISREG(mode):
        os.close(descriptor)
        kind = next((words for is_kind, words in _KINDS.items() if is_kind(mode)), "no file")
        raise _refused(path, f"is {kind}; name a regular file")
    return os.fdopen(descriptor, "rb")


def _refused(path: Path, message: str) -> CorpusError:
    return CorpusError(f"{path}: {message}", path=str(path))


class _Unpacked(io.RawIOBase):
    """What an unpacker gives, counted; its complaints in our words."""

    def __init__(self, path: Path, packed: BinaryIO, unpacked: IO[bytes], limit: int) -> None:
        self._path = path
        self._packed = packed
        self._unpacked = unpacked
        self._limit = limit
        self._count = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        try:
            data = self._unpacked.read(len(buffer))
        except (OSError, EOFError, zlib.error, pa.ArrowException, ValueError) as error:
            raise _refused(
                self._path, f"cannot be unpacked ({error}); it is damaged or cut: get it again"
            ) from error
        self._count += len(data)
        if self._count > self._limit:
            raise _refused(
                self._path,
                f"unpacks to more than {self._limit:,} bytes, {UNPACKED_RATIO} times its size;"
                " unpack it yourself if it is meant to",
            )
        buffer[: len(data)] = data
        return len(data)

    def close(self) -> None:
        if not self.closed:
            self._unpacked.close()
            self._packed.close()
        super().close()
