"""What each drawn story shows, and how its caption says so: arithmetic on (kind, seed, index).

A story is a clip of a few pictures, each a frame, made to tell models apart:

- order: three things one after the other; the six orders of the same three are six videos.
- motion: two things step left or right; the four ways of the same two are four videos, and no
  picture, nor all of them without their order, says which way.
- details: six things one after the other, of which the caption names three.
- moments: three things among twelve pictures, the others empty; the caption names all three.
"""

from __future__ import annotations

import itertools
import random
from dataclasses import dataclass
from functools import lru_cache

from reelvec.configs.corpora import StoryKind
from reelvec.storage.corpora.synthetic.scenes import COLOURS
from reelvec.storage.errors import CorpusError

__all__ = ["Picture", "Story", "Thing", "check_count", "story_of"]

_SHAPES = ("circle", "square")
_BACKGROUNDS = ("black", "white", "gray", "brown", "navy")
_COLUMNS, _STEPS = 6, 3
"""Places of a moving thing from edge to edge, and how many next to each other it visits."""
_NAMED = 3
_PICTURES = {"details": 6, "moments": 12}
_SMALL, _LARGE = 0.13, 0.23
"""Radii, fractions of the width."""
_KINDS = tuple(itertools.product(COLOURS, _SHAPES))
_MOTIONS = tuple(itertools.product(("left", "right"), repeat=2))
_SHARES = {"train": (0, 8), "val": (8, 9), "test": (9, 12)}
"""Which of each twelve sets of things a split has, as split_of deals the videos."""
_LIMITS = {"order": 3360, "motion": 960}
"""Videos for which there are sets of things."""


@dataclass(frozen=True, slots=True)
class Thing:
    """A coloured shape; lengths are fractions of the frame's width."""

    shape: str
    colour: str
    centre: tuple[float, float]  # x, y
    radius: float


@dataclass(frozen=True, slots=True)
class Picture:
    """What one frame shows; without things it is empty."""

    background: str = "black"
    things: tuple[Thing, ...] = ()


@dataclass(frozen=True, slots=True)
class Story:
    """One video's content."""

    pictures: tuple[Picture, ...]
    caption: str
    unit: str
    """Stories of one unit show the same things, and are told apart by time alone."""


def check_count(kind: StoryKind, videos: int) -> None:
    """Refuse more videos than there are stories to tell.

    Raises:
        CorpusError: names the limit.
    """
    if videos > _LIMITS.get(kind, videos):
        raise CorpusError(
            f"corpus.videos {videos}: there are {_LIMITS[kind]:,} stories about {kind};"
            " ask for at most so many"
        )


def story_of(kind: StoryKind, split: str, number: int, *, seed: int) -> Story:
    """The number-th story of a split; a function of its arguments alone."""
    rng = random.Random(f"{seed}/{kind}/{split}/{number}")
    if kind == "order":
        return _order(split, number, seed=seed, rng=rng)
    if kind == "motion":
        return _motion(split, number, seed=seed, rng=rng)
    return _told_in_part(kind, f"{kind}/{split}/{number}", rng=rng)


def _order(split: str, number: int, *, seed: int, rng: random.Random) -> Story:
    unit, place = divmod(number, 6)
    chosen = _sets("order", split, seed)[unit]
    told = list(itertools.permutations(chosen))[place]
    pictures = [Picture(things=(_large(colour, shape, rng),)) for colour, shape in told]
    caption = " then ".join(f"{colour} {shape}" for colour, shape in told)
    return Story(tuple(pictures), caption, f"order/{split}/{unit}")


def _motion(split: str, number: int, *, seed: int, rng: random.Random) -> Story:
    unit, place = divmod(number, 4)
    chosen, ways = _sets("motion", split, seed)[unit], _MOTIONS[place]
    paths = [_columns(way, rng) for way in ways]
    pictures = [
        Picture(
            things=tuple(
                Thing(shape, colour, (0.15 + 0.14 * along[time], 0.25 + 0.5 * row), radius=_SMALL)
                for row, ((colour, shape), along) in enumerate(zip(chosen, paths, strict=True))
            )
        )
        for time in range(_STEPS)
    ]
    upper, lower = (
        f"{colour} {shape} {way}" for (colour, shape), way in zip(chosen, ways, strict=True)
    )
    return Story(tuple(pictures), f"{upper} over {lower}", f"motion/{split}/{unit}")


def _columns(way: str, rng: random.Random) -> list[int]:
    """Those a thing visits; which ones says nothing about the way."""
    first = rng.randrange(_COLUMNS - _STEPS + 1)
    visited = list(range(first, first + _STEPS))
    return visited if way == "right" else visited[::-1]


def _told_in_part(kind: StoryKind, unit: str, *, rng: random.Random) -> Story:
    """Things on backgrounds: of six, three are named; or three are shown, among empty pictures."""
    count = _PICTURES[kind]
    looks = list(itertools.product(COLOURS, _SHAPES, _BACKGROUNDS))
    shown = rng.sample(looks, count if kind == "details" else _NAMED)
    places = sorted(rng.sample(range(count), len(shown)))
    pictures = [Picture()] * count
    for place, (colour, shape, background) in zip(places, shown, strict=True):
        pictures[place] = Picture(background, (_large(colour, shape, rng),))
    named = [shown[i] for i in sorted(rng.sample(range(len(shown)), _NAMED))]
    caption = " and ".join(f"{colour} {shape} on {where}" for colour, shape, where in named)
    return Story(tuple(pictures), caption, unit)


def _large(colour: str, shape: str, rng: random.Random) -> Thing:
    """A thing near the middle."""
    centre = (0.5 + rng.uniform(-0.12, 0.12), 0.5 + rng.uniform(-0.12, 0.12))
    return Thing(shape, colour, centre, radius=_LARGE)


@lru_cache
def _sets(kind: StoryKind, split: str, seed: int) -> list[tuple[tuple[str, str], ...]]:
    """What the units of a split show; no set of things is in two splits."""
    choose = (
        itertools.combinations(_KINDS, 3) if kind == "order" else itertools.permutations(_KINDS, 2)
    )
    every = list(choose)
    random.Random(f"{seed}/{kind}/sets").shuffle(every)
    first, end = _SHARES[split]
    return [things for place, things in enumerate(every) if first <= place % 12 < end]
