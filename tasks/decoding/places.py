"""Places for those who decode: as many as a run has slots, and one more shard is at work than that.

A shard leaves its place when its last clip is there; it writes and commits while the next decodes.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from reelvec.storage.sandbox.kept import keeping_workers

__all__ = ["DecoderPlace", "decoder_place", "decoder_places"]

T = TypeVar("T")

_OPEN: list[threading.Semaphore] = []
"""Of the runs that are at work in this process; the last counts."""


class DecoderPlace:
    """A place that is held until it is left."""

    def __init__(self, places: threading.Semaphore | None) -> None:
        self._places = places
        if places is not None:
            places.acquire()

    def leave(self) -> None:
        """Let another decode; left already, nothing."""
        places, self._places = self._places, None
        if places is not None:
            places.release()

    def until_last(self, results: Iterable[T], *, count: int) -> Iterator[T]:
        """The results; the place is left as the last of `count` has come."""
        for number, result in enumerate(results, start=1):
            if number == count:
                self.leave()
            yield result


@contextmanager
def decoder_places(count: int) -> Iterator[None]:
    """While the block runs, this process decodes `count` shards at once, and keeps their workers.

    One more worker than that: who left its place has its own still while it writes its last clip.
    """
    places = threading.Semaphore(count)
    with keeping_workers(count + 1):
        _OPEN.append(places)
        try:
            yield
        finally:
            _OPEN.remove(places)


@contextmanager
def decoder_place() -> Iterator[DecoderPlace]:
    """Wait for a place; where nobody has opened any, as on a worker of a cluster, there is one."""
    place = DecoderPlace(_OPEN[-1] if _OPEN else None)
    try:
        yield place
    finally:
        place.leave()
