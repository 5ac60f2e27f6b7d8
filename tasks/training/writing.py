"""Checkpoints are written beside the training: a copy is taken, and a thread commits it.

The training waits for the copy alone, and for the checkpoint before where that is still being
written: there is never more than one copy. What a kill leaves is what it left without a thread.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import replace
from types import TracebackType
from typing import Self

import torch
from torch import Tensor

from reelvec.tasks.training.checkpoints import Contents

__all__ = ["CheckpointWriter"]


class CheckpointWriter:
    """Commits checkpoints, one after the other, in a thread.

    As a context it ends when the last one is committed.

    Args:
        commit: puts a checkpoint in force; is called in the thread.
    """

    def __init__(self, commit: Callable[[Contents], object]) -> None:
        self._commit = commit
        self._copies: dict[str, Tensor] = {}
        self._thread: threading.Thread | None = None
        self._failure: BaseException | None = None
        self._committed: list[int] = []

    def put(self, contents: Contents) -> None:
        """Take a copy and begin to commit it; waits for the checkpoint before.

        Raises:
            Exception: what that one has failed with.
        """
        self._join()
        self.check()
        self._copies = _copied(contents.tensors, into=self._copies)
        copy = replace(contents, tensors=self._copies)
        self._thread = threading.Thread(
            target=self._write, args=(copy,), name="reelvec-checkpoint", daemon=True
        )
        self._thread.start()

    def check(self) -> None:
        """See whether a checkpoint could not be committed; does not wait.

        Raises:
            Exception: what it has failed with; said once.
        """
        failure, self._failure = self._failure, None
        if failure is not None:
            raise failure

    def committed(self) -> list[int]:
        """Steps of the checkpoints that were committed since this was last asked."""
        found, self._committed = self._committed, []
        return found

    def _write(self, contents: Contents) -> None:
        try:
            self._commit(contents)
            self._committed.append(contents.progress.step)
        except BaseException as error:  # noqa: BLE001 - raised again in the training's thread
            self._failure = error

    def _join(self) -> None:
        if self._thread is not None:
            self._thread.join()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        self._join()
        if error is None:  # what ended the training is told, not what follows from it
            self.check()


def _copied(tensors: Mapping[str, Tensor], *, into: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Copies on the host, in the memory of those before: fresh memory costs more than the copy."""
    return {name: _copy(tensor, into.get(name)) for name, tensor in tensors.items()}


def _copy(tensor: Tensor, before: Tensor | None) -> Tensor:
    if before is None or before.shape != tensor.shape or before.dtype != tensor.dtype:
        pinned = tensor.is_cuda  # the device then copies at its full speed
        before = torch.empty(tensor.shape, dtype=tensor.dtype, pin_memory=pinned)
    return before.copy_(tensor.detach())
