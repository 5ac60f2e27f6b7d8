"""Many small requests to a store: some of them at once where it is far away."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import TypeVar

from reelvec.storage.roots import Root

__all__ = ["at_once"]

_AT_ONCE = 32
"""Requests under way or answered and not taken yet, so that memory does not grow with them."""

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
        return
    rest = iter(items)
    with ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="reelvec-at-once") as threads:
        waiting = deque(threads.submit(work, item) for item in islice(rest, _AT_ONCE))
        try:
            while waiting:
                found = waiting.popleft().result()
                waiting.extend(threads.submit(work, item) for item in islice(rest, 1))
                yield found
        finally:
            for future in waiting:
                future.cancel()
