"""The eight ways in which a container says that a stored picture is to be shown."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from av.sidedata.sidedata import Type

__all__ = ["UPRIGHT", "Orientation", "TiltedError", "orientation_of"]

Picture = npt.NDArray[np.uint8]

MATRIX = struct.Struct("=9i")
"""ISO/IEC 14496-12 8.2.2: x' = m[0] x + m[3] y, y' = m[1] x + m[4] y; y points down."""

MAX_TILT = 0.0174
"""Of the larger entries that the smaller may be: one degree, up to which ffmpeg turns nothing."""


class TiltedError(ValueError):
    """A picture turned by no quarter turn."""


@dataclass(frozen=True)
class Orientation:
    """First mirrored left to right, if at all, then turned counter-clockwise by quarter turns."""

    turns: int = 0
    mirrored: bool = False

    @property
    def degrees(self) -> int:
        """Counter-clockwise: 0, 90, 180 or 270."""
        return 90 * self.turns

    @property
    def swaps_sides(self) -> bool:
        """Width and height change places."""
        return self.turns % 2 == 1

    def show(self, picture: Picture) -> Picture:
        """The stored `picture` [H, W, 3] as a player shows it; a view of it."""
        seen = picture[:, ::-1] if self.mirrored else picture
        return np.rot90(seen, self.turns) if self.turns else seen


UPRIGHT = Orientation()
"""Shown as stored."""


def orientation_of(frame: Any) -> Orientation | None:
    """That of a decoded PyAV frame, by its display matrix; None: it has none.

    Raises:
        TiltedError: the matrix turns by no quarter turn, or shears.
    """
    matrix = frame.side_data.get(Type.DISPLAYMATRIX)
    return None if matrix is None else _from_matrix(bytes(matrix))


def _from_matrix(data: bytes) -> Orientation:
    a, b, _, c, d, *_ = MATRIX.unpack(data[: MATRIX.size])
    straight, crossed = max(abs(a), abs(d)), max(abs(b), abs(c))
    if min(straight, crossed) > MAX_TILT * max(straight, crossed):
        tilt = float(np.degrees(np.arctan2(-b, a)))
        raise TiltedError(
            f"its display matrix turns the picture by {tilt % 360:.0f} degrees; only quarter turns "
            "and mirrors are read: turn the picture itself, or remux it with ffmpeg's "
            "-display_rotation 0 in front of -i"
        )
    mirrored = a * d - b * c < 0
    if straight >= crossed:
        return Orientation(turns=2 if d < 0 else 0, mirrored=mirrored)
    return Orientation(turns=1 if c > 0 else 3, mirrored=mirrored)
