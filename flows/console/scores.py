"""What tables scored, for a person at a terminal."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from reelvec.flows.console.output import print_table

if TYPE_CHECKING:
    from reelvec.models.ranking.moments import MomentMetric
    from reelvec.tasks.scoring.rows import MetricRow

__all__ = ["show_metrics", "show_moments"]


def show_metrics(metrics: Sequence[MetricRow]) -> None:
    """One line a direction, protocol and subset: R@k and medians beside each other."""
    lines: dict[tuple[str, ...], dict[str, Any]] = {}
    for row in metrics:
        key = (row.direction, row.protocol, row.subset)
        line = lines.setdefault(
            key, {"direction": key[0], "protocol": key[1], "subset": key[2] or "all", "n": row.n}
        )
        line[row.metric] = f"{row.value:.1f}"
        if row.metric == "R@1" and row.low is not None:
            line["R@1 95 %"] = f"{row.low:.1f} – {row.high:.1f}"
        if row.published is not None:
            line[f"{row.metric} expected"] = f"{row.published:.1f}"
    columns = list(dict.fromkeys(column for line in lines.values() for column in line))
    print_table("Metrics", list(lines.values()), columns)


def show_moments(moments: Sequence[MomentMetric]) -> None:
    """One line a metric; percent, but where the name says seconds."""
    rows = [
        {
            "metric": row.metric,
            "value": f"{row.value:.1f}",
            "95 %": "" if row.low is None else f"{row.low:.1f} – {row.high:.1f}",
            "n": row.n,
        }
        for row in moments
    ]
    print_table("Moments", rows, ["metric", "value", "95 %", "n"])
