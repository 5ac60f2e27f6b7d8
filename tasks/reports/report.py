"""Report: one self-contained report.html beside the tables it is about.

It is a part of the evaluation artifact and is made once for an evaluation and the settings it
shows; `rendering` draws it, `facts` and `gallery` gather what it
says. Only the times of the run differ between reports of equal runs.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from reelvec.storage.commits.artifact import Artifact, PartRef, Snapshot
from reelvec.storage.layout import canonical
from reelvec.storage.records import Outcome
from reelvec.storage.sealing import checksum_of_bytes
from reelvec.storage.tables import read_table
from reelvec.tasks.artifacts import Session
from reelvec.tasks.reports.facts import (
    checkpoint_facts,
    failures_of,
    identities_of,
    notes_of,
    provenance_of,
    stages_of,
    subtitle_of,
    times_of,
)
from reelvec.tasks.reports.gallery import gallery_of
from reelvec.tasks.reports.model_facts import curve_of, kept_frames_of
from reelvec.tasks.reports.rendering.contents import Ranks, ReportContents
from reelvec.tasks.reports.rendering.page import render
from reelvec.tasks.reports.sources import ReportSources
from reelvec.tasks.scoring.evaluate import read_coverage, read_metrics

__all__ = [
    "REPORT_RECIPE",
    "Report",
    "ReportSources",
    "is_reported",
    "report",
    "report_in_force",
]

REPORT_RECIPE = 2
"""Raised when the page changes, so that old pages are drawn again."""

_TABLE = "report"
_HOW = {"store", "runner", "workers", "dask_address", "compaction", "gate"}


@dataclass(frozen=True)
class Report:
    """A report in the store, and whether this call made it."""

    snapshot: Snapshot
    path: Path
    fresh: bool


def report(session: Session, sources: ReportSources) -> Report:
    """Draw the page and commit it to the evaluation artifact; nothing is done twice.

    Raises:
        IntegrityError: a table or shard is not what its receipt promised.
    """
    artifact, settings = _artifact(session, sources), _settings(sources)
    latest = session.latest(artifact) or sources.evaluation
    drawn = _drawn(latest)
    if drawn is not None and drawn.receipt.extra.get("settings") == settings:
        return Report(latest, drawn.path, fresh=False)
    page = render(gather(sources))
    with artifact.new_part(table=_TABLE, shard="all", suffix=".html") as writer:
        writer.path.write_bytes(page)
        receipt = writer.commit(
            rows=1, schema="text/html", outcomes=[Outcome(_TABLE)], extra={"settings": settings}
        )
    snapshot = session.publish(artifact, add=[receipt], supersede={_TABLE: [_TABLE]}, note="report")
    made: PartRef = snapshot.parts(_TABLE)[0]
    return Report(snapshot, made.path, fresh=True)


def report_in_force(evaluation: Snapshot) -> Path | None:
    """The page beside these tables, whichever run's it is; None: none was drawn."""
    drawn = _drawn(evaluation)
    return None if drawn is None else drawn.path


def is_reported(session: Session, sources: ReportSources) -> bool:
    """Whether `report` would find its page there."""
    drawn = _drawn(session.latest(_artifact(session, sources)) or sources.evaluation)
    return drawn is not None and drawn.receipt.extra.get("settings") == _settings(sources)


def _artifact(session: Session, sources: ReportSources) -> Artifact:
    return session.find("evaluation", sources.evaluation.artifact.fingerprint)


def _drawn(evaluation: Snapshot) -> PartRef | None:
    return next(iter(evaluation.parts(_TABLE)), None)


def _settings(sources: ReportSources) -> str:
    """What the page depends on beside the evaluation, whose snapshot supersedes old pages."""
    shown = {
        "recipe": REPORT_RECIPE,
        "config": sources.config.model_dump(mode="json", exclude=_HOW),
        "checkpoint": checkpoint_facts(sources),
        "frames": sources.frames.number,
        "notes": list(sources.notes),
    }
    return checksum_of_bytes(canonical(shown))


def gather(sources: ReportSources) -> ReportContents:
    """Everything on the page, from the tables."""
    metrics, coverage = read_metrics(sources.evaluation), read_coverage(sources.evaluation)
    evaluate = sources.config.evaluate
    return ReportContents(
        title=sources.config.name,
        subtitle=subtitle_of(sources, coverage),
        made=times_of(sources.run),
        notes=notes_of(sources, coverage),
        metrics=tuple(metrics),
        published=evaluate.published,
        published_source=evaluate.published_source,
        ranks=_ranks(sources.evaluation, candidates=_usable(sources)),
        history=tuple(sources.history),
        curve=tuple(point.as_dict() for point in curve_of(sources)),
        kept_frames=kept_frames_of(sources),
        best_epoch=sources.best_epoch,
        selection_split=sources.config.train.selection_split,
        stages=stages_of(sources.run),
        coverage=tuple(coverage),
        failures=failures_of(sources),
        gallery=gallery_of(sources),
        provenance=provenance_of(sources),
        identities=identities_of(sources),
    )


def _usable(sources: ReportSources) -> int:
    scored = [row for row in read_coverage(sources.evaluation) if row.scored]
    return sum(row.ok + row.salvaged for row in scored)


def _ranks(evaluation: Snapshot, *, candidates: int) -> tuple[Ranks, ...]:
    directions = []
    for direction, table in (("t2v", "ranks"), ("v2t", "video_ranks")):
        if table in evaluation.tables:
            ranks = read_table(evaluation, table, columns=["rank"]).column("rank").to_pylist()
            count = candidates if direction == "t2v" else len(ranks)
            directions.append(Ranks(direction=direction, ranks=tuple(ranks), candidates=count))
    return tuple(directions)
