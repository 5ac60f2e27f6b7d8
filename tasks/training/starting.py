"""The model a run starts from, and what training changes about it before the first step."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from reelvec.configs.decoding import FrameForm
from reelvec.configs.schema import ModelConfig, TrainConfig
from reelvec.configs.training import LoraConfig
from reelvec.models.clip.architecture import Architecture, architecture
from reelvec.models.conversion.weights import (
    build_for,
    check_packages,
    input_of,
    layout_of,
    start,
    start_policy,
    to_legacy_fp16,
)
from reelvec.models.family import RetrievalModel
from reelvec.models.frozen.input import Hearing
from reelvec.models.frozen.kinds import own_input_of
from reelvec.models.heads import head_of
from reelvec.models.lora import LoraOptions, adapt, check_lora
from reelvec.models.registry import ZERO_SHOT, build
from reelvec.models.training.optim import AdamW, BertAdam, OptimizerOptions, build_optimizer
from reelvec.models.training.parameters import freeze
from reelvec.models.unfilled import undrawn, unfilled
from reelvec.storage.roots import Root
from reelvec.storage.weights.paths import is_pretrained
from reelvec.storage.weights.pretrained import pretrained_files
from reelvec.tasks.training.identity import Start
from reelvec.tasks.training.opening import hash_of_weights, read_start, shapes_of_weights

__all__ = [
    "build_like",
    "build_sized",
    "hashes_of_start",
    "hearing_of_start",
    "make_optimizer",
    "make_trainable",
    "rehearse_start",
    "starting_model",
    "untrained_model",
]


def starting_model(config: ModelConfig, *, seed: int) -> RetrievalModel:
    """The model before training: random from `seed`, then whatever its weights file holds.

    Raises:
        OptionsError, WeightsError: options or weights that do not fit (of models and storage).
    """
    state, published = _read(config)
    torch.manual_seed(seed)
    return _started(config, state, published)


def untrained_model(config: ModelConfig, *, seed: int) -> RetrievalModel:
    """The same model, to be written and never trained; torch's generator may be left anywhere.

    Where the weights file brings every number nothing is drawn, and the model refers to the
    tensors of the file as long as that lies there unchanged.

    Raises:
        OptionsError, WeightsError: as `starting_model`.
    """
    if not _brings_all(config):
        return starting_model(config, seed=seed)
    state, published = _read(config)
    with undrawn():
        return _started(config, state, published, lent=True)


def _read(config: ModelConfig) -> tuple[dict[str, Tensor] | None, dict[str, Tensor] | None]:
    """Tensors of the model's weights and of its policy's."""
    first, policy = config.weights, config.policy_weights
    return read_start(first) if first else None, read_start(policy) if policy else None


def _brings_all(config: ModelConfig) -> bool:
    """Whether a weights file holds all parameters of the model; an archive holds its towers."""
    if not config.weights or config.policy_weights:  # of the policy's last layer nothing is used
        return False
    if config.family == ZERO_SHOT:
        return True
    held = shapes_of_weights(config.weights)
    beyond = any(not key.startswith("clip.") for key in held)
    return layout_of(held) == "checkpoint" and beyond


def _started(
    config: ModelConfig,
    state: Mapping[str, Tensor] | None,
    published: Mapping[str, Tensor] | None,
    *,
    lent: bool = False,
) -> RetrievalModel:
    """The model that starts from these tensors; None: none are given."""
    if state is None:
        model = build_sized(config, sizes=architecture(config.architecture))
    else:
        model = build_like(config, state)
        start(model, state, lent=lent)
    if published is not None:
        start_policy(model, published, given=state)
    return model


def build_like(config: ModelConfig, state: Mapping[str, Tensor]) -> RetrievalModel:
    """A model of the sizes of these tensors with random weights."""
    return build_for(
        state,
        family=config.family,
        options=config.options,
        max_words=config.max_words,
        max_frames=config.max_frames,
    )


def build_sized(config: ModelConfig, *, sizes: Architecture) -> RetrievalModel:
    """A model of these sizes with random weights."""
    return build(
        config.family,
        options=config.options,
        architecture=sizes,
        max_words=config.max_words,
        max_frames=config.max_frames,
    )


def hashes_of_start(config: ModelConfig) -> Start:
    """Hashes of the weights that are started from."""
    return Start(
        weights=hash_of_weights(config.weights) if config.weights else None,
        policy=hash_of_weights(config.policy_weights) if config.policy_weights else None,
    )


def rehearse_start(
    config: ModelConfig, *, train: TrainConfig | None = None, root: Root | None = None
) -> FrameForm:
    """The frames the starting model was made for; it is built without its file's numbers.

    What would stop `starting_model` stops this within a second or two, before hours of decoding.
    Of a checkpoint hf:… only its frames are looked at, and whether its package is there.

    Args:
        config: the model.
        train: how it is trained; None, or epochs 0: not at all.
        root: a store that may know the weights files, as of `shapes_of_weights`.

    Raises:
        OptionsError, WeightsError: as `starting_model`.
    """
    first, policy = config.weights, config.policy_weights
    state = shapes_of_weights(first, root=root) if first else None
    published = shapes_of_weights(policy, root=root) if policy else None
    if config.weights and state and is_pretrained(config.weights):
        check_packages(state, max_frames=config.max_frames)
        return input_of(state).form
    with unfilled():
        return _form_of(_started(config, state, published), train)


def hearing_of_start(config: ModelConfig) -> Hearing | None:
    """What the starting model hears of a clip; None: nothing."""
    if not (config.weights and is_pretrained(config.weights)):
        return None
    return own_input_of(pretrained_files(config.weights)).hearing


def _form_of(model: RetrievalModel, train: TrainConfig | None) -> FrameForm:
    """The frames of a model that can be trained so."""
    if train is None or not train.epochs:
        return model.pixels
    if train.freeze == "backbone":
        head_of(model)
    if train.lora is not None:
        check_lora(model, _lora(train.lora, train))
    return model.pixels


def make_trainable(
    model: RetrievalModel, options: TrainConfig, *, device: torch.device
) -> RetrievalModel:
    """Move, cast, freeze, adapt and compile as the options say; the model in training mode."""
    model.to(device)
    if options.precision == "legacy_fp16":
        to_legacy_fp16(model)
    freeze(model, freeze_layers=options.freeze_layers)
    if options.freeze == "backbone":
        head_of(model).freeze_backbone()
    if options.lora is not None:
        adapt(model, _lora(options.lora, options), seed=options.seed)
    model.set_activation_checkpointing(options.activation_checkpointing)
    if options.compile:
        for name in ("visual.transformer", "transformer"):
            model.get_submodule(f"clip.{name}").compile()  # in place: keys stay as they are
    return model.train()


def _lora(lora: LoraConfig, options: TrainConfig) -> LoraOptions:
    """Adapters as the options say: none in blocks that `freeze_layers` names."""
    return LoraOptions(
        rank=lora.rank,
        alpha=lora.alpha,
        targets=lora.targets,
        towers=lora.towers,
        first_block=max(options.freeze_layers, 0),
        rate_factor=lora.rate_factor,
    )


def make_optimizer(
    model: RetrievalModel, options: TrainConfig, *, total_steps: int
) -> BertAdam | AdamW:
    """The optimizer with its schedule over `total_steps`."""
    return build_optimizer(
        model,
        options=OptimizerOptions(
            name=options.optimizer,
            learning_rate=options.learning_rate,
            clip_rate_factor=options.clip_rate_factor,
            weight_decay=options.weight_decay,
            schedule=options.schedule,
            warmup=options.warmup,
            total_steps=total_steps,
            betas=options.betas,
            eps=options.epsilon,
            max_grad_norm=-1 if options.max_grad_norm is None else options.max_grad_norm,
        ),
    )
