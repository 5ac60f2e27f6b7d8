"""Copies of videos that lie elsewhere, fetched a few ahead of who decodes them, and held meanwhile.

Only this process speaks to servers: what decodes is given the path of a copy, and may open
nothing else.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import chain, islice
from threading import Event
from typing import Any, Generic, Protocol, TypeVar

from reelvec.configs.decoding import JobLimits
from reelvec.configs.uris import is_uri
from reelvec.storage.errors import AddressError, StoreError
from reelvec.storage.file_marks import FileMark
from reelvec.storage.places.part_cache import HeldCopy
from reelvec.storage.places.source_contract import LateError, Listed
from reelvec.storage.places.source_failures import reason_of
from reelvec.storage.places.sources import hold_copy
from reelvec.storage.reasons import Status

__all__ = ["Copied", "with_copies"]

_AHEAD = 4
"""Files fetched at once, and waiting."""


class _Named(Protocol):
    """A video, or a job that is about one."""

    @property
    def path(self) -> str: ...
    @property
    def bytes(self) -> int: ...
    @property
    def mtime_ns(self) -> int: ...
    @property
    def inode(self) -> int: ...


N = TypeVar("N", bound=_Named)


@dataclass(frozen=True)
class Copied(Generic[N]):
    """A video with the file to read, or the outcome of one that could not be fetched."""

    of: N
    path: str
    """Of this machine."""
    refusal: dict[str, Any] | None = None
    """status, reason and message."""
    held: HeldCopy | None = None

    def words(self, text: str) -> str:
        """The text with the video's own address for the path of its copy."""
        return text.replace(self.path, self.of.path) if self.held else text

    def close(self) -> None:
        """Lets go of the copy."""
        if self.held is not None:
            self.held.close()


def with_copies(videos: Iterable[N], *, limits: JobLimits) -> Generator[Copied[N]]:
    """Each video with a file to read, in their order; close each, and the iterator.

    Args:
        videos: read as they are needed, a few ahead where they lie elsewhere.
        limits: seconds that a file may take to come are those it may take to be read.

    Raises:
        StoreError: copies cannot be kept on this machine.
    """
    source = iter(videos)
    for video in source:
        if is_uri(video.path):
            yield from _fetched(chain([video], source), limits=limits)
        else:
            yield Copied(video, video.path)


def _fetched(videos: Iterable[N], *, limits: JobLimits) -> Generator[Copied[N]]:
    source = iter(videos)
    due: deque[Future[Copied[N]]] = deque()
    left = Event()  # whoever wanted them is gone
    with ThreadPoolExecutor(_AHEAD) as threads:
        try:
            while True:
                for video in islice(source, _AHEAD - len(due)):
                    due.append(threads.submit(_copied, video, limits, left))
                if not due:
                    return
                yield due.popleft().result()
        finally:
            left.set()
            for one in due:
                if not one.cancel() and one.exception() is None:
                    one.result().close()


def _copied(video: N, limits: JobLimits, left: Event) -> Copied[N]:
    if not is_uri(video.path):
        return Copied(video, video.path)

    def go_on() -> None:
        if left.is_set():
            raise LateError(f"{video.path}: nobody waits for it any more", path=video.path)

    seconds = limits.deadline_seconds + limits.deadline_seconds_per_gib * video.bytes / 2**30
    listed = Listed(video.path, FileMark(video.bytes, video.mtime_ns, video.inode))
    try:
        held = hold_copy(listed, seconds=seconds, progress=go_on)
    except StoreError as error:
        if isinstance(error, AddressError) or error.path != video.path:
            raise  # of this machine, not of the video
        refusal = {
            "status": str(Status.QUARANTINED),
            "reason": str(reason_of(error)),
            "message": str(error),
        }
        return Copied(video, video.path, refusal)
    return Copied(video, str(held.path), held=held)
