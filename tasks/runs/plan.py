"""What a run would do, and why, before it is done: from tables and file listings only."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from reelvec.tasks.artifacts import Session
from reelvec.tasks.corpus.ingest import plan_ingest
from reelvec.tasks.embedding.embed import plan_embed
from reelvec.tasks.features.keep import plan_features
from reelvec.tasks.frames.extract import plan_extract
from reelvec.tasks.reports.report import is_reported
from reelvec.tasks.reports.sources import report_sources
from reelvec.tasks.scoring.evaluate import is_evaluated
from reelvec.tasks.training.train import find_trained

__all__ = ["PlannedWork", "plan_pipeline", "plan_reembed"]


@dataclass(frozen=True, slots=True)
class PlannedWork:
    """`count` things a stage has to do, and why."""

    stage: str
    why: str
    count: int


def plan_reembed(session: Session) -> list[PlannedWork]:
    """Work on videos and tables; empty when everything is up to date.

    Videos that are new or changed are counted at ingest; how many of their clips are decoded and
    embedded is known when they have been hashed (a renamed clip is neither).
    """
    ingest = plan_ingest(session)
    work = [
        PlannedWork("ingest", "new videos", ingest.new),
        PlannedWork("ingest", "changed videos", ingest.done["changed"]),
        PlannedWork("ingest", "videos whose file is missing now", ingest.gone),
        PlannedWork("ingest", "videos that are hashed again", ingest.again),
        PlannedWork("ingest", "removed videos", len(ingest.removed)),
        PlannedWork("ingest", "new, changed or removed captions", ingest.captions_touched),
    ]
    extract = plan_extract(session)
    work.append(PlannedWork("extract", "clips without frames", extract.clips))
    trained = find_trained(session)
    if trained is not None:
        embed = plan_embed(session, weights_hash=trained.weights_hash)
        work += [
            PlannedWork("embed", "missing rows", embed.new + embed.new_captions),
            PlannedWork("embed", "stale rows", len(embed.stale) + len(embed.stale_captions)),
            PlannedWork(
                "embed", "orphaned rows", len(embed.orphaned) + len(embed.orphaned_captions)
            ),
        ]
    return [row for row in work if row.count]


def plan_pipeline(session: Session, *, stages: Collection[str] | None = None) -> list[PlannedWork]:
    """All work of a whole run (or of some stages); empty when nothing is to do."""
    work = plan_reembed(session)
    if find_trained(session) is None:
        due = sum(plan.rows for plan in plan_features(session))
        work.append(PlannedWork("train", "clips and texts without features", due))
        work.append(PlannedWork("train", "model not trained to the end", 1))
    elif not work and not is_evaluated(session):
        work.append(PlannedWork("evaluate", "tables not scored", 1))
    elif not work and not is_reported(session, report_sources(session)):
        work.append(PlannedWork("report", "no page of these tables", 1))
    return [row for row in work if row.count and (stages is None or row.stage in stages)]
