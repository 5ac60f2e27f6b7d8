"""A video file as bytes: whether it can be read, and the hash of its content."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from pathlib import Path

import xxhash

from reelvec.storage.errors import VideoError
from reelvec.storage.reasons import Reason

__all__ = ["check_file", "hash_file", "no_progress", "zeros_at_end"]

CHUNK_BYTES = 2**20
END_BYTES = 4096


def no_progress() -> None:
    """The default of every `progress` argument: does nothing."""


def check_file(path: str | Path) -> None:
    """Refuse what is not a readable file with a byte in it.

    Raises:
        VideoError: missing, permission, empty, or unreadable (not a regular file).
    """

    def refuse(reason: Reason, words: str) -> VideoError:
        return VideoError(f"{path}: {words}", path=str(path), reason=reason)

    if "\0" in str(path):
        raise refuse(Reason.MISSING, "a path with a NUL byte names no file")
    try:
        on_disk = Path(path).stat()
        if not stat.S_ISREG(on_disk.st_mode):
            raise refuse(Reason.UNREADABLE, "not a regular file")
        with Path(path).open("rb"):
            pass
    except PermissionError as error:
        raise refuse(Reason.PERMISSION, "may not be read; grant read permission") from error
    except FileNotFoundError as error:
        raise refuse(Reason.MISSING, "no such file") from error
    except OSError as error:  # a name too long, a loop of links, an I/O error
        raise refuse(Reason.MISSING, f"cannot be reached ({error.strerror})") from error
    if on_disk.st_size == 0:
        raise refuse(Reason.EMPTY, "zero bytes; fetch the file again")


def hash_file(path: str | Path, *, progress: Callable[[], None] = no_progress) -> str:
    """xxh3-128 of the bytes of `path`, hex; `progress` is called once a mebibyte.

    Raises:
        OSError: the file cannot be read.
    """
    digest = xxhash.xxh3_128()
    with Path(path).open("rb") as file:
        while chunk := file.read(CHUNK_BYTES):
            digest.update(chunk)
            progress()
    return digest.hexdigest()


def zeros_at_end(path: str | Path) -> bool:
    """Whether the last block is zeros: of a file that was never written to its end."""
    with Path(path).open("rb") as file:
        length = os.fstat(file.fileno()).st_size
        file.seek(max(0, length - END_BYTES))
        return length > END_BYTES and not file.read(END_BYTES).strip(b"\0")
