"""Event files that TensorBoard reads, written by PyTorch's own writer; TensorFlow is not needed."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

__all__ = ["TensorBoard"]

_NAMES = {"loss": "train/loss", "grad_norm": "train/grad_norm", "seconds": "train/step_seconds"}
_NO_METRICS = ("event", "epoch", "step", "loss", "lr", "best_epoch", "stopped")


class TensorBoard:
    """A watcher: scalars by step, under train/, lr/ and selection/.

    Args:
        folder: of the event files; `tensorboard --logdir` takes it or one above it.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._writer: Any = None

    def __call__(self, record: Mapping[str, Any]) -> None:
        """Write one record (see `watching.Watcher`)."""
        event = record["event"]
        if event == "start":
            self._open(after=int(record["step"]))
        elif event == "step":
            self._add_step(record)
        elif event == "epoch":
            self._add_epoch(record)
        elif self._writer is not None:
            self._writer.close()

    def _open(self, *, after: int) -> None:
        """Begin a file; steps after this one, of a run that was killed, are not shown any more."""
        from torch.utils.tensorboard import SummaryWriter

        if self._writer is not None:  # the processes were started again
            self._writer.close()
        purge = after + 1 if after else None
        self._writer = SummaryWriter(str(self._folder), purge_step=purge)

    def _add_step(self, record: Mapping[str, Any]) -> None:
        for name, value in record.items():
            tag = f"lr/{name.removeprefix('lr_')}" if name.startswith("lr_") else _NAMES.get(name)
            if tag is not None:
                self._writer.add_scalar(tag, value, record["step"])

    def _add_epoch(self, record: Mapping[str, Any]) -> None:
        for name, value in record.items():
            if name not in _NO_METRICS:
                self._writer.add_scalar(f"selection/{name}", value, int(record["step"]))
        self._writer.flush()
