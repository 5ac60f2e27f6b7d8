"""Draws synthetic scenes: antialiased polygons over flat or patterned backgrounds."""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
from PIL import Image, ImageDraw

from reelvec.storage.corpora.synthetic.films import Film
from reelvec.storage.corpora.synthetic.scenes import Scene
from reelvec.storage.corpora.synthetic.stories import Picture, Story

__all__ = ["draw", "draw_film", "draw_story"]

_COLOURS = {
    "red": (235, 30, 35),
    "green": (30, 185, 50),
    "blue": (45, 95, 255),
    "yellow": (250, 225, 25),
    "orange": (255, 135, 10),
    "purple": (140, 40, 200),
    "cyan": (20, 215, 225),
    "pink": (255, 105, 190),
}
_FLAT = {
    "black": (8, 8, 8),
    "white": (248, 248, 248),
    "gray": (128, 128, 128),
    "brown": (95, 60, 30),
    "navy": (12, 16, 70),
}
_RADIUS = {"small": 0.13, "large": 0.23}  # fractions of the width
_TRAVEL = {"slow": 0.3, "fast": 0.62}
_GROWTH = {"slow": 0.45, "fast": 0.9}  # change of the radius, as a fraction of it
_TURN = {"slow": math.pi / 3, "fast": math.pi}
_OVERSAMPLING = 4


def draw(scene: Scene, *, frames: int, size: int) -> np.ndarray:
    """The scene as RGB frames [frames, size, size, 3] uint8.

    A scene that runs backwards is the reverse of the one that runs forwards, frame by frame.
    """
    behind = _background(scene.background, size).astype(np.float32)
    colour = np.array(_COLOURS[scene.colour], np.float32)
    video = np.empty((frames, size, size, 3), np.uint8)
    for index in range(frames):
        time = index / (frames - 1) - 0.5 if frames > 1 else 0.0
        cover = _coverage(scene, time, size)[..., None]
        video[index] = np.rint(behind + (colour - behind) * cover).astype(np.uint8)
    return video[::-1] if scene.backwards else video


def _coverage(scene: Scene, time: float, size: int) -> np.ndarray:
    """How much of each pixel the shape covers [size, size] float32; time is in [-0.5, 0.5]."""
    x, y = scene.centre
    radius, angle = _RADIUS[scene.size], scene.angle
    if scene.axis == "horizontal":
        x += time * _TRAVEL[scene.speed]
    elif scene.axis == "vertical":
        y += time * _TRAVEL[scene.speed]
    elif scene.axis == "size":
        radius *= 1 + time * _GROWTH[scene.speed]
    else:
        angle += time * _TURN[scene.speed]
    return _shape(scene.shape, (x, y), radius=radius, angle=angle, size=size)


def draw_story(story: Story, *, size: int) -> np.ndarray:
    """Its pictures as RGB frames [pictures, size, size, 3] uint8."""
    return np.stack([_picture(picture, size) for picture in story.pictures])


def draw_film(film: Film, *, fps: int, size: int) -> np.ndarray:
    """Its stretches one after the other as RGB frames [frames, size, size, 3] uint8."""
    stretches = []
    for stretch in film.stretches:
        frames = round(stretch.seconds * fps)
        if isinstance(stretch.shows, Scene):
            stretches.append(draw(stretch.shows, frames=frames, size=size))
        else:
            empty = _picture(Picture(stretch.shows), size)
            stretches.append(np.repeat(empty[None], frames, axis=0))
    return np.concatenate(stretches)


def _picture(picture: Picture, size: int) -> np.ndarray:
    """[size, size, 3] uint8."""
    pixels = _background(picture.background, size).astype(np.float32)
    for thing in picture.things:
        cover = _shape(thing.shape, thing.centre, radius=thing.radius, angle=0.0, size=size)
        colour = np.array(_COLOURS[thing.colour], np.float32)
        pixels = pixels + (colour - pixels) * cover[..., None]
    return np.rint(pixels).astype(np.uint8)


def _shape(
    shape: str, centre: tuple[float, float], *, radius: float, angle: float, size: int
) -> np.ndarray:
    """How much of each pixel a shape covers [size, size] float32."""
    wide = size * _OVERSAMPLING
    mask = Image.new("L", (wide, wide))
    pen = ImageDraw.Draw(mask)
    spin = np.array([[math.cos(angle), math.sin(angle)], [-math.sin(angle), math.cos(angle)]])
    for outline, fill in _outlines(shape):
        points = (outline @ spin * radius + centre) * wide
        pen.polygon([(float(px), float(py)) for px, py in points], fill=fill)
    return np.asarray(mask.reduce(_OVERSAMPLING), np.float32) / 255


@lru_cache
def _outlines(shape: str) -> tuple[tuple[np.ndarray, int], ...]:
    """Polygons [N, 2] around the origin in a circle of radius 1 (y down), each with its fill."""
    turns = np.linspace(0, 2 * math.pi, 64, endpoint=False)
    circle = np.stack([np.cos(turns), np.sin(turns)], 1)
    if shape == "circle":
        return ((circle, 255),)
    if shape == "ring":
        return ((circle, 255), (circle * 0.55, 0))
    if shape == "star":
        spokes = np.arange(10) * math.pi / 5 - math.pi / 2
        lengths = np.where(np.arange(10) % 2, 0.45, 1.1)
        return ((np.stack([np.cos(spokes), np.sin(spokes)], 1) * lengths[:, None], 255),)
    if shape == "heart":
        x = 16 * np.sin(turns) ** 3
        y = -(
            13 * np.cos(turns) - 5 * np.cos(2 * turns) - 2 * np.cos(3 * turns) - np.cos(4 * turns)
        )
        return ((np.stack([x, y], 1) / 16, 255),)
    corners = {
        "square": [(-0.85, -0.85), (0.85, -0.85), (0.85, 0.85), (-0.85, 0.85)],
        "diamond": [(0, -1.15), (0.75, 0), (0, 1.15), (-0.75, 0)],
        "triangle": [(0, -1.15), (0.85, 0.85), (-0.85, 0.85)],
        "cross": [
            (-0.27, -1), (0.27, -1), (0.27, -0.5), (0.85, -0.5), (0.85, 0.04), (0.27, 0.04),
            (0.27, 1.2), (-0.27, 1.2), (-0.27, 0.04), (-0.85, 0.04), (-0.85, -0.5), (-0.27, -0.5),
        ],
    }  # fmt: skip
    return ((np.array(corners[shape], float), 255),)


@lru_cache
def _background(name: str, size: int) -> np.ndarray:
    """[size, size, 3] uint8; patterns are grays, eight to a frame's width."""
    if name in _FLAT:
        return np.full((size, size, 3), _FLAT[name], np.uint8)
    cell = (np.arange(size) * 16 // size) % 4 // 2
    if name == "striped":
        dark = np.broadcast_to(cell, (size, size))
    elif name == "checkered":
        dark = cell[:, None] ^ cell
    else:
        middle = (np.arange(size) * 8 / size) % 1 - 0.5
        dark = (middle[:, None] ** 2 + middle**2 < 0.09).astype(int)
    shades = np.where(dark, 60, 190).astype(np.uint8)
    return np.repeat(shades[..., None], 3, axis=2)
