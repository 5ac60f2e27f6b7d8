"""Shards in threads of this process, or on a Dask cluster, without a Prefect server."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from typing import Any, Protocol

from reelvec.flows.console.output import complain
from reelvec.flows.engine import ShardFunction, ShowProgress
from reelvec.tasks.artifacts import SnapshotRef
from reelvec.tasks.shards import RETRY_DELAYS, Shard, ShardReceipt, is_worth_retrying

__all__ = ["OwnEngine", "open_own_engine"]

Work = Callable[[Shard[Any]], ShardReceipt]


class Submit(Protocol):
    """Gives shards to workers, and yields what each came to as it is done, or raises it."""

    def __call__(
        self, work: Work, shards: Sequence[Shard[Any]], *, device: str, decodes: bool
    ) -> Iterator[ShardReceipt]: ...


class OwnEngine:
    """The engine of a command line: nobody watches but the terminal.

    Args:
        submit: how shards get to those who work on them.
        dask_address: of the scheduler whose workers do; None: this process does.
    """

    def __init__(self, submit: Submit, *, dask_address: str | None = None) -> None:
        self._submit = submit
        self.dask_address = dask_address

    def map(
        self,
        function: ShardFunction,
        target: SnapshotRef,
        shards: Sequence[Shard[Any]],
        *,
        shared: Mapping[str, Any],
        device: str = "cpu",
        decodes: bool = False,
    ) -> Iterator[ShardReceipt]:
        """The shards' receipts; where one fails for good, those not begun are dropped."""
        work = partial(_attempt, function, target, dict(shared))
        yield from self._submit(work, shards, device=device, decodes=decodes)

    def gpu_slot(self, device: str) -> AbstractContextManager[None]:
        """Nothing: other runs are not known here."""
        del device
        return nullcontext()

    def progress(self, title: str) -> ShowProgress:
        """Shown nowhere but on the terminal."""
        del title
        return lambda _: None

    def numbers(
        self, title: str, line: str, *, rows: Sequence[Mapping[str, float | str]] = ()
    ) -> None:
        """Shown nowhere but on the terminal."""


@contextmanager
def open_own_engine(*, threads: int, dask_address: str | None) -> Iterator[OwnEngine]:
    """The engine while the block runs.

    Args:
        threads: shards worked on at once in this process.
        dask_address: of the scheduler whose workers have the shards instead; None: this process.
    """
    if dask_address is None:
        yield OwnEngine(partial(_in_threads, threads))
        return
    from reelvec.flows.dask_shards import open_client

    with open_client(dask_address) as client:
        yield OwnEngine(partial(_on_dask, client), dask_address=dask_address)


def _in_threads(
    threads: int, work: Work, shards: Sequence[Shard[Any]], *, device: str, decodes: bool
) -> Iterator[ShardReceipt]:
    del device  # this process has what it has
    pool = ThreadPoolExecutor(threads + decodes, thread_name_prefix="reelvec-shard")
    try:
        futures = [pool.submit(work, shard) for shard in shards]
        for future in as_completed(futures):
            yield future.result()
    finally:
        pool.shutdown(cancel_futures=True)


def _on_dask(
    client: Any, work: Work, shards: Sequence[Shard[Any]], *, device: str, decodes: bool
) -> Iterator[ShardReceipt]:
    from reelvec.flows.dask_shards import work_on

    del decodes  # a worker of the cluster has one shard at once
    yield from work_on(client, work, shards, device=device)


def _attempt(
    function: ShardFunction, target: SnapshotRef, shared: Mapping[str, Any], shard: Shard[Any]
) -> ShardReceipt:
    """The shard's receipt; tried again as Prefect's task runs are."""
    for delay in RETRY_DELAYS:
        try:
            return function(target, shard, **shared)
        except Exception as error:
            if not is_worth_retrying(error):
                raise
            complain(f"{shard.table}-{shard.name} failed and is tried again: {error}")
            time.sleep(delay)
    return function(target, shard, **shared)
