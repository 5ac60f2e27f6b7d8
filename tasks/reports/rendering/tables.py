"""Tables: beside each other on a wide screen, a block a row on a phone, so that nothing is cut."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from reelvec.tasks.reports.rendering.markup import Child, Markup, tag

__all__ = ["Column", "Row", "table"]


@dataclass(frozen=True)
class Column:
    """Its name, which a phone shows before each value, and the CSS class of its cells."""

    name: str
    css: str = ""
    """n: numbers, to the right."""


@dataclass(frozen=True)
class Row:
    """A cell a column; None: nothing is to be said there."""

    cells: Sequence[Child]
    css: str = ""


def table(columns: Sequence[Column], rows: Sequence[Row]) -> Markup:
    """The table in a box of its own."""
    head = tag("tr", [tag("th", one.name, class_=one.css or None) for one in columns])
    made = tag("table", tag("thead", head), tag("tbody", [_row(row, columns) for row in rows]))
    return tag("div", made, class_="scroll")


def _row(row: Row, columns: Sequence[Column]) -> Markup:
    cells = [
        tag("td", cell, class_=column.css or None, data_label=column.name or None)
        if cell is not None
        else tag("td", class_="nothing")
        for column, cell in zip(columns, row.cells, strict=True)
    ]
    return tag("tr", cells, class_=row.css or None)
