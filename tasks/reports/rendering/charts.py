"""Charts as inline SVG: colours are CSS classes, so a chart follows the reader's theme.

Everything is drawn to a fixed view box with rounded coordinates: equal data give equal bytes.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from reelvec.tasks.reports.rendering.markup import Markup, tag

__all__ = [
    "Axis",
    "Bars",
    "Interval",
    "Series",
    "bar_chart",
    "compact",
    "interval_chart",
    "line_chart",
    "linear_axis",
]

WIDTH, HEIGHT = 560, 300
LEFT, RIGHT, TOP, BOTTOM = 52, 16, 14, 46
_MOST_NAMES = 20
_ROW = 24


@dataclass(frozen=True)
class Axis:
    """A labelled axis from `low` to `high` with its ticks."""

    label: str
    low: float
    high: float
    ticks: tuple[float, ...]
    log: bool = False

    def place(self, value: float) -> float:
        """Where `value` lies, 0 to 1 (not clipped)."""
        move = math.log if self.log else float
        span = move(self.high) - move(self.low)
        return (move(value) - move(self.low)) / span if span else 0.5


@dataclass(frozen=True)
class Series:
    """Points joined by a line; `css` names its colour (a, b, c or muted)."""

    label: str
    css: str
    points: tuple[tuple[float, float], ...]
    marks: tuple[float, ...] = ()
    """x of the points that get a dot."""
    labelled: tuple[float, ...] = ()
    """x of the points whose value is written beside them."""


@dataclass(frozen=True)
class Bars:
    """One height a group; `css` names the colour."""

    label: str
    css: str
    values: tuple[float, ...]


@dataclass(frozen=True)
class Interval:
    """A value between its bounds; `label` is said where a pointer rests on it."""

    name: str
    label: str
    value: float
    low: float
    high: float


def compact(value: float) -> str:
    """A number as short as a tick label should be."""
    if abs(value) >= 1e15:
        return f"{value:.3g}"
    if 0 < abs(value) < 1e-3:  # learning rates: beside 0.0004 the axis' name has no room
        digits, _, power = f"{value:.2e}".partition("e")
        return f"{float(digits):g}e{int(power)}"
    return f"{value:,.0f}" if abs(value) >= 100 or value == int(value) else f"{value:.3g}"


def linear_axis(label: str, values: Sequence[float], *, start: float | None = None) -> Axis:
    """An axis over the finite `values` with four to seven round ticks."""
    finite = [value for value in values if math.isfinite(value)] or [0.0, 1.0]
    low = min(finite) if start is None else start
    high = max(*finite, low)
    if high == low:
        high = low + 1.0
    raw = (high - low) / 5
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(s * power for s in (1, 2, 2.5, 5, 10) if s * power >= raw * 0.999)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    ticks = tuple(float(f"{i * step:.12g}") for i in range(first, last + 1))
    return Axis(label, ticks[0], ticks[-1], ticks)


def line_chart(series: Sequence[Series], *, x: Axis, y: Axis, title: str) -> Markup:
    """Lines over common axes, with a legend below; `title` is read aloud and shown above."""

    def at(point: tuple[float, float]) -> tuple[str, str]:
        return _px(_across(x.place(point[0]))), _px(_down(y.place(point[1])))

    drawn: list[Markup] = []
    for line in series:
        path = " ".join(
            f"{'L' if i else 'M'}{' '.join(at(point))}" for i, point in enumerate(line.points)
        )
        drawn.append(tag("path", d=path, class_=f"line {line.css}"))
        for point in line.points:
            if point[0] in line.marks:
                cx, cy = at(point)
                words = f"{line.label}: {compact(point[1])} at {compact(point[0])}"
                dot = tag("circle", tag("title", words), cx=cx, cy=cy, r=3.5, class_=line.css)
                drawn.append(dot)
            if point[0] in line.labelled:
                cx, cy = at(point)
                drawn.append(_value(point, at=(cx, cy), first=point[0] == x.low, high=y.high))
    legend = [(line.label, line.css) for line in series]
    return _figure([*_grid(y), *_x_ticks(x), *drawn], legend=legend, labels=(x, y), title=title)


def bar_chart(
    groups: Sequence[str], bars: Sequence[Bars], *, x_label: str, y: Axis, title: str
) -> Markup:
    """Groups of upright bars; hovering one says its number."""
    slot = 1.0 / max(len(groups), 1)
    named = -(-len(groups) // _MOST_NAMES)  # of many groups every second or third has its name
    thickness = slot * 0.72 / max(len(bars), 1)
    drawn: list[Markup] = []
    for g, group in enumerate(groups):
        for b, bar in enumerate(bars):
            left = g * slot + slot * 0.14 + b * thickness
            top = _down(y.place(bar.values[g]))
            words = tag("title", f"{bar.label}, {x_label} {group}: {bar.values[g]:.1f}")
            rect = tag(
                "rect",
                words,
                x=_px(_across(left) + 0.5),
                y=_px(top),
                width=_px(max(thickness * (WIDTH - LEFT - RIGHT) - 1, 0.5)),
                height=_px(max(_down(0) - top, 0)),
                rx=1.5,
                class_=bar.css,
            )
            drawn.append(rect)
        middle = _px(_across((g + 0.5) * slot))
        if g % named == 0:
            drawn.append(tag("text", group, x=middle, y=_px(_down(0) + 17), class_="tick middle"))
    axis = Axis(x_label, 0, 1, ())
    legend = [(bar.label, bar.css) for bar in bars]
    return _figure([*_grid(y), *drawn], legend=legend, labels=(axis, y), title=title)


def interval_chart(intervals: Sequence[Interval], *, axis: Axis, title: str) -> Markup:
    """One line a row, from low to high, with a dot at the value; as high as it has rows."""
    foot = TOP + len(intervals) * _ROW
    drawn: list[Markup] = []
    for tick in axis.ticks:
        x = _px(_across(axis.place(tick)))
        drawn.append(tag("line", x1=x, x2=x, y1=TOP, y2=foot, class_="grid"))
        drawn.append(tag("text", compact(tick), x=x, y=foot + 17, class_="tick middle"))
    for row, one in enumerate(intervals):
        y = _px(TOP + (row + 0.5) * _ROW)
        low, middle, high = (_px(_across(axis.place(v))) for v in (one.low, one.value, one.high))
        words = f"{one.label}: {one.value:.1f} ({one.low:.1f} to {one.high:.1f})"
        drawn.append(tag("text", one.name, x=LEFT - 10, y=y, dy=4, class_="tick end"))
        drawn.append(tag("path", d=f"M{low} {y} L{high} {y}", class_="line a"))
        drawn.append(tag("circle", tag("title", words), cx=middle, cy=y, r=4.5, class_="a"))
    label = tag(
        "text", axis.label, x=_px((LEFT + WIDTH - RIGHT) / 2), y=foot + 40, class_="axis middle"
    )
    box = f"0 0 {WIDTH} {foot + 46}"
    picture = tag("svg", drawn, label, viewBox=box, role="img", aria_label=title)
    return tag("figure", tag("figcaption", tag("b", title)), picture, class_="chart")


def _value(point: tuple[float, float], *, at: tuple[str, str], first: bool, high: float) -> Markup:
    """The number beside its dot: above it, but below at the top and to the right at the axis."""
    below = point[1] > 0.93 * high or (first and point[1] > 0.15 * high)
    dx, css = (7, "value start") if first else (0, "value middle")
    number = compact(round(point[1], 1))
    return tag("text", number, x=at[0], y=at[1], dx=dx, dy=19 if below else -9, class_=css)


def _figure(
    drawn: Sequence[Markup],
    *,
    legend: Sequence[tuple[str, str]],
    labels: tuple[Axis, Axis],
    title: str,
) -> Markup:
    x, y = labels
    names = [
        tag("text", x.label, x=_px((LEFT + WIDTH - RIGHT) / 2), y=HEIGHT - 6, class_="axis middle"),
        tag("text", y.label, transform=f"translate(12 {_px(HEIGHT / 2 - 16)}) rotate(-90)",
            class_="axis middle"),
    ]  # fmt: skip
    picture = tag(
        "svg", drawn, names, viewBox=f"0 0 {WIDTH} {HEIGHT}", role="img", aria_label=title
    )
    keys = [tag("span", tag("i", class_=f"key {css}"), label) for label, css in legend]
    return tag(
        "figure",
        tag("figcaption", tag("b", title), tag("span", keys, class_="legend")),
        picture,
        class_="chart",
    )


def _grid(y: Axis) -> list[Markup]:
    rows = []
    for tick in y.ticks:
        height = _px(_down(y.place(tick)))
        css = "grid base" if tick == y.ticks[0] else "grid"
        rows.append(tag("line", x1=LEFT, x2=WIDTH - RIGHT, y1=height, y2=height, class_=css))
        rows.append(tag("text", compact(tick), x=LEFT - 8, y=height, dy=4, class_="tick end"))
    return rows


def _x_ticks(x: Axis) -> list[Markup]:
    foot = _down(0)
    return [
        tag("text", compact(t), x=_px(_across(x.place(t))), y=_px(foot + 17), class_="tick middle")
        for t in x.ticks
    ]


def _across(share: float) -> float:
    return LEFT + share * (WIDTH - LEFT - RIGHT)


def _down(share: float) -> float:
    return HEIGHT - BOTTOM - share * (HEIGHT - TOP - BOTTOM)


def _px(value: float) -> str:
    return f"{value:.1f}"
