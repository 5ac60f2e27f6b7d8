"""Checkpoints as parts of an artifact: committed, pruned, resumed from.

The last few and the best are in force; the rest is superseded by the same snapshot that adds a new
one, and its bytes are given back soon after, at the latest when the training is finished: a long
run keeps a handful of files, not thousands. A checkpoint's bytes are a function of the run alone;
what the clock says is in its receipt. Its weights are plain: adapters are in them, and beside them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor

from reelvec.configs.schema import ModelConfig
from reelvec.models.clip.architecture import Architecture
from reelvec.models.family import RetrievalModel
from reelvec.models.lora import adapter_state, load_adapted, plain_state
from reelvec.models.training.moments import export_optimizer, import_optimizer
from reelvec.storage.commits.artifact import Artifact, Receipt, Snapshot
from reelvec.storage.records import Outcome
from reelvec.storage.upkeep.garbage import CHECKPOINT_GRACE_SECONDS, GcOptions, gc_artifact
from reelvec.storage.weights.checkpoints import (
    WEIGHTS,
    load_checkpoint,
    save_checkpoint,
    weights_hash,
)
from reelvec.tasks.identity import model_settings
from reelvec.tasks.training.committed import BY_ROW, CHECKPOINTS, CheckpointRef, checkpoints
from reelvec.tasks.training.curves import CURVE, StepPoint, longest, write_curve
from reelvec.tasks.training.identity import draws_noise
from reelvec.tasks.training.progress import Progress

__all__ = [
    "Contents",
    "TrainingState",
    "commit",
    "commit_contents",
    "contents_of",
    "model_from",
    "recover",
    "restore",
    "tidy",
]

_ADAPTERS = "adapters/"
_OPTIMIZER = "optimizer/"
_SCHEMA = "safetensors weights/* optimizer/*"


@dataclass(frozen=True)
class TrainingState:
    """What moves from one step to the next."""

    model: RetrievalModel
    optimizer: torch.optim.Optimizer | None
    progress: Progress


@dataclass(frozen=True)
class Contents:
    """What the checkpoint of a state holds.

    Attributes:
        tensors: by their names in the file; the state's own, unless they are copied.
        sizes: of the towers.
        optimizer: the plain numbers of its groups; None: there is no optimizer.
        progress: of the run.
        origins: what the training read beside frames; stands in the receipt.
    """

    tensors: Mapping[str, Tensor]
    sizes: dict[str, int]
    optimizer: dict[str, Any] | None
    progress: Progress
    origins: Mapping[str, Any] = field(default_factory=dict)

    @property
    def weights(self) -> dict[str, Tensor]:
        """The model's tensors, by their names in the model."""
        return _below(WEIGHTS, self.tensors)


def contents_of(
    state: TrainingState, *, origins: Mapping[str, Any] = MappingProxyType({})
) -> Contents:
    """What a checkpoint of this state holds; nothing is copied but what is adapted."""
    tensors = {WEIGHTS + name: tensor for name, tensor in plain_state(state.model).items()}
    tensors |= {_ADAPTERS + name: x for name, x in adapter_state(state.model).items()}
    numbers = None
    if state.optimizer is not None:
        moments, numbers = export_optimizer(state.optimizer)
        tensors |= {_OPTIMIZER + name: tensor for name, tensor in moments.items()}
    return Contents(tensors, _sizes(state.model), numbers, state.progress, origins)


def commit(artifact: Artifact, state: TrainingState, **how: Any) -> Snapshot:
    """`commit_contents` of this state as it is now, with its keywords."""
    return commit_contents(artifact, contents_of(state), **how)


def commit_contents(
    artifact: Artifact,
    contents: Contents,
    *,
    config: ModelConfig,
    seconds: float,
    keep_last: int,
    curve: Sequence[StepPoint] = (),
) -> Snapshot:
    """Write a checkpoint and put it in force; those no longer kept leave with the same snapshot.

    The curve up to it takes the place of the one before. What left CHECKPOINT_GRACE_SECONDS ago is
    removed, unless it is pinned.
    """
    drawn = [write_curve(artifact, curve)] if curve else []  # first: no checkpoint is without it
    receipt = _write(artifact, contents, config=config, seconds=seconds)
    progress = contents.progress
    before = checkpoints(artifact.latest())
    snapshot = artifact.publish(
        add=[*drawn, receipt],
        supersede={
            CHECKPOINTS: _superseded(before, progress, keep_last=keep_last),
            CURVE: [CURVE] if drawn else [],
        },
        note=f"step {progress.step} of {progress.total_steps}",
    )
    gc_artifact(artifact, options=GcOptions(min_age_seconds=CHECKPOINT_GRACE_SECONDS))
    return snapshot


