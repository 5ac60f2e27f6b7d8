"""What each drawn film shows and when: arithmetic on (seed, index).

A film is a row of stretches. Events are scenes of `scenes.py`, captioned as those are; between
them stand empty pictures. What follows one another differs in its colours, so that a cut can be
seen; no two events of a film share shape, colour and background.
"""

from __future__ import annotations

import random
from dataclasses import dataclass

from reelvec.storage.corpora.synthetic.scenes import Scene, captions_of, scene_of

__all__ = ["Event", "Film", "Stretch", "film_of"]

_EMPTY = ("black", "white", "gray", "brown", "navy")
_PATTERNS = frozenset(("striped", "checkered", "dotted"))
"""Of the same two grays: one after the other they show no cut."""
_EVENT_SECONDS = (3, 8)
_GAP_SECONDS = (1, 5)
_WITHOUT_GAP = 0.25
"""Part of the events that follow the one before at once, where their colours differ."""


@dataclass(frozen=True, slots=True)
class Stretch:
    """Some seconds of a film: a scene, or an empty picture of this background."""

    shows: Scene | str
    seconds: float


@dataclass(frozen=True, slots=True)
class Event:
    """A captioned moment, seconds [start, end) of its film."""

    start: float
    end: float
    caption: str


@dataclass(frozen=True, slots=True)
class Film:
    """One film's content."""

    stretches: tuple[Stretch, ...]
    events: tuple[Event, ...]


def film_of(split: str, number: int, *, events: int, seed: int) -> Film:
    """The number-th film of a split; a function of its arguments alone."""
    rng = random.Random(f"{seed}/films/{split}/{number}")
    stretches: list[Stretch] = []
    told: list[Event] = []
    time, last = 0, ""
    for event in range(number * events, (number + 1) * events):
        scene = scene_of(split, event, seed=seed, motion_only=0.0)
        follows = bool(last) and _differ(last, scene.background) and rng.random() < _WITHOUT_GAP
        if not follows:
            time += _add(stretches, _empty(rng, last, scene.background), rng, _GAP_SECONDS)
        seconds = _add(stretches, scene, rng, _EVENT_SECONDS)
        told.append(Event(float(time), float(time + seconds), *captions_of(scene, count=1)))
        time, last = time + seconds, scene.background
    _add(stretches, _empty(rng, last, last), rng, _GAP_SECONDS)
    return Film(tuple(stretches), tuple(told))


def _add(
    stretches: list[Stretch], shows: Scene | str, rng: random.Random, bounds: tuple[int, int]
) -> int:
    """Adds a stretch and returns its length, whole seconds."""
    seconds = rng.randint(*bounds)
    stretches.append(Stretch(shows, float(seconds)))
    return seconds


def _empty(rng: random.Random, before: str, after: str) -> str:
    return rng.choice([name for name in _EMPTY if name not in (before, after)])


def _differ(one: str, other: str) -> bool:
    return one != other and not {one, other} <= _PATTERNS
