"""Spans of time: how far two agree, and which of many overlap none before them."""

from __future__ import annotations

import bisect
from collections.abc import Hashable, Iterable
from dataclasses import dataclass

__all__ = ["Span", "apart"]

_SAME_TIME_SECONDS = 0.0005
"""Spans that share less than this only touch."""


@dataclass(frozen=True, slots=True, order=True)
class Span:
    """Seconds [start, end) of a file."""

    start: float
    end: float

    @property
    def seconds(self) -> float:
        """Its length."""
        return self.end - self.start

    def shared(self, other: Span) -> float:
        """Seconds that are in both."""
        return max(0.0, min(self.end, other.end) - max(self.start, other.start))

    def iou(self, other: Span) -> float:
        """Intersection over union: 1 for the same span, 0 for spans that share nothing."""
        shared = self.shared(other)
        union = self.seconds + other.seconds - shared
        return shared / union if union > 0 else 0.0

    def overlaps(self, other: Span) -> bool:
        """Whether they do more than touch."""
        return self.shared(other) > _SAME_TIME_SECONDS


def apart(spans: Iterable[tuple[Hashable, Span]], *, top: int | None = None) -> list[int]:
    """Places of the spans that overlap none of the same file kept before them, in their order.

    Args:
        spans: file and span of each, best first.
        top: so many places at most; None: all.
    """
    kept: dict[Hashable, list[Span]] = {}
    places: list[int] = []
    for place, (file, span) in enumerate(spans):
        if top is not None and len(places) == top:
            break
        others = kept.setdefault(file, [])  # ascending, and apart: only neighbours can overlap
        at = bisect.bisect_left(others, span)
        if not any(span.overlaps(other) for other in others[max(0, at - 1) : at + 1]):
            others.insert(at, span)
            places.append(place)
    return places
