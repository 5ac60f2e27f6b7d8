"""Everything a report says, gathered from the tables."""

from __future__ import annotations

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
from reelvec.tasks.reports.sources import ReportSources
from reelvec.tasks.scoring.evaluate import read_coverage, read_metrics

__all__ = ["gather"]


def gather(sources: ReportSources) -> ReportContents:
    """Everything on the page, from the tables."""
    metrics, coverage = read_metrics(sources.evaluation), read_coverage(sources.evaluation)
    evaluate, sets = sources.config.evaluate, query_sets_of(sources)
    return ReportContents(
        title=sources.config.name,
        subtitle=subtitle_of(sources, coverage),
        made=times_of(sources.run),
        notes=notes_of(sources, coverage),
        metrics=tuple(metrics),
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
        queries=sets,
        pictures=pictures_of(sources, sets),
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
