"""Values of one row of a caption file, and what a row is left out for."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from reelvec.storage.corpora.annotations import Place, shown
from reelvec.storage.corpora.listing import storable

__all__ = ["LeftOut", "RowError", "captions_of", "text_of", "window_of"]

_LEFT_OUT_SHOWN = 3


class RowError(ValueError):
    """One row cannot be used: it is left out and told, the others are read."""


class LeftOut:
    """Rows and captions that were left out: how many, and the first of them in words."""

    def __init__(self) -> None:
        self.count = 0
        self._first: list[tuple[Place, str]] = []

    def add(self, at: Place, why: object) -> None:
        """One more."""
        self.count += 1
        if len(self._first) < _LEFT_OUT_SHOWN:
            self._first.append((at, str(why)))

    @property
    def words(self) -> str:
        """All of it on one line."""
        first = "; ".join(f"{at}: {why}" for at, why in self._first)
        return f"rows or captions left out: {self.count:,} ({first}" + (
            "; …)" if self.count > len(self._first) else ")"
        )


def captions_of(row: Mapping[str, Any]) -> list[Any]:
    """The row's captions: none, one, or a list of them."""
    value = row.get("caption")
    if value is None:
        return []
    return value if isinstance(value, list) else [value]


def text_of(row: Mapping[str, Any], role: str) -> str:
    """The text of a role; "" where the row has none.

    Raises:
        RowError: it is no text, or one that no table can hold.
    """
    value = row.get(role)
    if value is None:
        return ""
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    if not isinstance(value, str):
        raise RowError(f"{role} is {shown(value)}; it is text, or a whole number")
    if not storable(value):
        raise RowError(f"{role} is {shown(value)}; half a surrogate pair is no text")
    return value


def _seconds_of(row: Mapping[str, Any], role: str) -> float | None:
    """The time of a role; None where the row has none.

    Raises:
        RowError: it is no time.
    """
    value = row.get(role)
    if value is None or value == "":
        return None
    try:
        seconds = -1.0 if isinstance(value, bool) else float(value)
    except (TypeError, ValueError, OverflowError):
        seconds = -1.0
    if not 0 <= seconds < math.inf:
        raise RowError(f"{role} is {shown(value)}; it is a time in seconds, 0 or more")
    return seconds


def window_of(row: Mapping[str, Any]) -> tuple[float | None, float | None]:
    """Start and end of the piece that a row means; None where it has no such time.

    Raises:
        RowError: one is no time, or the piece is empty.
    """
    start, end = _seconds_of(row, "start"), _seconds_of(row, "end")
    if end is not None and end <= (start or 0):
        raise RowError(f"the piece {start or 0:g} to {end:g} s is empty; end comes after start")
    return start, end
