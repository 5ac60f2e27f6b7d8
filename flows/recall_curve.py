"""The recalls of a run as a picture that Prefect's UI shows: an SVG in a data URI.

The UI puts an image artifact's address into an <img>, which reads no style sheet: colours and
background are in the picture.
"""

from __future__ import annotations

import base64
import math
from collections.abc import Sequence
from itertools import pairwise

from reelvec.tasks.reports.rendering.markup import Markup, tag
from reelvec.tasks.scoring.rows import MetricRow

__all__ = ["recall_curve", "recall_picture"]

_WIDTH, _HEIGHT = 560, 320
_LEFT, _RIGHT, _TOP, _BOTTOM = 48, 20, 44, 44
_COLOURS = {"t2v": "#2563eb", "v2t": "#c2410c"}
_WORDS = {"t2v": "text to video", "v2t": "video to text"}

Points = list[tuple[int, float]]
"""(k, R@k in percent), by k."""


def recall_picture(metrics: Sequence[MetricRow], *, title: str) -> str:
    """A data URI of the curve; "": no direction has two recalls to join."""
    curves = {direction: recall_curve(metrics, direction=direction) for direction in _COLOURS}
    drawn = {direction: points for direction, points in curves.items() if len(points) > 1}
    if not drawn:
        return ""
    text = base64.b64encode(_svg(drawn, title=title).encode()).decode()
    return f"data:image/svg+xml;base64,{text}"


def recall_curve(metrics: Sequence[MetricRow], *, direction: str) -> Points:
    """The recalls of one direction over all queries, of the first protocol there is."""
    rows = [
        row for row in metrics
        if row.direction == direction and row.subset == "" and row.metric.startswith("R@")
    ]  # fmt: skip
    first = rows[0].protocol if rows else ""
    points = {int(r.metric.removeprefix("R@")): r.value for r in rows if r.protocol == first}
    return sorted(points.items())


def _svg(curves: dict[str, Points], *, title: str) -> str:
    ks = sorted({k for points in curves.values() for k, _ in points})
    parts: list[Markup] = [
        tag("rect", width=_WIDTH, height=_HEIGHT, fill="#ffffff"),
        tag("text", title, x=_LEFT, y=20, font_size=14, font_weight="bold", fill="#111827"),
    ]
    for percent in range(0, 101, 20):
        y = _down(percent)
        parts.append(tag("line", x1=_LEFT, x2=_WIDTH - _RIGHT, y1=y, y2=y, stroke="#e5e7eb"))
        parts.append(_label(percent, x=_LEFT - 8, y=y + 4, anchor="end"))
    for k in ks:
        parts.append(_label(k, x=_across(k, ks), y=_HEIGHT - _BOTTOM + 18, anchor="middle"))
    middle = (_LEFT + _WIDTH - _RIGHT) / 2
    parts.append(_label("k, of recall at k in percent", x=middle, y=_HEIGHT - 8, anchor="middle"))
    for row, (direction, points) in enumerate(curves.items()):
        parts += _curve(points, ks=ks, colour=_COLOURS[direction])
        x = _WIDTH - _RIGHT - 110 * (len(curves) - row)
        parts.append(tag("rect", x=x, y=28, width=10, height=10, fill=_COLOURS[direction]))
        parts.append(_label(_WORDS[direction], x=x + 15, y=37, anchor="start"))
    size = {"width": _WIDTH, "height": _HEIGHT}
    return tag("svg", parts, xmlns="http://www.w3.org/2000/svg", font_family="sans-serif", **size)


def _curve(points: Points, *, ks: Sequence[int], colour: str) -> list[Markup]:
    places = [(_across(k, ks), _down(value)) for k, value in points]
    lines = [
        tag("line", x1=a[0], y1=a[1], x2=b[0], y2=b[1], stroke=colour, stroke_width=2)
        for a, b in pairwise(places)
    ]
    dots = [tag("circle", cx=x, cy=y, r=3.5, fill=colour) for x, y in places]
    values = [
        _label(f"{value:.1f}", x=x, y=y - 8, anchor="middle")
        for (x, y), (_, value) in zip(places, points, strict=True)
    ]
    return [*lines, *dots, *values]


def _label(words: object, *, x: float, y: float, anchor: str) -> Markup:
    return tag("text", str(words), x=x, y=y, text_anchor=anchor, font_size=11, fill="#4b5563")


def _across(k: int, ks: Sequence[int]) -> float:
    """Where k lies, by its logarithm."""
    span = math.log(ks[-1]) - math.log(ks[0])
    share = (math.log(k) - math.log(ks[0])) / span if span else 0.5
    return round(_LEFT + 10 + share * (_WIDTH - _LEFT - _RIGHT - 30), 1)


def _down(percent: float) -> float:
    return round(_TOP + (1 - percent / 100) * (_HEIGHT - _TOP - _BOTTOM), 1)
