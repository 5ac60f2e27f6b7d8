"""The whole pipeline as a numbered list."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from prefect import Flow, flow

from reelvec.configs import PipelineConfig
from reelvec.flows import stages
from reelvec.flows.runners import open_runner, task_runner
from reelvec.flows.summary import publish_summary, summarise
from reelvec.tasks.recording import record_run
from reelvec.tasks.runs.preflight import choose_stages, settled
from reelvec.tasks.runs.retrying import RetryFilter

__all__ = ["pipeline"]

_FLOWS: dict[str, Flow[..., stages.StageReceipt]] = {
    "ingest": stages.ingest,  # 1. list, hash and probe the videos
    "extract": stages.extract,  # 2. decode the frames that are missing
    "train": stages.train,  # 3. train, or go on from the last checkpoint
    "embed": stages.embed,  # 4. write both embedding tables
    "evaluate": stages.evaluate,  # 5. score them
    "report": stages.report,  # 6. one page to read
}

_RETRYING = ("ingest", "extract")


@flow(name="pipeline", flow_run_name="{config.name}")
def pipeline(
    config: PipelineConfig, only: list[str] | None = None, retry: RetryFilter | None = None
) -> dict[str, Any]:
    """Run the stages of `config` in order; each does what is missing and nothing else.

    Args:
        config: the run.
        only: stages to run, in pipeline order; None runs all.
        retry: failed videos that are tried once more.

    Returns:
        A summary: stage receipts, coverage, metrics, and where the report is.
    """
    config = settled(config)
    chosen = choose_stages(only)
    started = datetime.now(UTC)
    receipts: list[stages.StageReceipt] = []
    with open_runner(config) as placed:
        for name in chosen:
            stage = _FLOWS[name].with_options(task_runner=task_runner(placed))
            if name == "report":
                record_run(config, receipts, started=started)
            receipts.append(stage(placed, retry) if name in _RETRYING else stage(placed))
    if "report" not in chosen:
        record_run(config, receipts, started=started)
    summary = summarise(config, receipts)
    publish_summary(summary)
    return summary
