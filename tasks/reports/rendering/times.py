"""Times of a search as one SVG file that stands alone, light and dark."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from reelvec.tasks.reports.rendering.charts import Axis, compact
from reelvec.tasks.reports.rendering.markup import Markup, tag

__all__ = ["times_figure"]

_WIDTH, _HEIGHT = 820, 430
_LEFT, _RIGHT, _TOP, _BOTTOM = 84, 282, 62, 48
_GAP = 16
_STYLE = """
svg { background: #fff; font: 12px system-ui, "Segoe UI", "DejaVu Sans", sans-serif; }
text { fill: #1d2430; } .soft { fill: #5d6675; } .grid { stroke: #e4e2db; }
.line { fill: none; stroke-width: 2; } .plain { stroke: #2458c5; } .query { stroke: #d07a12; }
.scaled { stroke-dasharray: 5 4; } circle.plain { fill: #2458c5; } circle.query { fill: #d07a12; }
@media (prefers-color-scheme: dark) {
  svg { background: #12151b; } text { fill: #e8eaee; } .soft { fill: #a8b0bd; }
  .grid { stroke: #2c323d; } .plain { stroke: #7aa5ff; } .query { stroke: #f0a848; }
  circle.plain { fill: #7aa5ff; } circle.query { fill: #f0a848; }
}
"""


def times_figure(
    lines: Mapping[str, Sequence[tuple[float, float]]],
    *,
    looks_at_query: frozenset[str],
    scaled: frozenset[str],
    title: str,
) -> bytes:
    """Milliseconds over videos, both in powers of ten.

    Args:
        lines: name of a score -> (videos, seconds), videos rising.
        looks_at_query: names drawn in the second colour.
        scaled: names drawn dashed.
        title: above it.
    """
    points = [point for line in lines.values() for point in line]
    x = _powers("videos", [videos for videos, _ in points])
    y = _powers("milliseconds a query", [seconds * 1e3 for _, seconds in points])

    def at(videos: float, seconds: float) -> tuple[float, float]:
        across = _LEFT + x.place(videos) * (_WIDTH - _LEFT - _RIGHT)
        down = _TOP + (1 - y.place(seconds * 1e3)) * (_HEIGHT - _TOP - _BOTTOM)
        return across, down

    ends = {name: at(*line[-1]) for name, line in lines.items()}
    drawn: list[Markup] = []
    for name, line in lines.items():
        css = "query" if name in looks_at_query else "plain"
        path = "M" + " L".join(f"{a:.1f} {b:.1f}" for a, b in (at(*point) for point in line))
        dashed = " scaled" if name in scaled else ""
        drawn.append(tag("path", d=path, class_=f"line {css}{dashed}"))
        for point in line:
            a, b = at(*point)
            words = f"{name}: {compact(point[1] * 1e3)} ms over {point[0]:,.0f} videos"
            drawn.append(tag("circle", tag("title", words), cx=f"{a:.1f}", cy=f"{b:.1f}", r=3.5,
                             class_=css))  # fmt: skip
    for name, place in _apart({name: down for name, (_, down) in ends.items()}).items():
        last = lines[name][-1][1] * 1e3
        label = f"{name}, {compact(float(f'{last:.2g}'))} ms"
        drawn.append(tag("text", label, x=_WIDTH - _RIGHT + 12, y=f"{place:.1f}", dy=4))
    picture = tag(
        "svg",
        tag("style", Markup(_STYLE)),
        tag("text", title, x=_LEFT, y=22, font_weight="bold"),
        _legend(scaled=bool(scaled)),
        _axes(x, y),
        drawn,
        xmlns="http://www.w3.org/2000/svg",
        viewBox=f"0 0 {_WIDTH} {_HEIGHT}",
        role="img",
        aria_label=title,
    )
    return f"{picture}\n".encode()


def _legend(*, scaled: bool) -> list[Markup]:
    drawn = [
        tag("circle", cx=_LEFT + 4, cy=40, r=4, class_="plain"),
        tag("text", "one vector a video", x=_LEFT + 14, y=44, class_="soft"),
        tag("circle", cx=_LEFT + 144, cy=40, r=4, class_="query"),
        tag("text", "looks at the query", x=_LEFT + 154, y=44, class_="soft"),
    ]
    if scaled:
        drawn.append(tag("text", "dashed: scaled up", x=_LEFT + 284, y=44, class_="soft"))
    return drawn


def _powers(label: str, values: Sequence[float]) -> Axis:
    low = math.floor(math.log10(min(values)) + 1e-9)
    high = max(math.ceil(math.log10(max(values)) - 1e-9), low + 1)
    ticks = tuple(10.0**power for power in range(low, high + 1))
    return Axis(label, ticks[0], ticks[-1], ticks, log=True)


def _axes(x: Axis, y: Axis) -> list[Markup]:
    across, down = _WIDTH - _LEFT - _RIGHT, _HEIGHT - _TOP - _BOTTOM
    foot = _HEIGHT - _BOTTOM
    drawn = []
    for tick in y.ticks:
        height = f"{_TOP + (1 - y.place(tick)) * down:.1f}"
        drawn.append(tag("line", x1=_LEFT, x2=_WIDTH - _RIGHT, y1=height, y2=height, class_="grid"))
        drawn.append(tag("text", compact(tick), x=_LEFT - 8, y=height, dy=4, text_anchor="end",
                         class_="soft"))  # fmt: skip
    for tick in x.ticks:
        place = f"{_LEFT + x.place(tick) * across:.1f}"
        drawn.append(tag("text", compact(tick), x=place, y=foot + 18, text_anchor="middle",
                         class_="soft"))  # fmt: skip
    turned = f"translate(16 {_TOP + down / 2:.0f}) rotate(-90)"
    drawn.append(tag("text", y.label, transform=turned, text_anchor="middle", class_="soft"))
    drawn.append(tag("text", x.label, x=_LEFT + across // 2, y=_HEIGHT - 8, text_anchor="middle",
                     class_="soft"))  # fmt: skip
    return drawn


def _apart(places: Mapping[str, float]) -> dict[str, float]:
    """Heights of labels, from the top down, no two closer than a line."""
    set_apart: dict[str, float] = {}
    last = -math.inf
    for name in sorted(places, key=lambda name: places[name]):
        last = max(places[name], last + _GAP)
        set_apart[name] = last
    return set_apart
