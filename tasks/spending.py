"""Seconds of a shard's work by what they went to: decode, store read, encoder, store write."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

__all__ = ["DATA", "DECODE", "ENCODER", "PROBE", "READ", "STEP", "WRITE", "Spending"]

PROBE, DECODE = "hash and probe", "decode"
READ, WRITE = "store read", "store write"
ENCODER, STEP, DATA = "encoder", "training step", "waiting for data"


class Spending:
    """A stopwatch a resource; of one thread."""

    def __init__(self) -> None:
        self._seconds: dict[str, float] = {}

    @property
    def seconds(self) -> Mapping[str, float]:
        """By resource, in the order of their first use."""
        return dict(self._seconds)

    @contextmanager
    def on(self, what: str) -> Iterator[None]:
        """The block's seconds are spent on this, but for those of blocks inside it."""
        started, before = time.monotonic(), sum(self._seconds.values())
        try:
            yield
        finally:
            inside = sum(self._seconds.values()) - before
            alone = time.monotonic() - started - inside
            self._seconds[what] = self._seconds.get(what, 0.0) + alone
