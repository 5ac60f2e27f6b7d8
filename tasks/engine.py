"""The one door to Prefect's task engine: no other module imports `prefect.task`.

What is promised on a retry: nothing about side effects. Prefect may run a task again after a
worker died (prefect-dask re-runs even finished ones), so every task here begins by looking for its
committed output in the store and returns that. The store is the truth; Prefect's result cache is
switched off, since a cached pointer can outlive the bytes it points at.

A task returns a receipt, a small record of plain values, never arrays.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, ParamSpec, TypeVar

from prefect import Task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State, TaskRun
from prefect.concurrency.sync import concurrency

from reelvec.tasks.shards import RETRY_DELAYS, is_worth_retrying

__all__ = ["gpu_slot", "task"]

P = ParamSpec("P")
R = TypeVar("R")


def _worth_retrying(_task: Task[..., Any], _run: TaskRun, state: State[Any]) -> bool:
    return is_worth_retrying(state.result(raise_on_failure=False))


def task(function: Callable[P, R]) -> Task[P, R]:
    """`function` as a Prefect task named after it, retried twice with growing delays.

    Its runs are named by their `shard`, so that a run's time line can be read.
    """
    return Task(
        function,
        task_run_name="{shard.label}",
        cache_policy=NO_CACHE,
        retries=len(RETRY_DELAYS),
        retry_delay_seconds=list(RETRY_DELAYS),
        retry_condition_fn=_worth_retrying,
    )


@contextmanager
def gpu_slot(device: str) -> Iterator[None]:
    """Hold the global concurrency limit `gpu` while the block runs, where `device` means one.

    `reelvec bootstrap` makes the limit; without it nothing is held.
    """
    import torch

    if device == "cpu" or not torch.cuda.is_available():
        yield
        return
    with concurrency("gpu", occupy=1, strict=False):
        yield
