"""Shards in threads of this process, or on a Dask cluster, without a Prefect server."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from typing import Any

from reelvec.flows.console.output import complain
from reelvec.flows.engine import ShardFunction, ShowProgress
from reelvec.tasks.artifacts import SnapshotRef
from reelvec.tasks.shards import RETRY_DELAYS, Shard, ShardReceipt, is_worth_retrying

__all__ = ["OwnEngine", "open_own_engine"]

Submit = Callable[[Callable[[Shard[Any]], ShardReceipt], Sequence[Shard[Any]]], Iterator[Any]]
"""Gives all shards to workers at once, and yields their futures as they are done."""


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
    ) -> Iterator[ShardReceipt]:
        """The shards' receipts; where one fails for good, those not begun are dropped."""
        for future in self._submit(partial(_attempt, function, target, dict(shared)), shards):
            yield future.result()

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
        pool = ThreadPoolExecutor(threads, thread_name_prefix="reelvec-shard")
        try:
            yield OwnEngine(partial(_in_threads, pool))
        finally:
            pool.shutdown(cancel_futures=True)
        return
    from distributed import Client

    with Client(dask_address) as client:  # type: ignore[no-untyped-call]
        yield OwnEngine(partial(_on_dask, client), dask_address=dask_address)


def _in_threads(
    pool: ThreadPoolExecutor,
    work: Callable[[Shard[Any]], ShardReceipt],
    shards: Sequence[Shard[Any]],
) -> Iterator[Future[ShardReceipt]]:
    futures = [pool.submit(work, shard) for shard in shards]
    try:
        yield from as_completed(futures)
    finally:
        for future in futures:
            future.cancel()


def _on_dask(
    client: Any, work: Callable[[Shard[Any]], ShardReceipt], shards: Sequence[Shard[Any]]
) -> Iterator[Any]:
    from distributed import as_completed as done

    futures = client.map(work, list(shards), pure=False)
    try:
        yield from done(futures)  # type: ignore[no-untyped-call]
    finally:
        client.cancel(futures)


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
