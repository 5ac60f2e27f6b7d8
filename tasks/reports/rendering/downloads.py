"""Rows of the page as CSV files that the page itself holds."""

from __future__ import annotations

import base64
import csv
import dataclasses
import io
from collections.abc import Sequence
from typing import Any

from reelvec.tasks.reports.rendering.markup import Markup, tag

__all__ = ["csv_link"]


def csv_link(name: str, rows: Sequence[Any], *, columns: Sequence[str]) -> Markup | None:
    """A link that saves these fields of dataclasses as `name`; None where there is no row."""
    if not rows:
        return None
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    writer.writerows(map(dataclasses.asdict, rows))
    data = base64.b64encode(text.getvalue().encode(errors="replace")).decode("ascii")
    words = f"{name} ({len(rows):,} rows)"
    return tag("a", words, download=name, href=f"data:text/csv;charset=utf-8;base64,{data}")
