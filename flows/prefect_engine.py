"""Shards as Prefect's task runs, progress and numbers as a Prefect server keeps them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, cast
from uuid import UUID

from prefect import get_run_logger, unmapped
from prefect.artifacts import (
    create_progress_artifact,
    create_table_artifact,
    update_progress_artifact,
)
from prefect.futures import as_completed

from reelvec.flows.engine import ShardFunction, ShowProgress
from reelvec.flows.showing import key_of
from reelvec.tasks.artifacts import SnapshotRef
from reelvec.tasks.engine import gpu_slot, task
from reelvec.tasks.shards import Shard, ShardReceipt

__all__ = ["PrefectEngine"]

WAVE = 256
"""Shards submitted at once: a task run costs 40 KB of memory in the client."""


class PrefectEngine:
    """The engine inside a flow run: its task runner has the shards.

    Args:
        run: name of the run, for the keys of artifacts.
        dask_address: of the scheduler whose workers have them; None: threads of this process.
    """

    def __init__(self, run: str, *, dask_address: str | None = None) -> None:
        self._run = run
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
        """One task run a shard, in waves; each is in the server's run graph."""
        del decodes  # the stage's task runner has its threads
        shard_task = task(function)
        for start in range(0, len(shards), WAVE):
            with self._on(device):
                futures = shard_task.map(
                    unmapped(target),
                    list(shards[start : start + WAVE]),
                    **cast("dict[str, Any]", {key: unmapped(v) for key, v in shared.items()}),
                )
            for future in as_completed(futures):
                yield future.result()

    def _on(self, device: str) -> AbstractContextManager[Any]:
        """While the block submits, what it submits goes to workers with a GPU, if any names one."""
        if self.dask_address is None or device == "cpu":
            return nullcontext()
        from dask.base import annotate

        from reelvec.flows.dask_shards import GPU, wants_gpu

        wanted = wants_gpu(self.dask_address, device)
        return annotate(resources={GPU: 1}) if wanted else nullcontext()

    def gpu_slot(self, device: str) -> AbstractContextManager[None]:
        """Hold the server's concurrency limit `gpu`."""
        return gpu_slot(device)

    def progress(self, title: str) -> ShowProgress:
        """A progress artifact; an update costs an API call and an event."""
        key = key_of(f"progress-{title}", run=self._run)
        words = f"{self._run}: {title}, percent"
        artifact = cast(UUID, create_progress_artifact(0.0, key=key, description=words))

        def show(percent: float) -> None:
            update_progress_artifact(artifact, progress=round(percent, 1))

        return show

    def numbers(
        self, title: str, line: str, *, rows: Sequence[Mapping[str, float | str]] = ()
    ) -> None:
        """A line of the run's log; rows are the next version of a table artifact."""
        get_run_logger().info(line)
        if rows:
            key = key_of(f"numbers-{title}", run=self._run)
            create_table_artifact([dict(row) for row in rows], key=key, description=line)
