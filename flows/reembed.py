"""The scheduled flow: find new, changed and removed videos, do exactly these, commit.

It keeps the tables of every run of a store true, or of those it is given. Nothing is trained: the
weights of the runs stay.
"""

from __future__ import annotations

from prefect import flow, get_run_logger
from prefect.artifacts import create_markdown_artifact

from reelvec.configs import PipelineConfig
from reelvec.flows.console.logs import keep_logs_printable
from reelvec.flows.pipeline import pipeline
from reelvec.flows.refresh import (
    Reembedded,
    RefreshOptions,
    check_refreshed,
    chosen_runs,
    due_run,
    refresh,
)
from reelvec.flows.showing import key_of, plain
from reelvec.flows.summary import degraded, publish_plan
from reelvec.tasks.artifacts import Session
from reelvec.tasks.runs.outcome import RunSummary

__all__ = ["reembed"]


@flow(name="reembed", flow_run_name="reembed")
def reembed(
    config: PipelineConfig | None = None,
    store: str | None = None,
    dry_run: bool = False,
    accept_losses: bool = False,
    rehash: bool = False,
    runs: list[str] | None = None,
) -> Reembedded:
    """Bring embedding tables up to date with the videos.

    Args:
        config: the one run whose tables are kept true; None: runs of `store`.
        store: root of the store, where no config is given.
        dry_run: only say what would be done.
        accept_losses: tables may lose usable rows beyond config.max_lost_fraction.
        rehash: hash every video again, though its file looks as it did.
        runs: names of the runs whose tables are kept true; none: every run that has tables.

    Returns:
        For each run the plan, and the pipeline's summary unless there was nothing to do or it was
        a dry run.

    Raises:
        MissingArtifactError: no run is called so, or none has tables.
        RefreshFailedError: a run failed, after all others were done.
    """
    keep_logs_printable()
    where = config.store if config else store or PipelineConfig().store
    due = [due_run(config)] if config else chosen_runs(where, runs or ())
    options = RefreshOptions(dry_run=dry_run, accept_losses=accept_losses, rehash=rehash)
    say = get_run_logger().info
    done = [refresh(one, options=options, run=_run, say=say, show=publish_plan) for one in due]
    result = Reembedded(runs=tuple(done))
    _publish(result, store=where)
    return _ended(check_refreshed(result))


def _run(session: Session, stages: list[str]) -> RunSummary:
    return pipeline(
        session.config,
        only=stages,
        accept_losses=session.accepts_losses,
        rehash=session.rehash,
        refresh=True,
    )


def _publish(result: Reembedded, *, store: str) -> None:
    """What came of each run, as an artifact of the flow run."""
    lines = ["| run | result |", "| --- | --- |"]
    lines += [f"| {plain(run.name)} | {plain(run.words)} |" for run in result.runs]
    for run in result.runs:
        for note in run.summary.notes if run.summary else ():
            lines += ["", f"> {plain(run.name)}: {plain(note)}"]
    key = key_of("reembed", run=store)
    create_markdown_artifact("\n".join(lines), key=key, description=f"Each run of {store}")


def _ended(result: Reembedded) -> Reembedded:
    """What the flow returns, in a state that stands out where a run's tables lack many videos."""
    names = [run.name for run in result.runs if run.summary and run.summary.outcome.degraded]
    if not names:
        return result
    return degraded(result, words=f"Videos of {', '.join(names)}")
