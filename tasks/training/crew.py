"""Several commands that train together: what the first and the others tell each other.

The first holds a small store of bytes, which listens on the one address that is named; nothing that
is read from it is unpickled. It begins each attempt, hears every other second from the others, and
ends the attempt everywhere as soon as one process fails or hangs. The others start and end their
processes as it says. Only the first one's first process writes into the store of artifacts.
"""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from typing import Any

from torch.distributed import TCPStore  # type: ignore[attr-defined]

from reelvec.tasks.training.errors import TrainingError
from reelvec.tasks.training.heartbeat import Beat, Watch
from reelvec.tasks.training.listening import listen
from reelvec.tasks.training.place import Place
from reelvec.tasks.training.supervisor import End, Launch
from reelvec.tasks.training.workers import Meeting

__all__ = ["FINISHED", "STOPPED", "First", "FirstIsGoneError", "Other"]

FINISHED = "finished"
"""What the first says last, where the training came to its end."""

STOPPED = "the first node's command was stopped"
"""What it says where it was stopped from outside."""

_SPEC, _ATTEMPT, _LAST = "spec", "attempt", "last"
_BEAT_SECONDS = 1.0
_SETTLE_SECONDS = 15.0
_FAREWELL_SECONDS = 15.0
_HASTY_FAREWELL_SECONDS = 4.0  # a signal must end a command soon
_GONE_SECONDS = 60.0
_LONGEST_LOOK = 1.0
_ELSEWHERE = "a process of another node failed"
_ECHOES = ("gloo", "Connection", "NCCL", "connect")
"""Words of a process that only lost another one."""


class FirstIsGoneError(Exception):
    """The first node's command does not answer any more."""


class First:
    """The first node's side.

    Args:
        launch: how the processes of this command are started.
        stopped: asked several times a second: whether nobody wants this training any more.

    Raises:
        TrainingError: nothing can listen at the address.
    """

    def __init__(self, launch: Launch, *, stopped: Callable[[], bool]) -> None:
        self._place = place = launch.place
        self._hang_seconds, self._stopped = launch.hang_seconds, stopped
        self._address, self._store = listen(place.address)
        self._number = 0
        self._hosts: dict[int, str] = {}
        self._ages = _Ages(place.count)
        self._watch = self._new_watch()
        self._store.set(_SPEC, launch.spec.read_text(encoding="utf-8"))

    @contextmanager
    def meeting(self) -> Iterator[Meeting]:
        """A new attempt, which the others see."""
        self._number += 1
        self._watch, self._ages = self._new_watch(), _Ages(self._place.count)
        self._store.set(_ATTEMPT, str(self._number))
        url = f"tcp://{self._address}/{self._number}"
        yield Meeting(url, listen=self._address.host)

    def hear(self, beat: Beat) -> None:
        self._watch.hear(beat)

    def fault(self) -> str:
        """Who hangs, or failed elsewhere, or which node is silent.

        Raises:
            TrainingError: the training was stopped.
        """
        if self._stopped():
            raise TrainingError("the training was stopped; its last checkpoint stands")
        for index in range(1, self._place.count):
            told = self._told(f"beat-{self._number}-{index}")
            if told is not None:
                self._hosts[index] = str(told["host"])
                self._ages.hear(index, int(told["number"]))
                for beat in told["beats"]:
                    self._watch.hear(Beat(**beat))
            end = self._end_of(index)
            if end is not None and end.failed:
                return _ELSEWHERE
        silent = self._ages.silent(limit=_GONE_SECONDS)
        if silent:
            return "; ".join(f"{self._name_of(index)} does not answer" for index in silent)
        return self._watch.fault()

    def settled(self, end: End) -> End:
        """End the attempt everywhere; the end of who failed first, not of who lost another."""
        self._store.set(f"over-{self._number}", "1")
        others = range(1, self._place.count)
        deadline = time.monotonic() + _SETTLE_SECONDS
        while time.monotonic() < deadline and not all(self._end_of(index) for index in others):
            time.sleep(0.1)
        if not end.failed:
            return end
        end.fault = "" if end.fault == _ELSEWHERE else end.fault
        ends = [end]
        for index in others:
            told = self._end_of(index)
            if told is not None:
                ends.append(told)
            elif index in self._hosts:
                ends.append(End(fault=f"{self._name_of(index)} does not answer"))
        first = max((one for one in ends if one.failed), key=_weight)
        first.committed = end.committed
        return first

    def close(self, outcome: str) -> None:
        """Tell the others how the training ended, and stop to listen when they know."""
        self._store.set(_LAST, outcome)
        self._store.set(f"over-{self._number}", "1")
        seconds = _HASTY_FAREWELL_SECONDS if outcome == STOPPED else _FAREWELL_SECONDS
        deadline = time.monotonic() + seconds
        met = [index for index in range(1, self._place.count) if self._has_met(index)]
        while time.monotonic() < deadline and not all(self._store.check([f"bye-{i}"]) for i in met):
            time.sleep(0.05)
        del self._store  # what listens goes with it

    def _has_met(self, index: int) -> bool:
        numbers = range(1, self._number + 1)
        return any(self._store.check([f"beat-{number}-{index}"]) for number in numbers)

    def _new_watch(self) -> Watch:
        return Watch(self._place.world, limit=self._hang_seconds, name=self._name)

    def _name(self, rank: int) -> str:
        index = rank // self._place.processes
        if index == 0:
            return self._place.name(rank)
        return self._place.name(rank, host=self._hosts.get(index, f"node {index}"))

    def _name_of(self, index: int) -> str:
        ranks = range(index * self._place.processes, (index + 1) * self._place.processes)
        return f"{self._hosts[index]} (rank {', '.join(map(str, ranks))})"

    def _end_of(self, index: int) -> End | None:
        told = self._told(f"end-{self._number}-{index}")
        return End(**told) if told is not None else None

    def _told(self, key: str) -> dict[str, Any] | None:
        return json.loads(self._store.get(key)) if self._store.check([key]) else None


