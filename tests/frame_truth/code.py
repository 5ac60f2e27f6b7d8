"""A number in a picture: 5 x 5 blocks that survive lossy coding and read back in any orientation.

Six blocks mark the corner where reading starts and the way round; the other nineteen hold the
frame's number (12 bits), the tag of its recording (3 bits) and a check of both (4 bits).

    1 1 . . 0      1, 0: light and dark marks
    0 . . . .      .   : number, tag, check, row by row, lowest bit first
    . . . . .
    . . . . .
    0 . . . 0
"""

from dataclasses import dataclass

import numpy as np

SIDE = 5
MARKS = {(0, 0): 1, (0, 1): 1, (1, 0): 0, (0, 4): 0, (4, 0): 0, (4, 4): 0}
FREE = [(r, c) for r in range(SIDE) for c in range(SIDE) if (r, c) not in MARKS]
NUMBER_BITS, TAG_BITS = 12, 3
DARK, LIGHT = 55, 200
CONTRAST = 40
"""Levels between the lightest and the darkest block below which nothing is there to be read."""

ORIENTATIONS = ("upright", "90", "180", "270", "hflip", "hflip 90", "hflip 180", "hflip 270")
"""What was done to the picture: mirrored left to right or not, then turned counter-clockwise."""


@dataclass(frozen=True, order=True)
class Seen:
    """What one picture says of itself."""

    number: int
    tag: int = 0
    orientation: str = "upright"

    def __str__(self):
        tag = f"/{self.tag}" if self.tag else ""
        turned = f" ({self.orientation})" if self.orientation != "upright" else ""
        return f"{self.number}{tag}{turned}"


def _check(number, tag):
    return ((number | tag << NUMBER_BITS) * 40503 >> 7) & 15


def blocks(number, tag=0):
    """[5, 5] of 0 and 1."""
    value = number | tag << NUMBER_BITS | _check(number, tag) << NUMBER_BITS + TAG_BITS
    grid = np.zeros((SIDE, SIDE), int)
    for place, mark in MARKS.items():
        grid[place] = mark
    for bit, place in enumerate(FREE):
        grid[place] = value >> bit & 1
    return grid


def turned(picture, orientation):
    """The picture after mirroring and turning, as ORIENTATIONS says."""
    mirrored = picture[:, ::-1] if orientation.startswith("hflip") else picture
    last = orientation.split()[-1]
    return np.rot90(mirrored, int(last) // 90 if last.isdigit() else 0)


def read(picture):
    """What a picture [H, W, 3] shows in its central square; None: nothing that can be believed."""
    means = _means(picture)
    low, high = means.min(), means.max()
    if high - low < CONTRAST:
        return None
    grid = (means > (low + high) / 2).astype(int)
    for orientation in ORIENTATIONS:
        upright = _undone(grid, orientation)
        if all(upright[place] == mark for place, mark in MARKS.items()):
            return _value(upright, orientation)
    return None


def _value(grid, orientation):
    bits = sum(int(grid[place]) << bit for bit, place in enumerate(FREE))
    number, tag = bits & (1 << NUMBER_BITS) - 1, bits >> NUMBER_BITS & (1 << TAG_BITS) - 1
    checked = bits >> NUMBER_BITS + TAG_BITS == _check(number, tag)
    return Seen(number, tag, orientation) if checked else None


def _undone(grid, orientation):
    last = orientation.split()[-1]
    back = np.rot90(grid, -(int(last) // 90) if last.isdigit() else 0)
    return back[:, ::-1] if orientation.startswith("hflip") else back


def _means(picture):
    """[5, 5] mean levels of the inner part of each block."""
    height, width = picture.shape[:2]
    side = min(height, width)
    top, left = (height - side) / 2, (width - side) / 2
    margin = side / SIDE / 4
    means = np.empty((SIDE, SIDE))
    for row in range(SIDE):
        for column in range(SIDE):
            y, x = top + row * side / SIDE, left + column * side / SIDE
            inner = picture[
                round(y + margin) : round(y + side / SIDE - margin),
                round(x + margin) : round(x + side / SIDE - margin),
            ]
            means[row, column] = inner.mean()
    return means


def painted(numbers, *, width, height, tag=0):
    """[T, height, width, 3] uint8: the numbers in blocks under a coloured texture that moves."""
    side = min(width, height)
    top, left = (height - side) // 2, (width - side) // 2
    edges = [round(k * side / SIDE) for k in range(SIDE + 1)]
    sizes = np.diff(edges)
    y, x = np.float32(np.arange(height))[:, None], np.float32(np.arange(width))
    out = np.empty((len(numbers), height, width, 3), np.uint8)
    waves = {phase: _texture(x, y, phase) for phase in {n % PHASES for n in numbers}}
    for place, number in enumerate(numbers):
        level = np.full((height, width), 128, np.int16)
        levels = DARK + (LIGHT - DARK) * blocks(number, tag)
        square = np.repeat(np.repeat(levels, sizes, axis=0), sizes, axis=1)
        level[top : top + side, left : left + side] = square
        out[place] = np.clip(level[..., None] + waves[number % PHASES], 0, 255)
    return out


PHASES = 50
"""Frames after which the texture repeats."""


def _texture(x, y, phase):
    angle = 2 * np.pi * phase / PHASES
    light = 9 * np.sin(x / 9 + angle) + 9 * np.cos(y / 7 - angle)
    tint = 24 * np.sin((x + y) / 40 + angle)
    return np.stack([light + tint, light - tint / 2, light - tint], axis=-1).astype(np.int16)
