"""Where shards run, by one config word: threads of this machine, or a Dask cluster.

A shard drives its own sandboxed decode process, so threads are enough on one machine.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from reelvec.configs import ConfigError, PipelineConfig
from reelvec.flows.console.output import complain
from reelvec.storage.errors import ReelvecError
from reelvec.tasks.loopback import loopback_fault
from reelvec.tasks.temporary import temporary_folder

__all__ = ["check_loopback", "open_cluster", "slots"]

_ANSWER_SECONDS = 10
_DASK = {
    # a shard starts decode processes of its own, which a daemonic worker may not
    "distributed.worker.daemon": False,
    # long native calls hold the GIL; a silent worker is not a dead one
    "distributed.scheduler.worker-ttl": None,
}


def slots(config: PipelineConfig) -> int:
    """Shards worked on at once on this machine."""
    return config.workers or os.cpu_count() or 1


def check_loopback(config: PipelineConfig) -> None:
    """Where processes of this machine must reach each other, see that they can.

    Raises:
        ReelvecError: with the option that does without.
    """
    instead = []
    if config.runner == "dask" and config.dask_address is None:
        instead.append("runner=threads")
    if config.train.processes > 1:
        instead.append("train.processes=1")
    fault = loopback_fault() if instead else ""
    if fault:
        raise ReelvecError(
            f"the processes of this run meet over loopback, and 127.0.0.1 cannot be reached:"
            f" {fault}; bring it up (ip link set lo up), or set {' and '.join(instead)}"
        )


@contextmanager
def open_cluster(config: PipelineConfig) -> Iterator[str | None]:
    """Start a local Dask cluster where one is wanted and none is named; one for a whole run.

    Whoever reaches a Dask scheduler or worker runs code as this user: these listen on loopback.

    Yields:
        The scheduler's address; None: no Dask.

    Raises:
        ConfigError: no scheduler answers at the address that is named.
    """
    if config.runner != "dask":
        yield None
        return
    if config.dask_address is not None:
        _check_scheduler(config.dask_address)
        yield config.dask_address
        return
    import dask
    from distributed import LocalCluster

    with (
        temporary_folder() as folder,
        dask.config.set(_DASK | {"temporary-directory": str(folder)}),
        LocalCluster(  # type: ignore[no-untyped-call]
            n_workers=slots(config),
            threads_per_worker=1,
            host="127.0.0.1",
            dashboard_address=None,
            memory_limit=0,  # Dask has none of our data to spill, and counts mapped files as memory
        ) as cluster,
    ):
        try:
            yield cluster.scheduler_address
        except BaseException:  # nobody waits for what the workers are at; Dask would, for seconds
            _kill_workers(cluster)
            raise


def _check_scheduler(address: str) -> None:
    from reelvec.flows.dask_shards import identity_at

    try:
        found = identity_at(address, seconds=_ANSWER_SECONDS)
        words = f"a {found['type']} of Dask's does"
    except MemoryError:
        found, words = {}, "what does speaks another protocol"
    except (OSError, ValueError, TypeError, FutureWarning) as error:
        found, words = {}, " ".join(str(error).split()) or "no answer came"
    if found.get("type") != "Scheduler":
        raise ConfigError(
            f"dask_address ({address}): no Dask scheduler answers there ({words}); start one with"
            " `dask scheduler`, correct the address (tcp://HOST:8786; 8787 is its page), or leave"
            " it out for a cluster on this machine",
            source="dask_address",
            key="dask_address",
        )
    workers = found["workers"].values()
    limits = [worker["memory_limit"] for worker in workers if worker["memory_limit"]]
    if limits:
        complain(
            f"dask_address ({address}): {len(limits)} of {len(workers)} workers have a memory limit"
            f" of Dask's (the least {min(limits) >> 20} MiB). Dask counts files that are mapped as"
            " memory, and near the limit it pauses a worker or ends it; start workers with"
            " --memory-limit 0"
        )


def _kill_workers(cluster: Any) -> None:
    for nanny in cluster.workers.values():
        nanny.auto_restart = False
        if nanny.pid:
            with suppress(ProcessLookupError):
                os.kill(nanny.pid, signal.SIGKILL)
