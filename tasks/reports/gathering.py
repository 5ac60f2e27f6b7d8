"""Everything a report says, gathered from the tables."""

from __future__ import annotations

from dataclasses import replace

from reelvec.storage.commits.artifact import Snapshot
from reelvec.storage.tables import read_table
from reelvec.tasks.reports.facts import (
    failures_of,
    identities_of,
    provenance_of,
    stages_of,
    subtitle_of,
    times_of,
)
from reelvec.tasks.reports.gallery import gallery_of
from reelvec.tasks.reports.model_facts import curve_of, kept_frames_of
from reelvec.tasks.reports.notes import notes_of
from reelvec.tasks.reports.pictures import with_pictures
from reelvec.tasks.reports.queries import beside_of, pictures_of, query_sets_of
from reelvec.tasks.reports.rendering.contents import Ranks, ReportContents
from reelvec.tasks.reports.rendering.page import render
from reelvec.tasks.reports.sources import ReportSources
from reelvec.tasks.scoring.evaluate import read_coverage, read_metrics, read_moments

__all__ = ["gather"]

PAGE_BYTES = 9_500_000
"""Of a page, unless its words alone are more: then it has no picture of a query's answers."""


def gather(sources: ReportSources) -> ReportContents:
    """Everything on the page, from the tables: every query, and pictures while there is room."""
    contents = _without_pictures(sources)
    room = PAGE_BYTES - len(render(contents))
    return replace(contents, pictures=pictures_of(sources, contents.queries, room=room))


def _without_pictures(sources: ReportSources) -> ReportContents:
    metrics, coverage = read_metrics(sources.evaluation), read_coverage(sources.evaluation)
    evaluate = sources.config.evaluate
    return ReportContents(
        title=sources.config.name,
        subtitle=subtitle_of(sources, coverage),
        made=times_of(sources.run),
        notes=notes_of(sources, coverage),
        metrics=tuple(metrics),
        moments=tuple(read_moments(sources.evaluation)),
        published=evaluate.published,
        published_source=evaluate.published_source,
        ranks=_ranks(sources.evaluation, candidates=sources.candidates),
        history=tuple(sources.history),
        curve=tuple(point.as_dict() for point in curve_of(sources)),
        kept_frames=kept_frames_of(sources),
        best_epoch=sources.best_epoch,
        selection_split=sources.config.train.selection_split,
        stages=stages_of(sources.run),
        coverage=tuple(coverage),
        failures=with_pictures(failures_of(sources), sources=sources),
        gallery=gallery_of(sources),
        beside=beside_of(sources),
        queries=query_sets_of(sources),
        provenance=provenance_of(sources),
        identities=identities_of(sources),
    )


def _ranks(evaluation: Snapshot, *, candidates: int) -> tuple[Ranks, ...]:
    directions = []
    for direction, table in (("t2v", "ranks"), ("v2t", "video_ranks")):
        if table in evaluation.tables:
            ranks = read_table(evaluation, table, columns=["rank"]).column("rank").to_pylist()
            count = candidates if direction == "t2v" else len(ranks)
            directions.append(Ranks(direction=direction, ranks=tuple(ranks), candidates=count))
    return tuple(directions)
