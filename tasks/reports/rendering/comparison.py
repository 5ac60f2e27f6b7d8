"""Several runs beside each other: one page, and the rows of its table."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from reelvec.tasks.reports.rendering.charts import Interval, interval_chart, linear_axis
from reelvec.tasks.reports.rendering.document import document
from reelvec.tasks.reports.rendering.markup import Markup, tag
from reelvec.tasks.scoring.rows import MetricRow

__all__ = ["ComparedRun", "Comparison", "render_comparison"]

_SHOWN = ("t2v/R@1", "t2v/R@5", "t2v/R@10", "t2v/MdR", "v2t/R@1", "v2t/R@10", "v2t/MdR")
_BY = "t2v/R@1"
_WIDE = "min-width: 170px"
_DIRECTIONS = {"t2v": "text → video", "v2t": "video → text"}


@dataclass(frozen=True, kw_only=True)
class ComparedRun:
    """One run: what was varied, and what it came to."""

    name: str
    label: str
    values: Mapping[str, Any]
    """Dotted key -> value."""
    metrics: tuple[MetricRow, ...] = ()
    seconds: float = 0.0
    """Of this call; 0: all was found finished."""
    report: str = ""
    """Path of its page; empty: none."""
    error: str = ""
    """Why it failed; empty: it did not."""

    def metric(self, name: str) -> MetricRow | None:
        """A metric by direction/name, of the plain protocol."""
        for row in self.metrics:
            if f"{row.direction}/{row.metric}" == name and "+" not in row.protocol:
                return row
        return None

    def cells(self) -> dict[str, Any]:
        """A row of the CSV file: values as JSON where they are no plain text or number."""
        row: dict[str, Any] = {"run": self.name, "status": "failed" if self.error else "done"}
        row |= {key: _plain(value) for key, value in self.values.items()}
        for name in _SHOWN:
            found = self.metric(name)
            row[name] = "" if found is None else found.value
        best = self.metric(_BY)
        row[f"{_BY} low"] = "" if best is None or best.low is None else best.low
        row[f"{_BY} high"] = "" if best is None or best.high is None else best.high
        row |= {"seconds": round(self.seconds, 1), "report": self.report, "error": self.error}
        return row


@dataclass(frozen=True)
class Comparison:
    """The runs of a sweep, as far as they have come."""

    name: str
    keys: tuple[str, ...]
    runs: tuple[ComparedRun, ...]
    planned: int
    """How many runs there will be."""

    @property
    def columns(self) -> list[str]:
        """Of the CSV file."""
        return list(self.runs[0].cells()) if self.runs else []

    @property
    def ranked(self) -> list[ComparedRun]:
        """Best first; failed ones last."""
        return sorted(self.runs, key=_rank)

    def brief_columns(self) -> list[str]:
        """Of the table on a terminal."""
        shown = [name for name in _SHOWN if any(run.metric(name) for run in self.runs)]
        failed = ["error"] if any(run.error for run in self.runs) else []
        return [*self.keys, *shown, "seconds", *failed]

    def brief_rows(self) -> list[dict[str, Any]]:
        """The table on a terminal, best first."""
        rows = []
        for run in self.ranked:
            metrics = {name: run.metric(name) for name in _SHOWN}
            shown = {name: f"{row.value:.1f}" for name, row in metrics.items() if row is not None}
            values = {key: _plain(value) for key, value in run.values.items()}
            rows.append({**values, **shown, "seconds": run.seconds, "error": run.error})
        return rows


def _rank(run: ComparedRun) -> tuple[bool, float, str]:
    best = run.metric(_BY)
    return bool(run.error), -best.value if best else 0.0, run.name


def _plain(value: Any) -> Any:
    return value if isinstance(value, str | int | float) else json.dumps(value, default=str)


def render_comparison(comparison: Comparison) -> bytes:
    """The whole page, UTF-8; it loads nothing. Equal runs give equal bytes."""
    runs = comparison.ranked
    failed = [run for run in runs if run.error]
    count = f"{len(runs)} of {comparison.planned} runs"
    words = f"{count}, {len(failed)} failed" if failed else count
    header = [
        tag("h1", comparison.name),
        tag("p", f"Sweep over {', '.join(comparison.keys)}: {words}", class_="subtitle"),
    ]
    sections = [_numbers(runs)]
    chart = _chart(runs)
    if chart is not None:
        sections.insert(0, tag("section", tag("div", chart, class_="charts")))
    if failed:
        reasons = [[tag("dt", run.label), tag("dd", tag("code", run.error))] for run in failed]
        sections.append(tag("section", tag("h2", "Failed"), tag("dl", reasons)))
    reports = [
        [tag("dt", f"{number}. {run.label}"), tag("dd", tag("code", run.report))]
        for number, run in enumerate(runs, start=1)
        if run.report
    ]
    if reports:
        sections.append(tag("section", tag("h2", "Reports"), tag("dl", reports)))
    footer = "Made by Reelvec from the tables of the runs; each run has a report of its own."
    return document(f"{comparison.name} · Reelvec sweep", header, sections, footer=footer)


def _chart(runs: Sequence[ComparedRun]) -> Markup | None:
    """R@1 of each run by its number in the table, with its interval."""
    intervals = []
    for number, run in enumerate(runs, start=1):
        row = run.metric(_BY)
        if row is not None:
            low, high = (row.value if v is None else v for v in (row.low, row.high))
            intervals.append(Interval(str(number), run.label, row.value, low, high))
    if not intervals:
        return None
    edges = [edge for one in intervals for edge in (one.low, one.high)]
    axis = linear_axis("R@1 text → video, %, with its 95 % interval", edges, start=0.0)
    return interval_chart(intervals, axis=axis, title="Runs, best first, by their number below")


def _numbers(runs: Sequence[ComparedRun]) -> Markup:
    shown = [name for name in _SHOWN if any(run.metric(name) for run in runs)]
    directions = Counter(name.partition("/")[0] for name in shown)
    spans = [tag("th", _DIRECTIONS[d], colspan=count) for d, count in directions.items()]
    heads = [tag("th", name.partition("/")[2], class_="n") for name in shown]
    head = [
        tag("tr", tag("th", "", colspan=2), spans, tag("th", "")),
        tag("tr", tag("th", "#"), tag("th", "run"), heads, tag("th", "seconds", class_="n")),
    ]
    body = [_row(number, run, shown) for number, run in enumerate(runs, start=1)]
    table = tag("div", tag("table", tag("thead", head), tag("tbody", body)), class_="scroll")
    lead = "Under a number: its 95 % interval. Seconds: of the last call; finished runs cost none."
    return tag("section", tag("h2", "Runs"), tag("p", lead, class_="lead"), table, id="runs")


def _row(number: int, run: ComparedRun, shown: Sequence[str]) -> Markup:
    varied = [
        tag("div", tag("code", f"{key.rpartition('.')[2]}={_plain(value)}"))
        for key, value in run.values.items()
    ]
    cells = [_cell(run.metric(name)) for name in shown]
    seconds = f"{run.seconds:,.0f}" if run.seconds else "–"
    last = tag("span", "failed", class_="pill miss") if run.error else seconds
    return tag(
        "tr",
        tag("td", str(number)),
        tag("td", varied, style=_WIDE),
        cells,
        tag("td", last, class_="n"),
    )


def _cell(row: MetricRow | None) -> Markup:
    if row is None:
        return tag("td", "–", class_="n")
    bounds = None
    if row.low is not None and row.high is not None:
        bounds = tag("span", f"{row.low:.1f} – {row.high:.1f}", class_="range")
    return tag("td", f"{row.value:.1f}", bounds, class_="n")
