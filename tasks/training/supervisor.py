"""Starts the processes of a training and stays with them: events, log, cancellation, restarts."""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from reelvec.tasks.temporary import temporary_folder
from reelvec.tasks.training.errors import TrainingError
from reelvec.tasks.training.events import parse
from reelvec.tasks.training.heartbeat import Beat, Watch
from reelvec.tasks.training.place import Place
from reelvec.tasks.training.workers import Meeting, words_of, workers

__all__ = ["Alone", "Crew", "End", "Launch", "OnProgress", "attempt", "supervise"]

OnProgress = Callable[[dict[str, Any]], None]

_RESTARTS = 2
_TAIL = 40


@dataclass(frozen=True)
class Launch:
    """How the processes are started.

    Attributes:
        spec: path of their JSON spec.
        place: which of all they are.
        log: file that everything the processes say is appended to.
        restarts: times they are started again without having committed a checkpoint in between.
        hang_seconds: without a sign of work, after which a process hangs; 0: never.
    """

    spec: Path
    place: Place
    log: Path
    restarts: int = _RESTARTS
    hang_seconds: float = 0.0

    def command(self) -> list[str]:
        """What each worker is started by."""
        return [sys.executable, "-m", "reelvec.tasks.training.worker", str(self.spec)]


@dataclass
class End:
    """How one attempt ended; `who` is the process that failed, `fault` what was seen of it."""

    code: int = 0
    who: str = ""
    error: str = ""
    crash: str = ""
    fault: str = ""
    committed: bool = False
    tail: str = ""

    @property
    def failed(self) -> bool:
        return bool(self.code or self.error or self.fault)

    @property
    def words(self) -> str:
        """Who failed, and how."""
        if self.fault:
            return self.fault
        return f"{self.who} {words_of(self.code)}{': ' + self.crash if self.crash else ''}"


class Crew(Protocol):
    """All processes of a training, and what the commands that start them tell each other."""

    def meeting(self) -> AbstractContextManager[Meeting]:
        """Begin an attempt: where its processes meet while the block runs."""
        ...

    def hear(self, beat: Beat) -> None:
        """A process of this command lives."""
        ...

    def fault(self) -> str:
        """Why the attempt must end, in words; asked several times a second."""
        ...

    def settled(self, end: End) -> End:
        """The attempt has ended here so: end it everywhere, and say how it ended in all."""
        ...


class Alone:
    """The crew of one command."""

    def __init__(self, launch: Launch) -> None:
        self._launch = launch
        self._watch = self._new_watch()

    @contextmanager
    def meeting(self) -> Iterator[Meeting]:
        """In a folder of this machine."""
        with temporary_folder() as folder:
            self._watch = self._new_watch()
            yield Meeting(str(folder / "workers"))

    def hear(self, beat: Beat) -> None:
        self._watch.hear(beat)

    def fault(self) -> str:
        """Who hangs."""
        return self._watch.fault()

    def settled(self, end: End) -> End:
        return end

    def _new_watch(self) -> Watch:
        place = self._launch.place
        return Watch(place.world, limit=self._launch.hang_seconds, name=place.name)


def supervise(launch: Launch, *, on_progress: OnProgress, crew: Crew | None = None) -> None:
    """Run the training to its end; nothing of it is left here when this returns or raises.

    Raises:
        TrainingError: a process said what is wrong, or they crashed too often.
    """
    crew = crew or Alone(launch)
    left = launch.restarts
    while True:
        with crew.meeting() as meeting:
            end = crew.settled(attempt(launch, meeting, crew=crew, on_progress=on_progress))
        if not end.failed:
            return
        if end.error:
            raise TrainingError(end.error)
        left = launch.restarts if end.committed else left
        if left <= 0:
            raise TrainingError(
                f"{end.words}; its log is {launch.log}, the last checkpoint stands."
                f" It last said: {' | '.join(end.tail.splitlines())}"
            )
        left -= 1
        on_progress({"event": "restart", "code": end.code, "message": end.words})


def attempt(launch: Launch, meeting: Meeting, *, crew: Crew, on_progress: OnProgress) -> End:
    """Run the processes of this command once."""
    end, faults = End(), _Faults(crew)
    tail: deque[str] = deque(maxlen=_TAIL)
    launch.log.parent.mkdir(parents=True, exist_ok=True)
    with (
        launch.log.open("a", encoding="utf-8") as log,
        workers(launch.command(), launch.place, meeting) as started,
    ):
        for line in started.lines(faults.look):
            event = parse(line)
            if event is not None and event["event"] == "beat":
                crew.hear(Beat(**{name: x for name, x in event.items() if name != "event"}))
                continue
            if event is None or event["event"] != "point":  # points are the curve, in the store
                log.write(line)
                log.flush()
            if event is None:
                tail.append(line)
            else:
                _take(event, end, on_progress)
    for number, code in list(started.failed.items())[:1]:
        end.code, end.who = code, launch.place.name(launch.place.ranks[number])
        if code < 0:
            end.crash = ""  # of another, which lost this one
    end.fault, end.tail = faults.found, "".join(tail)
    return end


def _take(event: dict[str, Any], end: End, on_progress: OnProgress) -> None:
    end.committed |= event["event"] == "checkpoint"
    if event["event"] == "error":
        end.error = end.error or str(event["message"])
    elif event["event"] == "crash":
        end.crash = end.crash or str(event["message"])
    else:
        on_progress(event)


class _Faults:
    """Remembers what a crew found wrong."""

    def __init__(self, crew: Crew) -> None:
        self._crew = crew
        self.found = ""

    def look(self) -> str:
        self.found = self.found or self._crew.fault()
        return self.found
