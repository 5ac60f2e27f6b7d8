"""From the spec of a training to its processes: on this machine, or with other commands'."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Protocol

from reelvec.configs.schema import ModelConfig, TrainConfig
from reelvec.storage.roots import Root, open_root
from reelvec.tasks.training.crew import FINISHED, STOPPED, First, FirstIsGoneError, Other
from reelvec.tasks.training.errors import TrainingError
from reelvec.tasks.training.listening import reach
from reelvec.tasks.training.place import OWN_ADDRESS, Place, place_of
from reelvec.tasks.training.spec import TrainSpec, write_spec
from reelvec.tasks.training.supervisor import Alone, End, Launch, OnProgress, attempt, supervise

__all__ = ["Given", "RunTraining", "run_at", "run_here", "take_part"]


class RunTraining(Protocol):
    """Trains what a spec says to its end; raises TrainingError."""

    def __call__(self, spec: TrainSpec, *, on_progress: OnProgress) -> None: ...


_SECONDS_BETWEEN_TRIES = 1.0


def run_here(spec: TrainSpec, *, on_progress: OnProgress) -> None:
    """Train as the only command, or as the first of several.

    Raises:
        TrainingError: a process said what is wrong, or they crashed or hung too often.
    """
    run_at(place_of(spec.train, os.environ), spec, on_progress=on_progress)


def run_at(
    place: Place,
    spec: TrainSpec,
    *,
    on_progress: OnProgress,
    stopped: Callable[[], bool] = lambda: False,
) -> None:
    """Train with the processes of the first place.

    Args:
        place: of this command.
        spec: what is trained, and how.
        on_progress: is told the events.
        stopped: asked several times a second: whether nobody wants this training any more.

    Raises:
        TrainingError: as `run_here`; this is another place; it was stopped.
    """
    if not place.is_first:
        raise TrainingError(
            f"this is command {place.index} of {place.count}, which only takes part in a training"
            " that the first one runs"
        )
    with _launch(place, spec) as launch:
        if place.count == 1:
            supervise(launch, on_progress=on_progress, crew=Alone(launch))
            return
        first = First(launch, stopped=stopped)
        outcome = STOPPED
        try:
            supervise(launch, on_progress=on_progress, crew=first)
            outcome = FINISHED
        except TrainingError as error:
            outcome = str(error)
            raise
        finally:
            first.close(outcome)


@dataclass(frozen=True)
class Given:
    """What another command than the first was given, which must be what the first has.

    Attributes:
        store: URI of the store.
        model: model and its options.
        train: options of the training.
    """

    store: str
    model: ModelConfig
    train: TrainConfig


def take_part(
    place: Place, *, given: Given, is_over: Callable[[bool], bool], listen: str = ""
) -> None:
    """Train with the processes of another place than the first, until the first says it is over.

    Args:
        place: of this command.
        given: to this command.
        is_over: asked while the first is not there, with whether it was there before: whether
            there is nothing more to wait for. May raise what is wrong.
        listen: address of this machine for its processes; empty: by which the first is reached.

    Raises:
        TrainingError: the first has another store or other options, or says that it failed.
    """
    met = False
    while (other := _found(place, partial(is_over, met), listen=listen)) is not None:
        met = True
        try:
            outcome = _follow(place, other, given)
        except FirstIsGoneError:
            continue  # it may come back
        if outcome != FINISHED:
            raise TrainingError(f"the first node says: {outcome}")
        return


def _found(place: Place, is_over: Callable[[], bool], *, listen: str) -> Other | None:
    """The first, as soon as it is there."""
    if place.address is None:
        raise TrainingError("several nodes meet at an address, and there is none")
    while not is_over():
        reached = reach(place.address)
        if reached is not None:
            store, own = reached
            return Other(place, store, listen=listen or os.environ.get(OWN_ADDRESS, own))
        time.sleep(_SECONDS_BETWEEN_TRIES)
    return None


def _follow(place: Place, other: Other, given: Given) -> str:
    """Take part in each attempt; how the training ended."""
    spec = TrainSpec.model_validate_json(other.spec)
    difference = _difference(spec, given)
    with _launch(place, spec) as launch:
        while True:
            outcome = other.next_attempt()
            if outcome is not None:
                return outcome
            with other.meeting() as meeting:
                if difference:
                    end = End(code=1, error=difference)
                else:
                    end = attempt(launch, meeting, crew=other, on_progress=lambda _: None)
                other.settled(end)


def _difference(spec: TrainSpec, given: Given) -> str:
    """What the first node was given otherwise than this one, in words."""
    different = []
    if spec.checkpoint.root != given.store:
        different.append(f"store ({spec.checkpoint.root} there, {given.store} here)")
    for section, theirs, ours in (
        ("model", spec.model.model_dump(), given.model.model_dump()),
        ("train", spec.train.model_dump(), given.train.model_dump()),
    ):
        different += [
            f"{section}.{name} ({theirs[name]} there, {value} here)"
            for name, value in ours.items()
            if theirs[name] != value
        ]
    if not different:
        return ""
    return f"the commands of the nodes differ: {'; '.join(different)}; start the same one on each"


@contextmanager
def _launch(place: Place, spec: TrainSpec) -> Iterator[Launch]:
    """The processes of a place, with their spec as a file while the block runs."""
    root = open_root(spec.checkpoint.root)
    path = root.new_scratch(".json")
    write_spec(spec, path)
    try:
        yield Launch(
            path,
            place,
            log=_log(root, spec, place),
            hang_seconds=spec.train.hang_minutes * 60,
        )
    finally:
        path.unlink(missing_ok=True)


def _log(root: Root, spec: TrainSpec, place: Place) -> Path:
    """Everything the training processes say; not part of the artifact, since clocks are in it."""
    node = "" if place.is_first else f"-{place.index}"
    return root.local_folder / "logs" / f"train-{spec.checkpoint.fingerprint}{node}.log"
