"""Curves of a training, by epoch and by step, and the frames a policy kept."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from reelvec.tasks.reports.rendering.charts import (
    Axis,
    Bars,
    Series,
    bar_chart,
    line_chart,
    linear_axis,
)
from reelvec.tasks.reports.rendering.contents import KeptFrames
from reelvec.tasks.reports.rendering.markup import Markup

__all__ = ["kept_frames_chart", "step_charts", "training_charts"]

_RATE = "lr_"
_COLOURS = ("a", "b", "c", "muted")
_MOST_POINTS = 300


def training_charts(
    history: Sequence[Mapping[str, float]], *, best: int, split: str
) -> list[Markup]:
    """Loss and recall by epoch, the best epoch marked."""
    drawn = []
    loss = [(point["epoch"], point["loss"]) for point in history if "loss" in point]
    if loss:
        y = linear_axis("contrastive loss", [value for _, value in loss])
        line = Series("training loss", "c", tuple(loss), tuple(x for x, _ in loss))
        drawn.append(line_chart([line], x=_epochs(loss), y=y, title="Training loss"))
    recall = [(point["epoch"], point["R@1"]) for point in history if "R@1" in point]
    if recall:
        y = linear_axis("R@1, %", [value for _, value in recall], start=0.0)
        where = f"R@1 on {split}" if split else "R@1"
        line = Series(where, "a", tuple(recall), tuple(x for x, _ in recall), (float(best),))
        title = f"Selection: epoch {best} was used" if best else "Selection"
        drawn.append(line_chart([line], x=_epochs(recall), y=y, title=title))
    return drawn


def step_charts(curve: Sequence[Mapping[str, float]]) -> list[Markup]:
    """Learning rates and the norm of the gradients by step."""
    if len(curve) < 2:
        return []
    parts = sorted({name for point in curve for name in point if name.startswith(_RATE)})
    rates = [
        Series(name.removeprefix(_RATE), css, _thinned(curve, name))
        for name, css in zip(parts, _COLOURS, strict=False)
    ]
    norm = Series("global norm, before it is limited", "c", _thinned(curve, "grad_norm"))
    return [
        _by_step(rates, label="learning rate", title="Learning rate by step"),
        _by_step([norm], label="norm of the gradients", title="Gradients by step"),
    ]


def _by_step(lines: Sequence[Series], *, label: str, title: str) -> Markup:
    points = [point for line in lines for point in line.points]
    x = linear_axis("step", [step for step, _ in points])
    y = linear_axis(label, [value for _, value in points], start=0.0)
    return line_chart(lines, x=x, y=y, title=title)


def _thinned(curve: Sequence[Mapping[str, float]], name: str) -> tuple[tuple[float, float], ...]:
    """(step, value) of the finite values; of many steps the mean of neighbours."""
    points = [(float(p["step"]), p[name]) for p in curve if math.isfinite(p.get(name, math.nan))]
    size = -(-len(points) // _MOST_POINTS) or 1
    groups = [points[at : at + size] for at in range(0, len(points), size)]
    return tuple(
        (sum(x for x, _ in group) / len(group), sum(y for _, y in group) / len(group))
        for group in groups
    )


def kept_frames_chart(kept: KeptFrames) -> Markup:
    """How often the frame at each place was kept."""
    shares = tuple(100.0 * count / max(kept.videos, 1) for count in kept.counts)
    names = [str(place) for place in range(1, len(shares) + 1)]
    y = Axis("videos, %", 0, 100, (0, 20, 40, 60, 80, 100))
    bars = [Bars("kept by the policy", "a", shares)]
    title = f"Frames kept, of {len(shares)} ({kept.videos:,} videos)"
    return bar_chart(names, bars, x_label="place of the frame", y=y, title=title)


def _epochs(points: Sequence[tuple[float, float]]) -> Axis:
    low, high = points[0][0], points[-1][0]
    step = max(1, round((high - low) / 8))
    ticks = tuple(float(t) for t in range(int(low), int(high) + 1, step))
    return Axis("epoch", low, high, ticks)
