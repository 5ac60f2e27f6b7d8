"""What the processes that decode import: torch only where there is much to resize.

Its import takes seconds; without it the same bits take some three times as long
(storage.video.resampling), which a thousand frames are worth.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable

from reelvec.storage.sandbox.zygote import zygote_of_this_process

__all__ = ["PRELOAD", "Resized", "begin_imports"]

PRELOAD = ("av", "numpy", "reelvec.tasks.decoding.worker")
"""What workers import, once for all of them."""

_FEW_PIXELS = 2e10
"""Of all frames of the files of a call: more may mean that many are kept."""
_FEW_RESIZED = 600e6
"""Pixels of the frames that were kept so far: they cost as much more as an import of torch."""


class Resized:
    """Pixels of the frames that were made small, in any threads."""

    def __init__(self) -> None:
        self._pixels = 0
        self._lock = threading.Lock()

    def add(self, pixels: int) -> None:
        """So many more."""
        with self._lock:
            self._pixels += pixels

    def also(self, pixels: Iterable[int]) -> tuple[str, ...]:
        """What workers import beside: `pixels` are of all frames of each clip's file."""
        few = self._pixels < _FEW_RESIZED and sum(pixels) < _FEW_PIXELS
        return () if few else ("torch",)


def begin_imports() -> None:
    """Let another process import what workers need while this one imports what it needs itself.

    Raises:
        OSError: no process can be started.
    """
    zygote_of_this_process(PRELOAD)
