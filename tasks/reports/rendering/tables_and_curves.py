"""The numbers: tiles, the metrics table beside published results, curves."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import pairwise

from reelvec.tasks.reports.rendering.charts import (
    Axis,
    Bars,
    Series,
    bar_chart,
    line_chart,
    linear_axis,
)
from reelvec.tasks.reports.rendering.contents import Ranks, ReportContents
from reelvec.tasks.reports.rendering.markup import Child, Markup, tag
from reelvec.tasks.reports.rendering.tables import Column, Row, table
from reelvec.tasks.scoring.rows import CoverageRow, MetricRow

__all__ = ["curves", "metrics_table", "tiles"]

METRICS = ("R@1", "R@5", "R@10", "R@50", "MdR", "MnR")
DIRECTIONS = {"t2v": "text → video", "v2t": "video → text"}
_COLOURS = {"t2v": "a", "v2t": "b"}
_BIN_EDGES = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10_000, 100_000)

Key = tuple[str, str, str]  # direction, protocol, subset


def tiles(contents: ReportContents) -> Markup | None:
    """The few numbers a reader came for."""
    plain = {
        (row.direction, row.metric): row
        for row in contents.metrics
        if not row.subset and "+" not in row.protocol
    }
    shown = []
    for direction, metric in (("t2v", "R@1"), ("t2v", "R@5"), ("t2v", "MdR"), ("v2t", "R@1")):
        row = plain.get((direction, metric))
        if row is not None:
            unit = "%" if metric.startswith("R@") else None
            aside = f"95 %: {row.low:.1f} – {row.high:.1f}" if _bounded(row) else f"n = {row.n}"
            name = f"{metric} {DIRECTIONS[direction]}"
            shown.append(_tile(name, f"{row.value:.1f}", unit, aside))
    scored = [row for row in contents.coverage if row.scored]
    if scored:
        shown.append(_coverage_tile(scored[0]))
    return tag("div", shown, class_="tiles") if shown else None


def _coverage_tile(row: CoverageRow) -> Markup:
    usable = row.ok + row.salvaged
    share = f"{100 * usable / row.planned:.1f}" if row.planned else "–"
    where = f"split {row.split}" if row.split else "every split"
    return _tile("videos covered", share, "%", f"{usable} of {row.planned} in {where}")


def _tile(name: str, number: str, unit: str | None, aside: str) -> Markup:
    return tag(
        "div",
        tag("div", name, class_="name"),
        tag("div", number, tag("small", unit) if unit else None, class_="number"),
        tag("div", aside, class_="aside"),
        class_="tile",
    )


def metrics_table(
    metrics: Sequence[MetricRow], *, published: Mapping[str, float], source: str
) -> Markup:
    """One row for each direction, protocol and subset; the published row under ours."""
    rows: dict[Key, dict[str, MetricRow]] = {}
    for row in metrics:
        rows.setdefault((row.direction, row.protocol, row.subset), {})[row.metric] = row
    body: list[Row] = []
    for key in sorted(rows, key=_order):
        body.append(_metrics_row(key, rows[key]))
        direction, protocol, subset = key
        known = {
            m: published[f"{direction}/{m}"] for m in METRICS if f"{direction}/{m}" in published
        }
        if known and not subset and "+" not in protocol:
            body.append(_published_row(known, rows[key], source=source))
    columns = [Column("Direction"), *(Column(name, "n") for name in (*METRICS, "queries"))]
    return table(columns, body)


def _order(key: Key) -> tuple[bool, str, str, str]:
    direction, protocol, subset = key
    return "+" in protocol, protocol, subset, direction


def _metrics_row(key: Key, row: Mapping[str, MetricRow]) -> Row:
    direction, protocol, subset = key
    _, plus, reranking = protocol.partition("+")
    name = [DIRECTIONS.get(direction, direction)]
    if subset:
        name.append(f"only {subset}")
    if plus:
        name.append(f"re-ranked: {reranking.replace('_', ' ')}")
    cells = [_value(row[m]) if m in row else "–" for m in METRICS]
    queries = max((cell.n for cell in row.values()), default=0)
    first = [name[0], [tag("span", f" · {n}", class_="soft") for n in name[1:]]]
    return Row([first, *cells, f"{queries:,}"])


def _value(row: MetricRow) -> list[str | Markup]:
    digits = f"{row.value:.1f}"
    if not _bounded(row):
        return [digits]
    return [digits, tag("span", f"{row.low:.1f} – {row.high:.1f}", class_="range")]


def _bounded(row: MetricRow) -> bool:
    return row.low is not None and row.high is not None


def _published_row(
    known: Mapping[str, float], ours: Mapping[str, MetricRow], *, source: str
) -> Row:
    cells: list[Child] = []
    for metric in METRICS:
        if metric not in known:
            cells.append(None)
            continue
        delta = None
        if metric in ours:
            gap = ours[metric].value - known[metric]
            better = gap >= 0 if metric.startswith("R@") else gap <= 0
            css = f"range {'up' if better else 'down'}"
            delta = tag("span", f"ours {gap:+.1f}".replace("-", "−"), class_=css)
        cells.append([f"{known[metric]:.1f}", delta])
    label = ["published", tag("span", f" · {source}", class_="faint") if source else None]
    return Row([label, *cells, None], css="published")


def curves(ranks: Sequence[Ranks]) -> Markup | None:
    """R@k over k, and how the ranks are spread."""
    ranks = [one for one in ranks if one.ranks]
    if not ranks:
        return None
    most = max(one.candidates for one in ranks)
    ks = list(range(1, min(most, 200) + 1))
    lines = []
    for one in ranks:
        points = tuple((float(k), _recall(one, k)) for k in ks)
        marks = tuple(float(k) for k in (1, 5, 10, 50) if k <= ks[-1])
        name, css = DIRECTIONS[one.direction], _COLOURS[one.direction]
        labelled = marks if one.direction == ranks[0].direction else ()
        lines.append(Series(name, css, points, marks, labelled))
    chance = tuple((float(k), 100.0 * k / ranks[0].candidates) for k in ks)
    lines.append(Series("chance", "muted", chance))
    ticks = tuple(float(k) for k in (1, 2, 5, 10, 20, 50, 100, 200) if k <= ks[-1])
    x = Axis("k", 1.0, float(max(ks[-1], 2)), ticks, log=True)
    y = Axis("found in the first k, %", 0, 100, (0, 20, 40, 60, 80, 100))
    picture = line_chart(lines, x=x, y=y, title="Recall at k")
    worst = math.ceil(max(max(one.ranks) for one in ranks))
    return tag("div", picture, _histogram(ranks, max(worst, 10)), class_="charts")


def _recall(one: Ranks, k: int) -> float:
    return 100.0 * sum(rank <= k for rank in one.ranks) / len(one.ranks)


def _histogram(ranks: Sequence[Ranks], most: int) -> Markup:
    edges = [0, *(edge for edge in _BIN_EDGES if edge < most), most]
    spans = list(pairwise(edges))
    names = [f"{high}" if high == low + 1 else f"{low + 1}–{high}" for low, high in spans]
    bars = []
    for one in ranks:
        shares = tuple(
            100.0 * sum(low < rank <= high for rank in one.ranks) / len(one.ranks)
            for low, high in spans
        )
        bars.append(Bars(DIRECTIONS[one.direction], _COLOURS[one.direction], shares))
    highest = [value for bar in bars for value in bar.values]
    y = linear_axis("queries, %", highest, start=0.0)
    return bar_chart(names, bars, x_label="rank", y=y, title="Where the right one was ranked")
