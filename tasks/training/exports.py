"""The curves of a training in files that other programs read: CSV, Parquet, TensorBoard's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq

from reelvec.storage.commits.artifact import Snapshot
from reelvec.tasks.training.committed import checkpoints
from reelvec.tasks.training.curves import StepPoint, curve_table, read_curve
from reelvec.tasks.training.event_files import TensorBoard

__all__ = ["Curves", "curves_at", "write_curves", "write_events"]


@dataclass(frozen=True)
class Curves:
    """What a training came to, step by step and epoch by epoch."""

    points: Sequence[StepPoint]
    history: Sequence[Mapping[str, float]]

    @property
    def steps(self) -> pa.Table:
        """A row a step: step, epoch, loss, grad_norm, lr_<part> …, seconds.

        Empty where the training was finished before curves were kept.
        """
        return curve_table(self.points)

    @property
    def epochs(self) -> pa.Table:
        """A row an epoch: epoch, step, loss, lr, and R@1 … of the selection split."""
        names = dict.fromkeys(name for point in self.history for name in point)
        columns = {
            name: pa.array([point.get(name) for point in self.history], pa.float64())
            for name in names
        }
        return pa.table(columns)


def curves_at(snapshot: Snapshot) -> Curves:
    """The curves of a checkpoint artifact, of a training that is not finished too."""
    refs = checkpoints(snapshot)
    return Curves(read_curve(snapshot), refs[-1].progress.history if refs else ())


def write_curves(curves: Curves, folder: Path) -> list[Path]:
    """Write steps and epochs into a folder, each as .csv and .parquet, in place of those there."""
    written = []
    for name, table in (("steps", curves.steps), ("epochs", curves.epochs)):
        pa_csv.write_csv(table, folder / f"{name}.csv")
        pq.write_table(table, folder / f"{name}.parquet")
        written += [folder / f"{name}.csv", folder / f"{name}.parquet"]
    return written


def write_events(curves: Curves, folder: Path) -> None:
    """Write event files for `tensorboard --logdir`, which must be installed."""
    watch = TensorBoard(folder)
    ends = {int(point["step"]): point for point in curves.history}
    watch({"event": "start", "step": 0})
    for point in curves.points:
        watch({"event": "step", **point.as_dict()})
        if point.step in ends:
            watch({"event": "epoch", **ends.pop(point.step)})
    for left in ends.values():  # of a training that kept no curve
        watch({"event": "epoch", **left})
    watch({"event": "end", "error": ""})
