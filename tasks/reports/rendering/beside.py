"""The comparison with another run: the same queries in both, and the interval of the difference."""

from __future__ import annotations

from reelvec.tasks.reports.rendering.contents import Beside
from reelvec.tasks.reports.rendering.markup import Child, tag
from reelvec.tasks.reports.rendering.tables import Column, Row, table
from reelvec.tasks.scoring.paired import PairedMetric

__all__ = ["beside_table"]

_DIRECTIONS = {"t2v": "text → video", "v2t": "video → text"}


def beside_table(beside: Beside) -> list[Child]:
    """A row a metric and direction; a note where there is something to know."""
    note = tag("p", tag("b", "Note"), beside.note, class_="note") if beside.note else None
    if not beside.metrics:
        return [note]
    numbers = [beside.name, "this run", "difference", "95 %", "queries"]
    columns = [Column("Direction"), Column("Metric"), *(Column(name, "n") for name in numbers)]
    return [note, table(columns, [_row(row) for row in beside.metrics])]


def _row(row: PairedMetric) -> Row:
    difference = row.new - row.old
    sure = row.low > 0 or row.high < 0
    css = ("up" if difference > 0 else "down") if sure else "soft"
    return Row(
        [
            _DIRECTIONS[row.direction],
            row.metric,
            f"{row.old:.1f}",
            f"{row.new:.1f}",
            tag("b", _signed(difference), class_=css),
            f"{_signed(row.low)} to {_signed(row.high)}",
            f"{row.count:,}",
        ]
    )


def _signed(value: float) -> str:
    return f"{value:+.1f}".replace("-", "−")
