"""What windows scored: how well the moment a text is about was found in its file."""

from __future__ import annotations

from collections.abc import Sequence

from reelvec.models.ranking.moments import MomentMetric
from reelvec.tasks.reports.rendering.markup import Markup, tag
from reelvec.tasks.reports.rendering.tables import Column, Row, table

__all__ = ["LEAD", "moments_table"]

LEAD = (
    "Where in its file is what a caption says? Its windows are ranked as search ranks them. Rn@o: "
    "percent of queries where one of the best n windows overlaps the true moment by o, measured as "
    "intersection over union. mAP@o: mean average precision at that overlap; mAP: its mean over "
    "0.5, 0.55, … 0.95. mIoU: overlap of the best window. Boundary: by how much start or end is "
    "off, of best windows that overlap by half. Intervals: 95 %, by bootstrap over files."
)


def moments_table(moments: Sequence[MomentMetric]) -> Markup:
    """One row a metric."""
    columns = [Column("Metric"), *(Column(name, "n") for name in ("Value", "95 %", "Queries"))]
    return table(columns, [_row(row) for row in moments])


def _row(row: MomentMetric) -> Row:
    seconds = row.metric.endswith(" s")
    unit = tag("small", " s" if seconds else " %")
    value = tag("span", f"{row.value:.1f}", unit)  # one thing: a phone has cells as lines
    bounds = None if row.low is None else f"{row.low:.1f} – {row.high:.1f}"
    return Row([row.metric.removesuffix(" s"), value, bounds, f"{row.n:,}"])
