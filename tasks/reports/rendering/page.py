"""The page: sections in the order a reader asks, in one file that loads nothing from anywhere."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from reelvec.models.ranking.moments import MomentMetric
from reelvec.tasks.reports.rendering.beside import beside_table
from reelvec.tasks.reports.rendering.contents import ReportContents
from reelvec.tasks.reports.rendering.document import Program, document
from reelvec.tasks.reports.rendering.downloads import csv_link
from reelvec.tasks.reports.rendering.gallery import query_card
from reelvec.tasks.reports.rendering.markup import Child, Markup, tag
from reelvec.tasks.reports.rendering.moments import LEAD as MOMENTS_LEAD
from reelvec.tasks.reports.rendering.moments import moments_table
from reelvec.tasks.reports.rendering.operations import (
    coverage_table,
    failures_by_reason,
    failures_table,
    stage_table,
)
from reelvec.tasks.reports.rendering.queries import queries_box, queries_data, queries_script
from reelvec.tasks.reports.rendering.tables_and_curves import curves, metrics_table, tiles
from reelvec.tasks.reports.rendering.training import (
    kept_frames_chart,
    step_charts,
    training_charts,
)
from reelvec.tasks.scoring.paired import PairedMetric
from reelvec.tasks.scoring.rows import CoverageRow, MetricRow

__all__ = ["render"]

_METRIC_COLUMNS = tuple(field.name for field in dataclasses.fields(MetricRow))
_MOMENT_COLUMNS = tuple(field.name for field in dataclasses.fields(MomentMetric))
_PAIRED_COLUMNS = tuple(field.name for field in dataclasses.fields(PairedMetric))
_COVERAGE_COLUMNS = tuple(field.name for field in dataclasses.fields(CoverageRow))
_FAILURE_COLUMNS = ("video_id", "path", "split", "status", "reason", "message", "stage", "detail")


def render(contents: ReportContents) -> bytes:
    """The whole page, UTF-8. Equal contents give equal bytes."""
    sections = [made for made in _sections(contents) if made is not None]
    links = [tag("a", name, href=f"#{anchor}") for anchor, name, _ in sections]
    notes = [
        tag("p", tag("b", "Note"), note, class_="note", role="note") for note in contents.notes
    ]
    header = [
        tag("h1", contents.title),
        tag("p", contents.subtitle, class_="subtitle"),
        tag("p", contents.made, class_="made"),
        notes,
        tiles(contents),
        tag("nav", links),
    ]
    return document(
        f"{contents.title} · Reelvec report",
        header,
        [section for _, _, section in sections],
        footer="Made by Reelvec from tables alone; no video was opened for these numbers.",
        program=Program(queries_script(), queries_data(contents)) if contents.queries else None,
    )


Made = tuple[str, str, Markup]


def _sections(contents: ReportContents) -> list[Made | None]:
    return [
        _retrieval(contents),
        _moments(contents),
        _beside(contents),
        _gallery(contents),
        _queries(contents),
        _training(contents),
        _coverage(contents),
        _stages(contents),
        _provenance(contents),
    ]


def _section(anchor: str, name: str, lead: str, *children: Child) -> Made:
    words = tag("p", lead, class_="lead") if lead else None
    return anchor, name, tag("section", tag("h2", name), words, *children, id=anchor)


def _retrieval(contents: ReportContents) -> Made | None:
    if not contents.metrics:
        return None
    lead = (
        "R@k: percent of queries whose right answer is among the first k. MdR and MnR: median and "
        "mean rank, lower is better. Under a number: its 95 % bootstrap interval."
    )
    table = metrics_table(
        contents.metrics, published=contents.published, source=contents.published_source
    )
    saved = csv_link("metrics.csv", contents.metrics, columns=_METRIC_COLUMNS)
    return _section("retrieval", "Retrieval", lead, table, _saved(saved), curves(contents.ranks))


def _moments(contents: ReportContents) -> Made | None:
    if not contents.moments:
        return None
    saved = csv_link("moments.csv", contents.moments, columns=_MOMENT_COLUMNS)
    parts = moments_table(contents.moments), _saved(saved)
    return _section("moments", "Moments", MOMENTS_LEAD, *parts)


def _saved(*links: Markup | None) -> Markup:
    return tag("p", "As CSV: ", [[link, " "] for link in links if link], class_="saved")


def _beside(contents: ReportContents) -> Made | None:
    beside = contents.beside
    if beside is None:
        return None
    lead = (
        "The queries both runs have scored, query by query. The interval is of the difference, by "
        "bootstrap over these queries: where it holds zero, the difference may be chance."
    )
    saved = csv_link("compared.csv", beside.metrics, columns=_PAIRED_COLUMNS)
    parts = [*beside_table(beside), _saved(saved) if saved else None]
    return _section("beside", f"Compared with {beside.name}", lead, *parts)


def _gallery(contents: ReportContents) -> Made | None:
    groups = [
        [tag("h3", heading), tag("div", [query_card(query) for query in queries], class_="cards")]
        for heading, queries in contents.gallery
        if queries
    ]
    if not groups:
        return None
    lead = (
        "Captions and the five videos ranked first, as strips of stored frames. The true video has "
        "a green edge; where it is not among the five it follows them with its rank. The logit is "
        "the model's score: it compares videos for one caption, not across captions."
    )
    return _section("gallery", "Some queries", lead, groups)


def _queries(contents: ReportContents) -> Made | None:
    if not contents.queries:
        return None
    if contents.queries[0].direction == "near":
        name, lead = "Videos", "Every video of the table, and those nearest to it by their vectors."
    else:
        name = "All queries"
        lead = (
            "Every query of the evaluation, with a frame of each video ranked first; a video's "
            "captions are found by the words of any of them."
        )
    return _section("queries", name, lead, *queries_box(contents))


def _training(contents: ReportContents) -> Made | None:
    charts = [
        *training_charts(
            contents.history, best=contents.best_epoch, split=contents.selection_split
        ),
        *step_charts(contents.curve),
    ]
    if contents.kept_frames is not None:
        charts.append(kept_frames_chart(contents.kept_frames))
    if not charts:
        return None
    return _section("training", "Training", "", tag("div", charts, class_="charts"))


def _coverage(contents: ReportContents) -> Made | None:
    if not contents.coverage:
        return None
    bad = [f for f in contents.failures if f.status == "quarantined"]
    salvaged = [f for f in contents.failures if f.status == "salvaged"]
    saved = _saved(
        csv_link("coverage.csv", contents.coverage, columns=_COVERAGE_COLUMNS),
        csv_link("failures.csv", contents.failures, columns=_FAILURE_COLUMNS),
    )
    parts: list[Child] = [coverage_table(contents.coverage), saved]
    if contents.failures:
        parts += [tag("h3", "By reason"), failures_by_reason(contents.failures)]
    if bad:
        parts += [tag("h3", f"Quarantined ({len(bad):,})"), failures_table(bad)]
    if salvaged:
        parts += [tag("h3", f"Salvaged up to their damage ({len(salvaged):,})"),
                  failures_table(salvaged)]  # fmt: skip
    lead = (
        "Every video is ok, salvaged or quarantined; planned is their sum. A quarantined video is "
        "never scored. " + ("" if contents.failures else "None failed.")
    )
    return _section("coverage", "Coverage and failures", lead, *parts)


def _stages(contents: ReportContents) -> Made | None:
    if not contents.stages:
        return None
    lead = "What this run did itself; work found finished in the store costs nothing."
    return _section("stages", "What each stage cost", lead, stage_table(contents.stages))


def _provenance(contents: ReportContents) -> Made | None:
    if not contents.provenance:
        return None
    groups = [[tag("h3", name), _facts(facts)] for name, facts in contents.provenance]
    identities = [
        tag("details", tag("summary", f"Identity of {name}"), tag("pre", tag("code", text)))
        for name, text in contents.identities
    ]
    lead = "Enough to trace every number: which rows, of which snapshot, from which weights."
    box = tag("div", groups, identities, class_="groups")
    return _section("provenance", "Provenance", lead, box)


def _facts(facts: Sequence[tuple[str, str]]) -> Markup:
    return tag("dl", [[tag("dt", label), tag("dd", tag("code", value))] for label, value in facts])
