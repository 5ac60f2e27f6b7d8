"""One process of a training run: ``python -m reelvec.tasks.training.worker SPEC.json``."""

from __future__ import annotations

import os
import sys
import traceback
from pathlib import Path

import torch

from reelvec.models.errors import ModelError
from reelvec.storage.errors import ReelvecError
from reelvec.storage.frames.reader import FrameReader
from reelvec.tasks.imports import leave_pandas
from reelvec.tasks.training.committed import checkpoints
from reelvec.tasks.training.curves import read_curve
from reelvec.tasks.training.events import emit, emit_beat
from reelvec.tasks.training.guard import die_with_parent
from reelvec.tasks.training.heartbeat import Heartbeat
from reelvec.tasks.training.items import read_items
from reelvec.tasks.training.loop import Trainer
from reelvec.tasks.training.processes import Group, uses_gpu
from reelvec.tasks.training.spec import TrainSpec, read_spec

__all__ = ["main"]


def main(arguments: list[str]) -> int:
    """Train as the spec says; 0 when the run is finished, 1 with an `error` event otherwise."""
    die_with_parent()
    leave_pandas()
    heart = Heartbeat()
    try:
        spec = read_spec(Path(arguments[0]))
        heart.start(_rank(), emit_beat, counts_cpu=not uses_gpu(spec.train.device))
        _set_up(spec)
        _train(spec, heart)
    except (ReelvecError, ModelError) as error:
        emit("error", message=str(error), kind=type(error).__name__)
        return 1
    except Exception as error:  # noqa: BLE001 - the supervisor decides whether to try again
        traceback.print_exc()
        emit("crash", message=f"{type(error).__name__}: {error}")
        return 1
    return 0


def _train(spec: TrainSpec, heart: Heartbeat) -> None:
    artifact, frames = spec.checkpoint.artifact(), spec.frames.open()
    stored_size = int(frames.artifact.identity["settings"]["size"])
    group = Group.join(spec.train.device, heart=heart)
    latest = artifact.latest()
    number = group.tell(latest.number if latest else 0)
    if not number:
        raise ReelvecError(f"{artifact!r} holds no training set")
    snapshot = artifact.at(number)
    reader = FrameReader(frames)  # opens no shard yet
    trainer = Trainer(
        spec, artifact=artifact, items=read_items(snapshot), reader=reader, group=group
    )
    trainer.check_size(stored_size)
    before = checkpoints(snapshot)
    if before:
        trainer.resume(before[-1], curve=read_curve(snapshot))
    trainer.run()
    reader.close()
    group.leave()


def _rank() -> int:
    return int(os.environ.get("RANK", "0"))


def _set_up(spec: TrainSpec) -> None:
    """Threads and determinism: the same run gives the same bits."""
    processes = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    torch.set_num_threads(spec.train.threads or max(1, (cores or 1) // processes))
    # CUDA has no deterministic form of some operations: there it is a wish
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.use_deterministic_algorithms(True, warn_only=spec.train.device != "cpu")
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    torch.backends.cudnn.benchmark = False


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
