"""What is known of an object without reading it, and what is asked of the place it lies in."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple, Protocol, TypeAlias

import xxhash

from reelvec.storage.errors import RefusedError, StoreError
from reelvec.storage.file_marks import FileMark

__all__ = ["ChangedError", "ForbiddenError", "LateError", "Listed", "Objects", "Wanted", "mark_of"]

Wanted: TypeAlias = Callable[[str], bool]
"""Whether an object is wanted, by its address alone."""


class ChangedError(RefusedError):
    """An object is another one than was asked for."""


class ForbiddenError(RefusedError):
    """The server does not give an object to who asks."""


class LateError(RefusedError):
    """An object did not come in the time it was given."""


class Listed(NamedTuple):
    """An object: its address, and what stands for its bytes."""

    uri: str
    mark: FileMark
    fault: StoreError | None = None
    """Why a server that names it tells no more; there is no mark then."""


class Objects(Protocol):
    """The objects of a scheme; errors are StoreErrors that name the address."""

    tries: int
    """How often a piece is asked for by who uses these: once where the library does it itself."""

    def below(self, uri: str, *, wanted: Wanted) -> Iterator[Listed]:
        """The wanted objects below `uri`, some at once; nothing is asked about the others.

        Raises:
            MissingArtifactError: no such bucket.
            RefusedError: the server does not list them. What it does not say of one of them is the
                fault of that one.
        """

    def at(self, uri: str) -> Listed:
        """The object at `uri`.

        Raises:
            MissingArtifactError: there is none.
            RefusedError: the server refuses, or does not answer.
        """

    def piece(self, uri: str, *, start: int, stop: int, seconds: float) -> bytes:
        """Bytes [start, stop) of an object, or fewer.

        Raises:
            MissingArtifactError, RefusedError: as `at`.
            LateError: they did not come in `seconds`.
        """


def mark_of(*, size: int, etag: str = "", modified_ns: int = 0) -> FileMark:
    """What stands for the bytes of an object: its ETag by hash, where it has one that is strong."""
    etag = "" if etag.startswith("W/") else etag.strip('"')
    if not etag:
        return FileMark(bytes=size, mtime_ns=modified_ns)
    by = etag.encode(errors="surrogateescape")  # of bytes that are no text, as they came
    return FileMark(bytes=size, inode=xxhash.xxh3_64_intdigest(by) >> 1 or 1)
