"""Report: one self-contained report.html beside the tables it is about.

It is a part of the evaluation artifact and is made once for an evaluation and the settings it
shows; `gathering` gathers what it says, `rendering` draws it. A
page that compares with another run is a part of its own. Only the times of the run differ between
reports of equal runs. The last page of a store is kept under a stable name too.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from reelvec.storage.commits.artifact import Artifact, PartRef, Snapshot
from reelvec.storage.errors import MissingArtifactError
from reelvec.storage.kept_pages import LATEST, keep_copy
from reelvec.storage.layout import canonical
from reelvec.storage.records import Outcome
from reelvec.storage.sealing import checksum_of_bytes
from reelvec.tasks.artifacts import Session
from reelvec.tasks.reports.sources import Against, ReportSources

__all__ = [
    "REPORT_RECIPE",
    "Report",
    "ReportSources",
    "is_reported",
    "report",
    "report_in_force",
]

REPORT_RECIPE = 5
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
    key = _key(sources.against)
    latest = session.latest(artifact) or sources.evaluation
    drawn = _drawn(latest, key)
    fresh = drawn is None or drawn.receipt.extra.get("settings") != settings
    if fresh:
        from reelvec.tasks.reports.gathering import gather  # imports torch
        from reelvec.tasks.reports.rendering.page import render

        page = render(gather(sources))
        with artifact.new_part(table=_TABLE, shard="all", suffix=".html") as writer:
            writer.path.write_bytes(page)
            receipt = writer.commit(
                rows=1, schema="text/html", outcomes=[Outcome(key)], extra={"settings": settings}
            )
        latest = session.publish(artifact, add=[receipt], supersede={_TABLE: [key]}, note="report")
        drawn = _drawn(latest, key)
    if drawn is None:
        raise MissingArtifactError(
            f"the report of {artifact.folder} was replaced while it was drawn; draw it again",
            path=artifact.folder,
        )
    keep_copy(session.root, drawn.path, names=(LATEST, _name(sources)))
    return Report(latest, drawn.path, fresh=fresh)


def report_in_force(evaluation: Snapshot) -> Path | None:
    """The page beside these tables, whichever run's it is; None: none was drawn."""
    drawn = _drawn(evaluation, _key(None))
    return None if drawn is None else drawn.path


def is_reported(session: Session, sources: ReportSources) -> bool:
    """Whether `report` would find its page there."""
    latest = session.latest(_artifact(session, sources)) or sources.evaluation
    drawn = _drawn(latest, _key(sources.against))
    return drawn is not None and drawn.receipt.extra.get("settings") == _settings(sources)


def _artifact(session: Session, sources: ReportSources) -> Artifact:
    return session.find("evaluation", sources.evaluation.artifact.fingerprint)


def _name(sources: ReportSources) -> str:
    name, against = sources.config.name, sources.against
    return name if against is None else f"{name} against {against.name}"


def _key(against: Against | None) -> str:
    """Of a page's part: the pages of one evaluation, one beside each run it is compared with."""
    return _TABLE if against is None else f"{_TABLE} against {against.name}"


def _drawn(evaluation: Snapshot, key: str) -> PartRef | None:
    for part in evaluation.parts(_TABLE):
        if key in {outcome.key for outcome in part.outcomes()}:
            return part
    return None


def _settings(sources: ReportSources) -> str:
    """What the page depends on beside the evaluation, whose snapshot supersedes old pages."""
    shown = {
        "recipe": REPORT_RECIPE,
        "config": sources.config.model_dump(mode="json", exclude=_HOW),
        "checkpoint": sources.checkpoint_facts,
        "frames": sources.frames.number,
        "notes": list(sources.notes),
    }
    if sources.against is not None:
        other = sources.against.evaluation
        shown["against"] = [other.artifact.fingerprint, other.number] if other else []
    return checksum_of_bytes(canonical(shown))
