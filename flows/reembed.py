"""The scheduled flow: find new, changed and removed videos, do exactly these, commit.

It keeps the tables of a finished run true. Nothing is trained: the weights of the run stay.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass

from prefect import flow, get_run_logger
from prefect.artifacts import create_table_artifact

from reelvec.configs import PipelineConfig
from reelvec.flows.console.logs import keep_logs_printable
from reelvec.flows.pipeline import pipeline
from reelvec.tasks.artifacts import Session
from reelvec.tasks.runs.outcome import RunSummary
from reelvec.tasks.runs.plan import PlannedWork, plan_reembed
from reelvec.tasks.runs.preflight import checked_config
from reelvec.tasks.runs.recording import last_config
from reelvec.tasks.upkeep.compact import compact_run

__all__ = ["Reembedded", "reembed"]


@dataclass(frozen=True, kw_only=True)
class Reembedded:
    """What was missing or stale, and the run that made up for it; None: there was no run."""

    plan: tuple[PlannedWork, ...]
    summary: RunSummary | None = None

    @property
    def changed(self) -> bool:
        """Whether anything was done."""
        return self.summary is not None and self.summary.changed


@flow(name="reembed", flow_run_name="reembed")
def reembed(
    config: PipelineConfig | None = None,
    store: str | None = None,
    dry_run: bool = False,
    accept_losses: bool = False,
    rehash: bool = False,
) -> Reembedded:
    """Bring the embedding tables up to date with the videos.

    Args:
        config: the run whose tables are kept true; None: the last run of `store`.
        store: root of the store, where no config is given.
        dry_run: only say what would be done.
        accept_losses: tables may lose usable rows beyond config.max_lost_fraction.
        rehash: hash every video again, though its file looks as it did.

    Returns:
        The plan, and the pipeline's summary unless there was nothing to do or it was a dry run.
    """
    keep_logs_printable()
    config = checked_config(config or last_config(store or PipelineConfig().store))
    session = Session(config, rehash=rehash)
    plan = plan_reembed(session)
    rows = [asdict(row) for row in plan]
    create_table_artifact(table=rows, key="reembed-plan", description="What is missing or stale")
    logger = get_run_logger()
    for row in plan:
        logger.info("%s: %d %s", row.stage, row.count, row.why)
    if dry_run or not plan:
        return Reembedded(plan=tuple(plan))
    session.root.begin_writing()
    for merged in compact_run(session):
        logger.info("%s: %d parts became %d", merged.kind, merged.parts_before, merged.parts_after)
    only = ["ingest", "extract", "embed", "evaluate", "report"]
    again = pipeline(config, only=only, accept_losses=accept_losses, rehash=rehash)
    return Reembedded(plan=tuple(plan), summary=again)
