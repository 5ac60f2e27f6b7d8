"""What a run would do, and why, before it is done: from tables and file listings only."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass

from reelvec.storage.records import Outcome
from reelvec.tasks.artifacts import Session
from reelvec.tasks.corpus.ingest import IngestPlan, plan_ingest, read_corpus
from reelvec.tasks.embedding.embed import EmbedPlan, plan_embed
from reelvec.tasks.frames.audio import plan_audio
from reelvec.tasks.frames.extract import plan_extract
from reelvec.tasks.frames.planning import DecodePlan
from reelvec.tasks.reports.report import is_reported
from reelvec.tasks.reports.sources import report_sources
from reelvec.tasks.runs.retrying import RetryFilter
from reelvec.tasks.scoring.evaluate import is_evaluated
from reelvec.tasks.training.finding import find_trained

__all__ = [
    "PlannedWork",
    "StagePlans",
    "plan_pipeline",
    "plan_reembed",
    "plan_stages",
    "work_of_tables",
    "work_of_whole",
]


@dataclass(frozen=True, slots=True)
class PlannedWork:
    """`count` things a stage has to do, and why."""

    stage: str
    why: str
    count: int


@dataclass(frozen=True)
class StagePlans:
    """What the stages that read videos have to do.

    Videos that are new or changed are known at ingest; how many of their clips are decoded and
    embedded is known when they have been hashed (a renamed clip is neither).
    """

    ingest: IngestPlan
    extract: DecodePlan
    embed: EmbedPlan | None
    """None: the model is not trained to the end."""
    audio: DecodePlan | None = None
    """None: the model hears nothing."""


def plan_stages(session: Session, *, retry: RetryFilter | None = None) -> StagePlans:
    """The plans of the stages, as the files and the store are now.

    Args:
        session: of the run.
        retry: failed videos that are tried once more.
    """
    if retry is None:
        again: Callable[[Outcome], bool] = _none
        ingest = plan_ingest(session)
    else:
        again = retry.at_extract(read_corpus(session))
        ingest = plan_ingest(session, retry=retry.at_ingest())
    extract = plan_extract(session, retry=again)
    audio = plan_audio(session, retry=again) if session.config.hears else None
    trained = find_trained(session)
    if trained is None:
        return StagePlans(ingest, extract, None, audio)
    embed = plan_embed(session, weights_hash=trained.weights_hash)
    return StagePlans(ingest, extract, embed, audio)


def _none(_: object) -> bool:
    return False


def plan_reembed(session: Session) -> list[PlannedWork]:
    """Work on videos and tables; empty when everything is up to date."""
    return work_of_tables(plan_stages(session))


def work_of_tables(plans: StagePlans) -> list[PlannedWork]:
    """The work on videos and tables, by stage and reason."""
    ingest, embed = plans.ingest, plans.embed
    work = [
        PlannedWork("ingest", "new videos", ingest.new),
        PlannedWork("ingest", "changed videos", ingest.done["changed"]),
        PlannedWork("ingest", "videos whose file is missing now", len(ingest.gone)),
        PlannedWork("ingest", "videos that are hashed again", len(ingest.again)),
        PlannedWork("ingest", "removed videos", len(ingest.removed)),
        PlannedWork("ingest", "new, changed or removed captions", ingest.captions_touched),
        PlannedWork("extract", "clips without frames", plans.extract.clips),
    ]
    if plans.audio is not None:
        work.append(PlannedWork("audio", "clips whose sound was not looked for", plans.audio.clips))
    if embed is not None:
        work += [
            PlannedWork("embed", "missing rows", embed.new + embed.new_captions),
            PlannedWork("embed", "stale rows", len(embed.stale) + len(embed.stale_captions)),
            PlannedWork(
                "embed", "orphaned rows", len(embed.orphaned) + len(embed.orphaned_captions)
            ),
            PlannedWork("embed", "files without windows", embed.cut),
            PlannedWork("embed", "stale or orphaned windows", len(embed.stale_windows)),
        ]
    return [row for row in work if row.count]


def plan_pipeline(session: Session, *, stages: Collection[str] | None = None) -> list[PlannedWork]:
    """All work of a whole run (or of some stages); empty when nothing is to do."""
    return work_of_whole(session, plan_stages(session), stages=stages)


def work_of_whole(
    session: Session, plans: StagePlans, *, stages: Collection[str] | None = None
) -> list[PlannedWork]:
    """The work of a whole run (or of some stages), by stage and reason."""
    work = work_of_tables(plans)
    if plans.embed is None:
        from reelvec.tasks.features.keep import plan_features  # imports torch

        due = sum(plan.rows for plan in plan_features(session))
        work.append(PlannedWork("train", "clips and texts without features", due))
        work.append(PlannedWork("train", "model not trained to the end", 1))
    elif not work and not is_evaluated(session):
        work.append(PlannedWork("evaluate", "tables not scored", 1))
    elif not work and not is_reported(session, report_sources(session)):
        work.append(PlannedWork("report", "no page of these tables", 1))
    return [row for row in work if row.count and (stages is None or row.stage in stages)]
