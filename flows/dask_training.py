"""Training on the workers of a Dask cluster: the one that extracts also trains.

Each of `train.nodes` workers starts `train.processes` processes. The first of them meets the others
at its own address, the one that Dask knows it by, and commits; its events come back through Dask. A
task that nobody wants any more (the run ended, or was killed) ends its processes.
"""

from __future__ import annotations

import os
import queue
import secrets
import socket
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import Any
from urllib.parse import urlsplit

from distributed import Client, Future, get_worker

from reelvec.configs.addresses import Address, parse_address
from reelvec.configs.schema import TrainConfig
from reelvec.flows.dask_shards import GPU, open_client, wants_gpu, workers_of
from reelvec.tasks.training.errors import TrainingError
from reelvec.tasks.training.place import Place
from reelvec.tasks.training.running import Given, RunTraining, run_at, run_here, take_part
from reelvec.tasks.training.spec import TrainSpec
from reelvec.tasks.training.supervisor import OnProgress

__all__ = ["run_on_dask", "where_to_train"]

_RESTARTS = 2
_SECONDS_BETWEEN_LOOKS = 0.2
_LAST_WORDS_SECONDS = 10.0


class _WorkerIsGoneError(Exception):
    """A worker of the cluster died while it trained."""


def where_to_train(scheduler: str, options: TrainConfig) -> RunTraining:
    """On workers, where several nodes are to train or one names a GPU; else beside the run."""
    if options.nodes == 1 and not wants_gpu(scheduler, options.device):
        return run_here
    return partial(run_on_dask, scheduler)


def run_on_dask(scheduler: str, spec: TrainSpec, *, on_progress: OnProgress) -> None:
    """Train on workers of the cluster; where one dies, others go on from the last checkpoint.

    Args:
        scheduler: its address.
        spec: what is trained, and how; train.nodes is the number of workers.
        on_progress: is told the events of the first worker's processes.

    Raises:
        TrainingError: too few workers, or what the training itself came to.
    """
    left = _RESTARTS

    def hear(event: dict[str, Any]) -> None:
        nonlocal left
        if event["event"] == "checkpoint":  # it gets on: workers may come and go for weeks
            left = _RESTARTS
        on_progress(event)

    with open_client(scheduler) as client:
        while True:
            try:
                _run_once(client, spec, on_progress=hear)
                return
            except _WorkerIsGoneError as gone:
                if left <= 0:
                    raise TrainingError(f"{gone}; the last checkpoint stands") from None
                left -= 1
                on_progress({"event": "restart", "code": 0, "message": str(gone)})


def _run_once(client: Client, spec: TrainSpec, *, on_progress: OnProgress) -> None:
    workers = _chosen(client, spec.train.nodes, patience=60 * spec.train.hang_minutes)
    places = _places(client, workers, spec.train)
    topic = f"reelvec-train-{secrets.token_hex(8)}"
    events: queue.Queue[dict[str, Any]] = queue.Queue()
    client.subscribe_topic(topic, lambda event: events.put(event[1][0]))  # type: ignore[no-untyped-call]
    body = spec.model_dump_json()
    futures: list[Future[None]] = [
        client.submit(_train, body, place, topic, workers=[worker], pure=False, retries=0)
        for worker, place in zip(workers, places, strict=True)
    ]
    try:
        while not _is_over(futures):
            _tell(events, on_progress)
            _check_alive(client, workers)
            time.sleep(_SECONDS_BETWEEN_LOOKS)
        _raise_failure(futures)
        _tell(events, on_progress)
    finally:
        client.cancel(futures)  # type: ignore[no-untyped-call]
        client.unsubscribe_topic(topic)  # type: ignore[no-untyped-call]


def _is_over(futures: Sequence[Future[None]]) -> bool:
    """Whether all have ended well, or one has not."""
    statuses = [future.status for future in futures]
    return "error" in statuses or all(status == "finished" for status in statuses)


def _raise_failure(futures: Sequence[Future[None]]) -> None:
    """What failed, the first one's words rather: others mostly repeat them, and may be sooner."""
    failed = [future for future in futures if future.status == "error"]
    if failed and failed[0] is not futures[0]:
        with suppress(TimeoutError):
            futures[0].result(timeout=_LAST_WORDS_SECONDS)
    for future in failed:
        future.result()


def _tell(events: queue.Queue[dict[str, Any]], on_progress: OnProgress) -> None:
    with suppress(queue.Empty):
        while True:
            on_progress(events.get_nowait())


def _check_alive(client: Client, workers: Sequence[str]) -> None:
    known = workers_of(client)
    gone = [worker for worker in workers if worker not in known]
    if gone:
        raise _WorkerIsGoneError(f"the Dask worker {', '.join(gone)} is gone, where ranks trained")


def _chosen(client: Client, count: int, *, patience: float) -> list[str]:
    """So many workers, those of a machine side by side; first those that have a GPU, they say.

    What comes in a lost one's place may take its time: `patience`, seconds.
    """
    with suppress(TimeoutError):
        client.wait_for_workers(count, timeout=patience)
    known = workers_of(client)
    if len(known) < count:
        raise TrainingError(
            f"train.nodes ({count}) is more than the workers of the Dask cluster ({len(known)});"
            " start more of them, or set train.nodes"
        )
    ordered = sorted(known, key=lambda name: (not known[name]["resources"].get(GPU), name))
    return ordered[:count]


def _places(client: Client, workers: Sequence[str], options: TrainConfig) -> list[Place]:
    hosts = [str(urlsplit(worker).hostname) for worker in workers]
    told = client.run(_devices_and_port, hosts[0], workers=list(workers))
    port = told[workers[0]][1]
    address = parse_address(options.address) if options.address else Address(hosts[0], port)
    # workers that are shown other GPUs than their neighbours have each their own
    share = [(host, told[worker][0]) for host, worker in zip(hosts, workers, strict=True)]
    before: Counter[tuple[str, str]] = Counter()
    places = []
    for index, shown in enumerate(share):
        places.append(
            Place(
                index=index,
                count=len(workers),
                processes=options.processes,
                first_local=before[shown] * options.processes,
                local_world=hosts.count(hosts[index]) * options.processes,
                address=address,
            )
        )
        before[shown] += 1
    return places


def _devices_and_port(host: str) -> tuple[str, int]:
    """On a worker: the GPUs that it is shown, and a port that is free at this address."""
    port = 0
    with suppress(OSError), socket.create_server((host, 0)) as server:
        port = int(server.getsockname()[1])
    return os.environ.get("CUDA_VISIBLE_DEVICES", ""), port


def _train(spec_json: str, place: Place, topic: str) -> None:
    """On a worker: its processes of the training, to their end."""
    spec = TrainSpec.model_validate_json(spec_json)
    worker = get_worker()
    unwanted = _unwanted(worker)
    if place.is_first:
        run_at(
            place,
            spec,
            on_progress=lambda event: worker.log_event(topic, [event]),  # to a dict Dask adds words
            stopped=unwanted,
        )
        return
    take_part(
        place,
        given=Given(store=spec.checkpoint.root, model=spec.model, train=spec.train),
        is_over=lambda _: unwanted(),
        listen=str(urlsplit(worker.address).hostname),
    )


def _unwanted(worker: Any) -> Callable[[], bool]:
    """Whether the scheduler has forgotten this task: it was cancelled, or its client is gone."""
    key = worker.get_current_task()

    def unwanted() -> bool:
        task = worker.state.tasks.get(key)
        return task is None or task.state == "cancelled"

    return unwanted