def tidy(artifact: Artifact) -> None:
    """Remove what left force, now that the training is finished: nobody goes on from it.

    What another process may be about to publish stays, and what is pinned.
    """
    gc_artifact(artifact, options=GcOptions(superseded_seconds=0.0))


def _superseded(
    before: Sequence[CheckpointRef], progress: Progress, *, keep_last: int
) -> list[str]:
    """Keys of checkpoints that are neither among the last `keep_last` nor the best."""
    others = [ref for ref in before if ref.progress.step != progress.step]
    last = others[len(others) - keep_last + 1 :] if keep_last > 1 else []
    kept = {ref.key for ref in last}
    best = progress.best.step if progress.best else -1
    return [r.key for r in others if r.key not in kept and r.progress.step != best]


def recover(artifact: Artifact, *, keep_last: int) -> list[CheckpointRef]:
    """Checkpoints in force, after adopting what a killed run had written but not published."""
    found = artifact.orphan_receipts(verify=True)
    orphans = [receipt for receipt in found if receipt.table == CHECKPOINTS]
    if orphans:
        curve = longest(found)
        old, note = {CURVE: [CURVE] if curve else []}, "adopted after an interruption"
        refs = checkpoints(artifact.publish(add=[*curve, *orphans], supersede=old, note=note))
        gone = _superseded(refs[:-1], refs[-1].progress, keep_last=keep_last)
        if gone:
            artifact.publish(supersede={CHECKPOINTS: gone}, note=note)
    return checkpoints(artifact.latest())


def _write(
    artifact: Artifact, contents: Contents, *, config: ModelConfig, seconds: float
) -> Receipt:
    metadata: dict[str, Any] = {
        "model": model_settings(config),
        "sizes": contents.sizes,
        "progress": contents.progress.model_dump(mode="json"),
    }
    if contents.optimizer is not None:
        metadata["optimizer"] = contents.optimizer
    drawn = {"noise": BY_ROW} if draws_noise(config) else {}
    shard = f"step-{contents.progress.step:08d}"
    with artifact.new_part(table=CHECKPOINTS, shard=shard, suffix=".safetensors") as part:
        save_checkpoint(part.path, tensors=contents.tensors, metadata=metadata)
        return part.commit(
            rows=1,
            schema=_SCHEMA,
            outcomes=[Outcome(key=shard)],
            extra={
                "progress": contents.progress.model_dump_json(),
                "weights_hash": weights_hash(contents.weights),
                "seconds": round(seconds, 3),
                **drawn,
                **contents.origins,
            },
        )


def _sizes(model: RetrievalModel) -> dict[str, int]:
    sizes = getattr(model, "architecture", None)
    return dict(vars(sizes)) if isinstance(sizes, Architecture) else {}


def restore(
    ref: CheckpointRef, *, model: RetrievalModel, optimizer: torch.optim.Optimizer
) -> TrainingState:
    """Set model and optimizer to what the checkpoint holds."""
    loaded = load_checkpoint(ref.path)
    load_adapted(model, loaded.weights, _below(_ADAPTERS, loaded.tensors))
    moments = _below(_OPTIMIZER, loaded.tensors)
    import_optimizer(optimizer, moments, loaded.metadata["optimizer"])
    return TrainingState(model, optimizer, ref.progress)


def _below(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {n.removeprefix(prefix): x for n, x in tensors.items() if n.startswith(prefix)}


def model_from(path: Path, config: ModelConfig) -> RetrievalModel:
    """The model of a checkpoint file, in fp32 on the CPU, in evaluation mode.

    Args:
        path: of the file.
        config: family and options; sizes come from the checkpoint.

    Raises:
        WeightsError: no checkpoint of ours, or of another model.
    """
    from reelvec.models.conversion.weights import load_checkpoint as load_tensors
    from reelvec.tasks.training.starting import build_like, build_sized

    loaded = load_checkpoint(path)
    sizes = loaded.metadata["sizes"]
    if sizes:
        model = build_sized(config, sizes=Architecture(**sizes))
    else:
        model = build_like(config, loaded.weights)
    load_tensors(model, loaded.weights)
    return model.eval()
