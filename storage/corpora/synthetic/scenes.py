"""What each synthetic video shows, and how its captions say so: arithmetic on (seed, index).

A scene is a coloured shape on a background that moves, grows or turns. Some pairs of shape and
colour are held out: only test videos show them. Captions name every attribute, and no two test
videos share all of them, so a test caption describes one video.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from functools import lru_cache

__all__ = ["BACKGROUNDS", "COLOURS", "SHAPES", "Scene", "captions_of", "scene_of", "split_of"]

SHAPES = ("circle", "square", "triangle", "star", "cross", "ring", "diamond", "heart")
TURNABLE = frozenset(("triangle", "cross", "heart"))  # no symmetry hides which way they turn
COLOURS = ("red", "green", "blue", "yellow", "orange", "purple", "cyan", "pink")
BACKGROUNDS = ("black", "white", "gray", "brown", "navy", "striped", "checkered", "dotted")
AXES = ("horizontal", "vertical", "size", "turn")
SIZES = ("small", "large")
SPEEDS = ("slow", "fast")

_CYCLE = ("train", "train", "test", "train", "train", "val", "test", "train", "train", "train",
          "test", "train")  # fmt: skip
_PAIRING = 20  # videos of a split over which `motion_only` is rounded
_HELD_OUT = 4  # one pair of shape and colour in so many
_ROUNDS = 12  # distinct motions, sizes and speeds that every shape can show

_TEST_CAPACITY = len(SHAPES) * len(COLOURS) // _HELD_OUT * len(BACKGROUNDS) * _ROUNDS


@dataclass(frozen=True, slots=True)
class Scene:
    """One video's content. Lengths are fractions of the frame's width, angles radians."""

    shape: str
    colour: str
    background: str
    axis: str  # what changes: horizontal, vertical, size or turn
    backwards: bool  # left, up, shrinking, counterclockwise: the same frames in reverse order
    size: str
    speed: str
    centre: tuple[float, float]  # x, y of the middle of the path
    angle: float  # at the middle of the clip
    unit: str  # two scenes of one unit are a pair: the same, one of them backwards


def split_of(index: int) -> tuple[str, int]:
    """Split of the video, and which of its split it is; the same whatever the corpus' length.

    Two of three videos are for training, one of twelve is for validation, three of twelve are
    for testing: as long as test videos differ, then training has these places too.
    """
    cycle, place = divmod(index, len(_CYCLE))
    before = {
        split: cycle * _CYCLE.count(split) + _CYCLE[:place].count(split) for split in set(_CYCLE)
    }
    split = _CYCLE[place]
    surplus = before["test"] - _TEST_CAPACITY
    if split == "val" or (split == "test" and surplus < 0):
        return split, before[split]
    return "train", before["train"] + max(0, surplus)


@lru_cache
def _combinations(seed: int, split: str) -> list[tuple[str, str, str]]:
    """Shape, colour and background of the split's scenes, in its order."""
    combinations = [
        (shape, colour, background)
        for s, shape in enumerate(SHAPES)
        for c, colour in enumerate(COLOURS)
        for background in BACKGROUNDS
        if ((s + c) % _HELD_OUT == 0) == (split == "test")
    ]
    random.Random(f"{seed}/{split}/order").shuffle(combinations)
    return combinations


def scene_of(split: str, number: int, *, seed: int, motion_only: float) -> Scene:
    """The scene of the number-th video of a split; a function of its arguments alone."""
    block, place = divmod(number, _PAIRING)
    pairs = round(motion_only * _PAIRING / 2)  # of each block, its first places
    second = place < 2 * pairs and place % 2 == 1
    unit = block * (_PAIRING - pairs) + (place // 2 if place < 2 * pairs else place - pairs)
    combinations = _combinations(seed, split)
    turn, at = divmod(unit, len(combinations))
    shape, colour, background = combinations[at]
    axes = AXES if shape in TURNABLE else AXES[:-1]
    manners = [(axis, size, speed) for axis in axes for size in SIZES for speed in SPEEDS]
    random.Random(f"{seed}/{split}/{shape}/{colour}/{background}").shuffle(manners)
    axis, size, speed = manners[turn % _ROUNDS]
    rng = random.Random(f"{seed}/{split}/{unit}")
    return Scene(
        shape,
        colour,
        background,
        axis,
        (rng.random() < 0.5) != second,
        size,
        speed,
        centre=(0.5 + rng.uniform(-0.12, 0.12), 0.5 + rng.uniform(-0.12, 0.12)),
        angle=rng.uniform(-0.3, 0.3),
        unit=f"{seed}/{split}/{unit}",
    )


_SIZE_WORDS = {"small": ("small", "little"), "large": ("large", "big")}
_SPEED_WORDS = {"slow": ("slowly", "gently"), "fast": ("quickly", "rapidly")}
_MOTION_WORDS = {
    ("horizontal", False): ("moves to the right", "slides right", "travels towards the right"),
    ("horizontal", True): ("moves to the left", "slides left", "travels towards the left"),
    ("vertical", False): ("moves down", "sinks down", "travels downwards"),
    ("vertical", True): ("moves up", "rises up", "travels upwards"),
    ("size", False): ("grows", "keeps growing"),
    ("size", True): ("shrinks", "keeps shrinking"),
    ("turn", False): ("turns clockwise", "spins clockwise", "rotates clockwise"),
    ("turn", True): (
        "turns counterclockwise",
        "spins counterclockwise",
        "rotates counterclockwise",
    ),
}
_PLACES = ("on a {0} background", "over a {0} background", "in front of a {0} backdrop")
_TEMPLATES = (
    "a {subject} {manner} {motion} {place}",
    "a {subject} {motion} {manner} {place}",
    "{place}, a {subject} {manner} {motion}",
    "{place}, a {subject} {motion} {manner}",
    "there is a {subject} that {manner} {motion} {place}",
    "we see a {subject} which {motion} {manner} {place}",
)


def captions_of(scene: Scene, *, count: int) -> list[str]:
    """``count`` captions in English, all different as long as there are words for it.

    A pair's captions differ in the words for the motion alone.
    """
    rng = random.Random(f"{scene.unit}/captions")
    captions: list[str] = []
    while len(captions) < count:
        for _ in range(20):
            place = rng.choice(_PLACES).format(scene.background)
            size = rng.choice(_SIZE_WORDS[scene.size])
            manner = rng.choice(_SPEED_WORDS[scene.speed])
            motion = rng.choice(_MOTION_WORDS[scene.axis, scene.backwards])
            text = rng.choice(_TEMPLATES).format(
                subject=f"{size} {scene.colour} {scene.shape}",
                manner=manner,
                motion=motion,
                place=place,
            )
            if text not in captions:
                break
        captions.append(text)
    return captions
