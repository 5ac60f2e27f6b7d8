"""A training process says every other second that it lives, and how far it is; who hangs is found.

A process that waits for others in a collective does not hang: somebody else does. One that neither
waits nor gets on does, and so does one that says nothing any more (stopped, or in a call that holds
the interpreter). Where all wait, it is who has done least.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from typing import Any

__all__ = ["Beat", "Heartbeat", "Watch"]

_EVERY_SECONDS = 2.0
_QUIET_SECONDS = 10.0
_BEGINNING_SECONDS = 120.0
_BUSY = 0.2
"""A share of a core; a process that computes on it is at work, however long a step takes."""
_LONGEST_STEP = 1.0
"""Seconds counted between two looks at most: the one who looks may have been stopped as well."""


@dataclass(frozen=True)
class Beat:
    """What a process says of itself.

    Attributes:
        rank: whose it is.
        number: of the beat.
        moves: how often it has got on.
        waits: whether it waits for the others.
        doing: what it is at, in words.
    """

    rank: int
    number: int
    moves: int
    waits: bool
    doing: str

    def as_dict(self) -> dict[str, Any]:
        """Its fields."""
        return asdict(self)


class Heartbeat:
    """Of this process; silent until it is started."""

    def __init__(self) -> None:
        self._moves = 0
        self._waits = False
        self._doing = "starts"

    def works(self, doing: str) -> None:
        """The process has got on, and is at this now."""
        self._moves += 1
        self._doing = doing

    @contextmanager
    def waiting(self, doing: str) -> Iterator[None]:
        """The process waits for the others while the block runs."""
        before = self._doing
        self._doing, self._waits = doing, True
        try:
            yield
        finally:
            self._waits = False
            self.works(before)

    def start(self, rank: int, say: Callable[[Beat], None], *, counts_cpu: bool) -> None:
        """Say it from now on, in a thread.

        Args:
            rank: of this process.
            say: is called with each beat, in the thread.
            counts_cpu: a process that computes gets on (who waits for a GPU may look so, too).
        """
        threading.Thread(
            target=self._beat, args=(rank, say, counts_cpu), name="reelvec-heartbeat", daemon=True
        ).start()

    def _beat(self, rank: int, say: Callable[[Beat], None], counts_cpu: bool) -> None:
        number, used = 0, time.process_time()
        while True:
            busy = time.process_time() - used
            used += busy
            if counts_cpu and not self._waits and busy > _BUSY * _EVERY_SECONDS:
                self._moves += 1
            number += 1
            say(Beat(rank, number, self._moves, self._waits, self._doing))
            time.sleep(_EVERY_SECONDS)


@dataclass
class _Seen:
    """A process as it is seen from outside; seconds since it said something, since it got on."""

    beat: Beat
    silent: float = 0.0
    still: float = 0.0


@dataclass
class Watch:
    """The processes of one attempt, and which of them hangs.

    Attributes:
        world: how many there are.
        limit: seconds without a sign after which one hangs; 0: never.
        name: what to call a rank.
    """

    world: int
    limit: float
    name: Callable[[int], str]
    _seen: dict[int, _Seen] = field(default_factory=dict)
    _looked: float = 0.0

    def __post_init__(self) -> None:
        self._looked = time.monotonic()
        for rank in range(self.world):
            self._seen[rank] = _Seen(Beat(rank, -1, -1, waits=False, doing="has not begun"))

    def hear(self, beat: Beat) -> None:
        """A process has said this; of one beat told twice the second time is no sign."""
        seen = self._seen.get(beat.rank)
        if seen is None:
            return
        seen.silent = seen.silent if beat.number == seen.beat.number else 0.0
        moved = beat.moves != seen.beat.moves or beat.waits != seen.beat.waits
        seen.still = 0.0 if moved else seen.still
        seen.beat = beat

    def fault(self) -> str:
        """Who hangs, in words; empty while nobody does."""
        now = time.monotonic()
        passed, self._looked = min(now - self._looked, _LONGEST_STEP), now
        for seen in self._seen.values():
            seen.silent += passed
            seen.still += passed
        hung = self._hung() if self.limit else []
        return "; ".join(f"{self.name(s.beat.rank)} hangs: {self._words(s)}" for s in hung)

    def _hung(self) -> list[_Seen]:
        everyone = list(self._seen.values())
        silent = [seen for seen in everyone if seen.silent > self._limit_of(seen)]
        if silent:
            return silent
        still = [seen for seen in everyone if seen.still > self._limit_of(seen)]
        working = [seen for seen in still if not seen.beat.waits]
        if working or len(still) < len(everyone):
            return working
        quiet = [seen for seen in everyone if seen.silent > _QUIET_SECONDS]
        least = min(seen.beat.moves for seen in everyone)
        return quiet or [seen for seen in everyone if seen.beat.moves == least]

    def _limit_of(self, seen: _Seen) -> float:
        """A process that begins imports for a while, and says nothing."""
        return max(self.limit, _BEGINNING_SECONDS) if seen.beat.number < 0 else self.limit

    def _words(self, seen: _Seen) -> str:
        if seen.silent > min(self.limit, _QUIET_SECONDS):
            return f"it has said nothing for {seen.silent:.0f} s ({seen.beat.doing})"
        waits = ", waiting for the others" if seen.beat.waits else ""
        return f"it has not got on for {seen.still:.0f} s ({seen.beat.doing}{waits})"