class Other:
    """Any other node's side; what it is asked raises FirstIsGoneError where the first is gone."""

    def __init__(self, place: Place, store: TCPStore, *, listen: str) -> None:
        self._place, self._store, self._listen = place, store, listen
        self._number = 0
        self._beats: dict[int, Beat] = {}
        self._told = 0
        self._next = 0.0

    @property
    def spec(self) -> str:
        """What is trained, as the first has it."""
        with _first_there():
            return str(self._store.get(_SPEC), "utf-8")

    def next_attempt(self) -> str | None:
        """Wait for an attempt not taken part in yet; or how the training ended, if it has."""
        while True:
            with _first_there():
                if self._store.check([_LAST]):
                    self._store.set(f"bye-{self._place.index}", "1")
                    return str(self._store.get(_LAST), "utf-8")
                number = self._number_now()
                joined = f"beat-{number}-{self._place.index}"
                if number and not self._store.check([joined]):
                    self._number = number
                    return None
            time.sleep(0.1)

    @contextmanager
    def meeting(self) -> Iterator[Meeting]:
        """The attempt that has begun."""
        self._beats, self._next = {}, 0.0
        self.fault()  # is heard of at once
        address = self._place.address
        yield Meeting(f"tcp://{address}/{self._number}", listen=self._listen)

    def hear(self, beat: Beat) -> None:
        self._beats[beat.rank] = beat

    def fault(self) -> str:
        """Whether the first has ended the attempt; tells it of the processes here."""
        if time.monotonic() < self._next:
            return ""
        self._next, self._told = time.monotonic() + _BEAT_SECONDS, self._told + 1
        beats = [beat.as_dict() for beat in self._beats.values()]
        said = {"host": socket.gethostname(), "number": self._told, "beats": beats}
        with _first_there():
            self._store.set(f"beat-{self._number}-{self._place.index}", json.dumps(said))
            over = self._store.check([f"over-{self._number}"])
        return "the first node ended this attempt" if over else ""

    def settled(self, end: End) -> End:
        """Tell the first how it ended here."""
        with _first_there():
            if self._store.check([f"over-{self._number}"]):
                end.fault = ""  # not ours
            self._store.set(f"end-{self._number}-{self._place.index}", json.dumps(asdict(end)))
        return end

    def _number_now(self) -> int:
        return int(self._store.get(_ATTEMPT)) if self._store.check([_ATTEMPT]) else 0


class _Ages:
    """Which other nodes say nothing, counted while one looks."""

    def __init__(self, count: int) -> None:
        self._numbers: dict[int, int] = {}
        self._ages = dict.fromkeys(range(1, count), 0.0)
        self._looked = time.monotonic()

    def hear(self, index: int, number: int) -> None:
        if self._numbers.get(index) != number:
            self._numbers[index], self._ages[index] = number, 0.0

    def silent(self, *, limit: float) -> list[int]:
        """Those that have been heard, and no more for `limit` seconds."""
        now = time.monotonic()
        passed, self._looked = min(now - self._looked, _LONGEST_LOOK), now
        for index in self._numbers:
            self._ages[index] += passed
        return [index for index in self._numbers if self._ages[index] > limit]


@contextmanager
def _first_there() -> Iterator[None]:
    try:
        yield
    except (RuntimeError, OSError) as error:
        raise FirstIsGoneError(str(error).splitlines()[0]) from error


def _weight(end: End) -> int:
    """The more, the rather it is the cause of the others."""
    if end.error:
        return 4
    if end.fault:
        return 3
    if end.code < 0:
        return 2
    return int(bool(end.code) and not any(word in end.crash for word in _ECHOES))
