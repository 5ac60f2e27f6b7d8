"""Several requests to a place at once."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import TypeVar

__all__ = ["in_threads"]

T = TypeVar("T")
R = TypeVar("R")


def in_threads(work: Callable[[T], R], items: Iterable[T], *, most: int) -> Iterator[R]:
    """What `work` gives for each item, in their order; an error is raised in its place.

    Args:
        work: called in threads.
        items: taken as they are needed.
        most: requests under way or answered and not taken yet, so that memory does not grow with
            them.
    """
    rest = iter(items)
    with ThreadPoolExecutor(most, thread_name_prefix="reelvec-at-once") as threads:
        waiting = deque(threads.submit(work, item) for item in islice(rest, most))
        try:
            while waiting:
                found = waiting.popleft().result()
                waiting.extend(threads.submit(work, item) for item in islice(rest, 1))
                yield found
        finally:
            for future in waiting:
                future.cancel()
