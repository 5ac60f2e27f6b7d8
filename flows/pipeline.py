"""The whole pipeline as a Prefect flow: its stages one after the other, on one session."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

from prefect import Flow, flow
from prefect.client.orchestration import get_client
from prefect.settings import PREFECT_API_URL, temporary_settings
from prefect.task_runners import TaskRunner, ThreadPoolTaskRunner

from reelvec.configs import PipelineConfig
from reelvec.flows.clusters import check_loopback, open_cluster, slots
from reelvec.flows.console.logs import keep_logs_printable
from reelvec.flows.nodes import check_place
from reelvec.flows.prefect_engine import PrefectEngine
from reelvec.flows.stages import DECODING, STAGES, run_stages
from reelvec.flows.summary import ended, publish_plan, publish_summary
from reelvec.tasks.artifacts import Session
from reelvec.tasks.runs.outcome import RunSummary
from reelvec.tasks.runs.preflight import checked_config
from reelvec.tasks.runs.price import price_run
from reelvec.tasks.runs.receipts import StageReceipt
from reelvec.tasks.runs.rehearsal import rehearse_corpus
from reelvec.tasks.runs.retrying import RetryFilter
from reelvec.tasks.runs.settled import choose_stages

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
    check_loopback(config)
    session = Session(config, accepts_losses=accept_losses, rehash=rehash, refreshes=refresh)
    chosen = choose_stages(only, hears=config.hears)
    check_place(session, stages=chosen)
    rehearse_corpus(session, stages=chosen)
    if not refresh:  # whoever refreshes has shown what is due
        looking = Session(config, rehash=rehash, plans=True)
        publish_plan(price_run(looking, stages=chosen, retry=retry))
    with _shared_server(), open_cluster(config) as address, _current_client(address):

        def run_stage(name: str) -> StageReceipt:
            runner = _task_runner(config, address=address, decodes=name in DECODING)
            stage = _stage_flow(name, session, address).with_options(task_runner=runner)
            return stage(config, retry)

        summary = run_stages(session, chosen, run_stage=run_stage)
    publish_summary(summary)
    return ended(summary)


def _stage_flow(name: str, session: Session, address: str | None) -> Flow[..., StageReceipt]:
    """The stage `name` as a flow that works with what `session` has opened.

    A session is no parameter: Prefect would try to write it down as JSON.
    """

    @flow(name=name, flow_run_name=f"{name} {{config.name}}")
    def stage(config: PipelineConfig, retry: RetryFilter | None = None) -> StageReceipt:
        return STAGES[name](session, retry, PrefectEngine(config.name, dask_address=address))

    return stage


def _task_runner(config: PipelineConfig, *, address: str | None, decodes: bool) -> TaskRunner[Any]:
    """Threads, one more where shards decode (`Engine.map`), or the Dask cluster at that address."""
    if address is None:
        return ThreadPoolTaskRunner(max_workers=slots(config) + decodes)
    from prefect_dask.task_runners import DaskTaskRunner

    return DaskTaskRunner(address=address)


def _current_client(address: str | None) -> AbstractContextManager[Any]:
    """Prefect's runner takes the current client, whatever address it is given: the run has its own.

    A notebook's, of another cluster, would have the shards, or one that never connected.
    """
    if address is None:
        return nullcontext()
    from reelvec.flows.dask_shards import open_client

    return open_client(address)


@contextmanager
def _shared_server() -> Iterator[None]:
    """Name the server in the settings tasks carry along, also where Prefect serves itself.

    Without a name each Dask worker would start a server of its own on the same SQLite file.
    """
    with get_client(sync_client=True) as client:
        url = str(client.api_url)
    with temporary_settings({PREFECT_API_URL: url}):
        yield
