"""A run without a Prefect server: the same stages, called one after the other."""

from __future__ import annotations

from collections.abc import Sequence

from reelvec.flows.clusters import open_cluster, slots
from reelvec.flows.own_engine import open_own_engine
from reelvec.flows.stages import STAGES, run_stages
from reelvec.tasks.artifacts import Session
from reelvec.tasks.runs.outcome import RunSummary
from reelvec.tasks.runs.retrying import RetryFilter

__all__ = ["run_alone"]


def run_alone(
    session: Session, *, only: Sequence[str], retry: RetryFilter | None = None
) -> RunSummary:
    """What the flow `pipeline` does, but for what a server would show of it.

    Args:
        session: of the run, its config checked.
        only: stages to run, in pipeline order.
        retry: failed videos that are tried once more.
    """
    config = session.config
    with (
        open_cluster(config) as address,
        open_own_engine(threads=slots(config), dask_address=address) as engine,
    ):
        return run_stages(
            session, only, run_stage=lambda name: STAGES[name](session, retry, engine)
        )
