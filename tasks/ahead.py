"""Work that is done in a thread while its last result is used."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import TypeVar

__all__ = ["ahead"]

T = TypeVar("T")


def ahead(pieces: Generator[T, None, None], *, name: str) -> Iterator[T]:
    """The same pieces in their order, each made while the one before it is used: two are held.

    What `pieces` raises is raised here, behind the pieces before it. Leaving early ends `pieces`.

    Args:
        pieces: runs in one thread from its first piece to its last.
        name: of the thread.
    """
    done = object()

    def following() -> T | object:
        return next(pieces, done)

    with closing(pieces), ThreadPoolExecutor(1, thread_name_prefix=f"reelvec-{name}") as maker:
        coming = maker.submit(following)
        while (piece := coming.result()) is not done:
            coming = maker.submit(following)
            yield piece  # type: ignore[misc]
