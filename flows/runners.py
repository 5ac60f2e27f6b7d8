"""Where shard tasks run, by one config word: threads of this machine, or a Dask cluster.

A shard task drives its own sandboxed decode process, so threads are enough on one machine. Flows
never mention a cluster; they are bound to a runner at launch with ``with_options``.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import dask
from distributed import LocalCluster
from prefect.client.orchestration import get_client
from prefect.settings import PREFECT_API_URL, temporary_settings
from prefect.task_runners import TaskRunner, ThreadPoolTaskRunner
from prefect_dask.task_runners import DaskTaskRunner

from reelvec.configs import PipelineConfig

__all__ = ["open_runner", "task_runner"]

_DASK = {
    # a shard task starts decode processes of its own, which a daemonic worker may not
    "distributed.worker.daemon": False,
    # long native calls hold the GIL; a silent worker is not a dead one
    "distributed.scheduler.worker-ttl": None,
}


def slots(config: PipelineConfig) -> int:
    """Shards worked on at once on this machine."""
    return config.workers or os.cpu_count() or 1


def task_runner(config: PipelineConfig) -> TaskRunner[Any]:
    """The runner `config` names; with `dask`, an address must be known (see `open_runner`)."""
    if config.runner == "dask":
        return DaskTaskRunner(address=config.dask_address)
    return ThreadPoolTaskRunner(max_workers=slots(config))


@contextmanager
def open_runner(config: PipelineConfig) -> Iterator[PipelineConfig]:
    """Start a local Dask cluster where one is wanted and none is named; one for a whole run.

    Yields:
        The config to go on with: the same, or with the new cluster's address.
    """
    if config.runner != "dask" or config.dask_address is not None:
        yield config
        return
    with (
        _shared_server(),
        dask.config.set(_DASK),
        LocalCluster(  # type: ignore[no-untyped-call]
            n_workers=slots(config), threads_per_worker=1, dashboard_address=None
        ) as cluster,
    ):
        yield config.model_copy(update={"dask_address": cluster.scheduler_address})


@contextmanager
def _shared_server() -> Iterator[None]:
    """Name the server in the settings tasks carry along, also where Prefect serves itself.

    Without a name each Dask worker would start a server of its own on the same SQLite file.
    """
    with get_client(sync_client=True) as client:
        url = str(client.api_url)
    with temporary_settings({PREFECT_API_URL: url}):
        yield
