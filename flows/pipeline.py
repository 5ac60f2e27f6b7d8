"""The whole pipeline: its stages one after the other, on one session of the store."""

from __future__ import annotations

from datetime import UTC, datetime

from prefect import flow

from reelvec.configs import PipelineConfig
from reelvec.flows.console.logs import keep_logs_printable
from reelvec.flows.runners import open_runner, task_runner
from reelvec.flows.stages import stage_flow
from reelvec.flows.summary import publish_summary
from reelvec.storage.at_work import announced
from reelvec.tasks.artifacts import Session
from reelvec.tasks.runs.outcome import RunSummary, summary_of
from reelvec.tasks.runs.preflight import checked_config, choose_stages
from reelvec.tasks.runs.receipts import StageReceipt
from reelvec.tasks.runs.recording import record_run
from reelvec.tasks.runs.retrying import RetryFilter

__all__ = ["pipeline"]


@flow(name="pipeline", flow_run_name="{config.name}")
def pipeline(
    config: PipelineConfig,
    only: list[str] | None = None,
    retry: RetryFilter | None = None,
    accept_losses: bool = False,
    rehash: bool = False,
    refresh: bool = False,
) -> RunSummary:
    """Run the stages of `config` in order; each does what is missing and nothing else.

    Args:
        config: the run.
        only: stages to run, in pipeline order; None runs all.
        retry: failed videos that are tried once more.
        accept_losses: tables may lose usable rows beyond config.max_lost_fraction.
        rehash: hash every video again, though its file looks as it did.
        refresh: keep a run's tables true; the run that is searched by default stays the same.

    Returns:
        What the stages did, coverage, metrics, and where the report is.
    """
    keep_logs_printable()
    config = checked_config(config)
    session = Session(config, accepts_losses=accept_losses, rehash=rehash, refreshes=refresh)
    session.root.begin_writing()
    chosen = choose_stages(only)
    started = datetime.now(UTC)
    receipts: list[StageReceipt] = []
    with announced(session.root, config.name), open_runner(config) as placed:
        for name in chosen:
            if name == "report":
                record_run(session, receipts, started=started)
            stage = stage_flow(name, session).with_options(task_runner=task_runner(placed))
            receipts.append(stage(config, retry))
    if "report" not in chosen:
        record_run(session, receipts, started=started)
    summary = summary_of(session, receipts)
    publish_summary(summary)
    return summary
