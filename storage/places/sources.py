"""Files where they are: objects below an address listed, told apart, and fetched into a cache.

Nothing here writes to where they are. What an object is taken by is its size and its ETag: where
both are as they were, its bytes are. A server without ETags is asked for the time of the last
change instead. Requests are repeated by the libraries that send them, and here where they do not.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import xxhash

from reelvec.configs.uris import is_uri
from reelvec.storage.errors import MissingArtifactError, RefusedError
from reelvec.storage.places.failures import explained
from reelvec.storage.places.part_cache import CacheOptions, HeldCopy, PartCache
from reelvec.storage.places.source_contract import ChangedError, LateError, Listed, Objects
from reelvec.storage.places.source_failures import asked_again
from reelvec.storage.places.source_kinds import objects_of

__all__ = ["PATIENCE", "forget_files", "hold_copy", "local_file"]

PIECE = 8 << 20
"""Bytes of one request, so that little is asked for again where a connection breaks."""
PATIENCE = 3600.0
"""Seconds for a file that no limits were given for: captions, weights."""


def local_file(name: str) -> Path:
    """The file called `name` on this machine: a path as it is, or a copy of what an address names.

    The copy is of the object as it is now, and stays as long as this process.

    Raises:
        StoreError: it cannot be fetched.
    """
    if not is_uri(name):
        return Path(name).expanduser()
    return _kept(os.getpid(), objects_of(name).at(name)).path


@lru_cache(maxsize=8)
def _kept(process: int, listed: Listed) -> HeldCopy:  # noqa: ARG001
    """A copy that this process holds to its end."""
    return hold_copy(listed, seconds=PATIENCE)


def forget_files() -> None:
    """Removes this machine's copies of what addresses name, but for those somebody reads."""
    _cache().empty()


def hold_copy(
    listed: Listed, *, seconds: float, progress: Callable[[], None] = lambda: None
) -> HeldCopy:
    """A copy of an object as it was listed, held until it is closed.

    Args:
        listed: the object.
        seconds: it may take.
        progress: called after each piece.

    Raises:
        MissingArtifactError: it is not there any more.
        ChangedError: another object is there.
        LateError: it did not come in time.
        RefusedError: the server refuses, or does not answer.
        StoreError: the cache cannot be written.
    """
    uri, mark = listed.uri, listed.mark
    version = f"{uri}\n{mark.bytes} {mark.inode} {mark.mtime_ns}"
    tail = uri.rpartition("/")[2][-80:].replace("\0", "")
    name = f"{xxhash.xxh3_128_hexdigest(version.encode())}-{tail}"

    def fetch(target: Path) -> None:
        _Fetch(listed, until=time.monotonic() + seconds, progress=progress).into(target)

    return _cache().hold(name, size=mark.bytes, fetch=fetch)


def _cache() -> PartCache:
    """No copy needs grace: who reads one holds it."""
    found = CacheOptions.from_environment()
    return PartCache(CacheOptions(found.folder, found.limit_bytes, 0.0), name="files")


class _ShortError(RefusedError):
    """Fewer bytes came than were asked for, or more."""


@dataclass(frozen=True)
class _Fetch:
    """One object on its way."""

    listed: Listed
    until: float
    progress: Callable[[], None]

    def into(self, target: Path) -> None:
        """Writes it piece by piece, and sees that it is still the same at the end."""
        uri, mark = self.listed.uri, self.listed.mark
        objects = objects_of(uri)
        with target.open("wb") as file:
            while (start := file.tell()) < mark.bytes:
                stop = min(start + PIECE, mark.bytes)
                data = self._piece(objects, start, stop)
                with explained("write", path=target, need=mark.bytes):
                    file.write(data)
                self.progress()
        if objects.at(uri).mark != mark:
            raise _changed(uri)

    def _piece(self, objects: Objects, start: int, stop: int) -> bytes:
        uri, mark = self.listed.uri, self.listed.mark

        def ask() -> bytes:
            data = objects.piece(uri, start=start, stop=stop, seconds=self._seconds(start))
            whole = start == 0 and len(data) == mark.bytes  # of a server that knows no ranges
            if whole or len(data) == stop - start:
                return data
            raise _ShortError(
                f"{uri}: its server gave {len(data):,} bytes of the {stop - start:,} that were"
                " asked for; run again",
                path=uri,
            )

        try:
            settled = (LateError, MissingArtifactError)
            return asked_again(ask, tries=objects.tries, settled=settled)
        except _ShortError:
            if objects.at(uri).mark != mark:
                raise _changed(uri) from None
            raise

    def _seconds(self, start: int) -> float:
        """Those that are left.

        Raises:
            LateError: none is.
        """
        uri, mark = self.listed.uri, self.listed.mark
        left = self.until - time.monotonic()
        if left <= 0:
            raise LateError(f"{uri}: {start:,} of its {mark.bytes:,} bytes came in time", path=uri)
        return left


def _changed(uri: str) -> ChangedError:
    return ChangedError(f"{uri}: another object is there than was listed; run again", path=uri)
