"""Many small requests to a store: some of them at once where it is far away."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

from reelvec.storage.places.in_threads import in_threads
from reelvec.storage.roots import Root

__all__ = ["at_once"]

_AT_ONCE = 32

T = TypeVar("T")
R = TypeVar("R")


def at_once(root: Root, work: Callable[[T], R], items: Iterable[T]) -> Iterator[R]:
    """What `work` gives for each item, in their order; an error is raised in its place.

    Args:
        root: the store that `work` asks; one at a time where it is on this machine.
        work: called in threads.
        items: taken as they are needed.
    """
    if root.copies_limit is None:
        yield from map(work, items)
    else:
        yield from in_threads(work, items, most=_AT_ONCE)
