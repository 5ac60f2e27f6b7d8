"""The identity of a trained model: its fingerprint names the checkpoint artifact."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from reelvec.configs.schema import ModelConfig, PipelineConfig, TrainConfig
from reelvec.models.options import FamilyOptions
from reelvec.tasks.identity import model_settings

__all__ = ["TRAINING_RECIPE", "Start", "checkpoint_identity", "draws_noise", "former_identity"]

TRAINING_RECIPE = 1

#: how a run is worked on, and what is kept of it; up to rounding they do not change the weights,
#: but for what `_cuts` names
_HOW = {
    "accumulation",
    "activation_checkpointing",
    "address",
    "checkpoint_every",
    "compile",
    "device",
    "hang_minutes",
    "keep_last",
    "nodes",
    "processes",
    "threads",
    "watch",
    "when_corpus_grows",
}

#: options younger than stores: named where they are not as everything was trained before
_LATER = {"betas", "epsilon", "freeze", "lora", "negatives", "schedule_over", "stop_after"}

#: named by what they are, not by their name, and only where there are any
_TEACHING = {"distillation", "teachers"}


@dataclass(frozen=True)
class Start:
    """Which weights a training starts from.

    Attributes:
        weights: hash of the tensors of model.weights; None: random ones, by train.seed.
        policy: hash of the tensors of model.policy_weights; None: none are given.
    """

    weights: str | None = None
    policy: str | None = None


def checkpoint_identity(
    config: PipelineConfig,
    *,
    start: Start,
    corpus: str,
    frames: str,
    training_set: str,
    teachers: Sequence[Mapping[str, Any]] = (),
) -> dict[str, Any]:
    """Identity of the weights; an untrained model depends on its own settings alone.

    Args:
        config: the run.
        start: the weights that are started from.
        corpus: fingerprint of the corpus artifact.
        frames: fingerprint of the frames artifact.
        training_set: hash of the items; counts when a grown corpus is to be trained on anew.
        teachers: what each teacher is (`Teacher.identity`).
    """
    left_out = {"architecture"} if start.weights else set()
    identity: dict[str, Any] = {
        "kind": "checkpoint",
        "recipe": TRAINING_RECIPE,
        "model": model_settings(config.model, left_out=frozenset(left_out)),
        "start": start.weights,
    }
    if start.policy:
        identity["policy_start"] = start.policy
    if config.train.epochs == 0:
        return {**identity, "train": {"epochs": 0, "seed": config.train.seed}}
    train = config.train.model_dump(mode="json", exclude=_HOW | _TEACHING)
    plain = TrainConfig().model_dump(mode="json", include=_LATER)
    train = {name: value for name, value in train.items() if (name, value) not in plain.items()}
    train |= _cuts(config)
    identity |= {"train": train, "corpus": corpus, "frames": frames}
    if teachers:
        distillation = config.train.distillation.model_dump(mode="json")
        identity["teaching"] = {"teachers": list(teachers), "distillation": distillation}
    if config.train.when_corpus_grows == "retrain":
        identity["training_set"] = training_set
    return identity


def _cuts(config: PipelineConfig) -> dict[str, int]:
    """How batches are cut, where more than rounding follows from it: named if they are cut."""
    cuts = _named_cuts(config)
    if cuts and not _options_of(config.model).sees_batch(training=True):
        cuts = {}
    if config.train.gradient_scaling == "legacy" or config.train.negatives == "process":
        cuts["processes"] = _world(config)
    return cuts


def former_identity(identity: dict[str, Any], config: PipelineConfig) -> dict[str, Any] | None:
    """The identity of the same run while noise was drawn by part; None: it is the same.

    The cuts of a batch were then named, since each drew other noise.
    """
    cuts = _named_cuts(config)
    if config.train.epochs == 0 or not cuts or not draws_noise(config.model):
        return None
    former = {**identity, "train": {**identity["train"], **cuts}}
    return None if former == identity else former


def draws_noise(model: ModelConfig) -> bool:
    """Whether training this model draws noise."""
    return _options_of(model).draws_noise


def _options_of(model: ModelConfig) -> FamilyOptions:
    from reelvec.models.registry import validate_options  # imports the family, and so torch

    return validate_options(model.family, model.options)


def _named_cuts(config: PipelineConfig) -> dict[str, int]:
    given = {"accumulation": config.train.accumulation, "processes": _world(config)}
    return {name: parts for name, parts in given.items() if parts > 1}


def _world(config: PipelineConfig) -> int:
    """Processes of the training, over all nodes."""
    return config.train.processes * config.train.nodes
