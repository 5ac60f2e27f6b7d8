"""What a stage needs of whoever runs it: shards worked on, a GPU held, words passed on.

Inside a flow that is Prefect; on a command line without a server this process does it by itself.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol

from reelvec.tasks.artifacts import SnapshotRef
from reelvec.tasks.shards import Shard, ShardReceipt

__all__ = ["Engine", "ShardFunction", "ShowProgress"]

ShardFunction = Callable[..., ShardReceipt]
"""Works on one shard: (target, shard, **shared)."""

ShowProgress = Callable[[float], None]
"""Is told how much of a stage is done, in percent."""


class Engine(Protocol):
    """Runs the shards of a run's stages.

    Attributes:
        dask_address: of the scheduler whose workers have the shards; None: this process.
    """

    dask_address: str | None

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
        """The receipts of all shards, in the order they are done.

        A shard that fails is tried again, twice; what it then raises is raised here.

        Args:
            function: called once a shard, here or in another process.
            target: the artifact that the shards become parts of.
            shards: the work.
            shared: keywords that each call is given.
            device: that the calls compute on; workers of a cluster that name a GPU have those for
                it (auto, cuda), one a GPU at once.
            decodes: whether calls hold a place while they decode (tasks.decoding.places): one more
                is then at work in this process, and writes while the others decode.
        """
        ...

    def gpu_slot(self, device: str) -> AbstractContextManager[None]:
        """Keep others off the GPU while the block runs, where `device` means one."""
        ...

    def progress(self, title: str) -> ShowProgress:
        """Where the progress of a stage is shown, beside the terminal."""
        ...

    def numbers(
        self, title: str, line: str, *, rows: Sequence[Mapping[str, float | str]] = ()
    ) -> None:
        """Where the numbers of a stage at work are shown, beside the terminal.

        Args:
            title: of the stage.
            line: the latest, for a log.
            rows: all so far, as a table; none: there is nothing new for it.
        """
        ...
