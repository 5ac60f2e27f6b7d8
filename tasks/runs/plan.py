"""What a run would do, and why, before it is done: from tables and file listings only."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from reelvec.configs import PipelineConfig
from reelvec.tasks.corpus.ingest import corpus_artifact, plan_ingest, read_corpus
from reelvec.tasks.embedding.embed import plan_embed
from reelvec.tasks.frames.extract import plan_extract
from reelvec.tasks.reports.report import is_reported
from reelvec.tasks.runs.tables import is_evaluated, report_sources
from reelvec.tasks.training.train import find_trained

__all__ = ["PlannedWork", "plan_pipeline", "plan_reembed"]


@dataclass(frozen=True, slots=True)
class PlannedWork:
    """`count` things a stage has to do, and why."""

    stage: str
    why: str
    count: int


def plan_reembed(config: PipelineConfig) -> list[PlannedWork]:
    """Work on videos and tables; empty when everything is up to date.

    Videos that are new or changed are counted at ingest; how many of their clips are decoded and
    embedded is known when they have been hashed (a renamed clip is neither).
    """
    ingest = plan_ingest(config)
    work = [
        PlannedWork("ingest", "new videos", ingest.new),
        PlannedWork("ingest", "changed videos", len(ingest.changed)),
        PlannedWork("ingest", "removed videos", len(ingest.removed)),
        PlannedWork("ingest", "new, changed or removed captions", ingest.captions_touched),
    ]
    corpus = read_corpus(corpus_artifact(config))
    extract = plan_extract(config, corpus=corpus)
    work.append(PlannedWork("extract", "clips without frames", extract.clips))
    trained = find_trained(config)
    if trained is not None:
        embed = plan_embed(config, weights_hash=trained.weights_hash)
        work += [
            PlannedWork("embed", "missing rows", embed.new + embed.new_captions),
            PlannedWork("embed", "stale rows", len(embed.stale) + len(embed.stale_captions)),
            PlannedWork(
                "embed", "orphaned rows", len(embed.orphaned) + len(embed.orphaned_captions)
            ),
        ]
    return [row for row in work if row.count]


def plan_pipeline(
    config: PipelineConfig, *, stages: Collection[str] | None = None
) -> list[PlannedWork]:
    """All work of a whole run (or of some stages); empty when nothing is to do."""
    work = plan_reembed(config)
    if find_trained(config) is None:
        work.append(PlannedWork("train", "model not trained to the end", 1))
    elif not work and not is_evaluated(config):
        work.append(PlannedWork("evaluate", "tables not scored", 1))
    elif not work and not is_reported(report_sources(config)):
        work.append(PlannedWork("report", "no page of these tables", 1))
    return [row for row in work if stages is None or row.stage in stages]
