"""Shards on the workers of a Dask cluster: a window of them at a time, each where it computes.

What the scheduler holds follows from its workers, not from the corpus: a shard holds its items, and
those of ten million videos are gigabytes.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import islice
from typing import Any

from distributed import Client, Security, as_completed, rpc
from distributed.comm.addressing import resolve_address
from distributed.scheduler import KilledWorker

from reelvec.storage.errors import ReelvecError
from reelvec.tasks.shards import Shard, ShardReceipt

__all__ = [
    "GPU",
    "identity_at",
    "open_client",
    "results_of",
    "wants_gpu",
    "work_on",
    "workers_of",
]

GPU = "GPU"
"""The resource that a worker names by `dask worker --resources GPU=1`."""
LEAST_HELD, HELD_A_THREAD = 256, 4
"""Shards that the scheduler holds: enough that no worker waits for the next, and that a cluster
which grows with its work sees that there is more."""


@contextmanager
def open_client(scheduler: str) -> Iterator[Client]:
    """A client of that scheduler, the current one of the block and of nothing else.

    A client is the default of its whole process by itself: of a notebook that has another cluster,
    and, where it failed to connect, of the next run.
    """
    with (
        Client(scheduler, set_as_default=False) as client,  # type: ignore[no-untyped-call]
        client.as_current(),
    ):
        yield client


def identity_at(address: str, *, seconds: float) -> Mapping[str, Any]:
    """What answers at an address of Dask's says of itself: its type, a scheduler's workers.

    A client would wait for ever for the first word of what is no server of Dask's.

    Args:
        address: of the server.
        seconds: until it has answered.

    Raises:
        OSError: nobody answers there in time.
        ValueError: no address, or none of a kind that Dask knows; ucx:// is a FutureWarning.
        TypeError: tls:// without certificates.
        MemoryError: another protocol is spoken there; its first bytes were taken for a length.
    """
    resolve_address(address)
    how = Security().get_connection_args("client")  # type: ignore[no-untyped-call]

    async def ask() -> Any:
        async with rpc(address, connection_args=how) as server:  # type: ignore[no-untyped-call]
            return await server.identity()

    with ThreadPoolExecutor(1) as pool:  # a notebook's thread has a loop that runs
        answer = pool.submit(asyncio.run, asyncio.wait_for(ask(), seconds))
        found: Mapping[str, Any] = answer.result()
    return found


def _gpu_resources(client: Client, device: str) -> dict[str, float]:
    """What a task for `device` is submitted with: one GPU, where workers name them.

    Args:
        client: of the cluster.
        device: cpu, cuda or auto.
    """
    named = any(worker["resources"].get(GPU) for worker in workers_of(client).values())
    return {GPU: 1.0} if named and device != "cpu" else {}


def workers_of(client: Client) -> Mapping[str, Mapping[str, Any]]:
    """What the scheduler says now of each of its workers, by address.

    The client's own `scheduler_info` keeps the answer where its heartbeat puts one without workers.
    """
    scheduler: Any = client.scheduler
    found = client.sync(scheduler.identity, n_workers=-1)  # type: ignore[no-untyped-call]
    workers: Mapping[str, Mapping[str, Any]] = found["workers"]
    return workers


def wants_gpu(scheduler: str, device: str) -> bool:
    """Whether work for `device` goes to the workers that name a GPU, and there is one."""
    with open_client(scheduler) as client:
        return bool(_gpu_resources(client, device))


def work_on(
    client: Client,
    work: Callable[[Shard[Any]], ShardReceipt],
    shards: Sequence[Shard[Any]],
    *,
    device: str,
) -> Iterator[ShardReceipt]:
    """Give the shards to workers, and yield what each came to as it is done.

    What is done by now is fetched together: one request, however many ended while it was away.

    Args:
        client: of the cluster.
        work: done to each.
        shards: in the order they are begun in.
        device: that the work computes on.

    Raises:
        ReelvecError: worker after worker died at a shard.
    """
    resources: Mapping[str, float] = _gpu_resources(client, device) if shards else {}
    left, held = iter(shards), set[Any]()
    done = as_completed()  # type: ignore[no-untyped-call]
    try:
        while True:
            room = _most_held(client) - len(held)
            # now and then: shards that are sent together cost less than one by one
            some = list(islice(left, room)) if room >= LEAST_HELD // 4 or not held else []
            if some:
                begun = client.map(work, some, pure=False, resources=dict(resources))
                held.update(begun)
                done.update(begun)  # type: ignore[no-untyped-call]
            if not held:
                return
            finished = done.next_batch()  # type: ignore[no-untyped-call]
            held.difference_update(finished)
            results = results_of(client, finished)
            finished.clear()  # what is fetched leaves the scheduler before more comes to it
            yield from results
    finally:
        client.cancel(list(held))  # type: ignore[no-untyped-call]


def _most_held(client: Client) -> int:
    threads: Mapping[str, int] = client.nthreads()  # type: ignore[no-untyped-call]
    return max(LEAST_HELD, HELD_A_THREAD * sum(threads.values()))


def results_of(client: Any, futures: Sequence[Any]) -> list[ShardReceipt]:
    """What these shards, which are done, came to.

    Raises:
        ReelvecError: worker after worker died at one of them.
    """
    try:
        receipts: list[ShardReceipt] = client.gather(list(futures))
    except KilledWorker as error:
        raise ReelvecError(
            f"{error.allowed_failures + 1} Dask workers died, one after the other, at the same"
            f" shard, the last one at {error.last_worker.address}; see their logs (too little"
            " memory ends a worker without a word), then run again: what is committed stays."
            " Where machines are taken away at any time, start the scheduler with"
            " DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES=100"
        ) from error
    return receipts
