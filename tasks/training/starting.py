"""The model a run starts from, and what training changes about it before the first step."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from reelvec.configs.decoding import FrameForm
from reelvec.configs.schema import ModelConfig, TrainConfig
from reelvec.configs.training import LoraConfig
from reelvec.models.clip.architecture import Architecture, architecture
from reelvec.models.conversion.names import our_names
from reelvec.models.conversion.weights import (
    build_for,
    check_packages,
    input_of,
    start,
    start_policy,
    to_legacy_fp16,
)
from reelvec.models.errors import ModelError
from reelvec.models.family import RetrievalModel
from reelvec.models.frozen.input import Hearing
from reelvec.models.frozen.kinds import own_input_of
from reelvec.models.heads import head_of
from reelvec.models.lora import LoraOptions, adapt, check_lora
from reelvec.models.registry import build
from reelvec.models.training.optim import AdamW, BertAdam, OptimizerOptions, build_optimizer
from reelvec.models.training.parameters import freeze
from reelvec.models.unfilled import unfilled
from reelvec.storage.errors import WeightsError
from reelvec.storage.places.sources import local_file
from reelvec.storage.weights.checkpoints import WeightsFile, open_weights, weights_hash
from reelvec.storage.weights.checks import check_finite
from reelvec.storage.weights.paths import is_pretrained
from reelvec.storage.weights.pretrained import (
    find_pretrained,
    pretrained_files,
    read_pretrained,
)
from reelvec.tasks.training.identity import Start

__all__ = [
    "build_like",
    "build_sized",
    "hash_of_weights",
    "hashes_of_start",
    "hearing_of_start",
    "make_optimizer",
    "make_trainable",
    "open_any",
    "rehearse_start",
    "starting_model",
]


def starting_model(config: ModelConfig, *, seed: int) -> RetrievalModel:
    """The model before training: random from `seed`, then whatever its weights file holds.

    Raises:
        OptionsError, WeightsError: options or weights that do not fit (of models and storage).
    """
    state = read_start(config.weights) if config.weights else None
    published = read_start(config.policy_weights) if config.policy_weights else None
    torch.manual_seed(seed)
    return _started(config, state, published)


def _started(
    config: ModelConfig, state: Mapping[str, Tensor] | None, published: Mapping[str, Tensor] | None
) -> RetrievalModel:
    """The model that starts from these tensors; None: none are given."""
    if state is None:
        model = build_sized(config, sizes=architecture(config.architecture))
    else:
        model = build_like(config, state)
        start(model, state)
    if published is not None:
        start_policy(model, published, given=state)
    return model


def read_start(weights: str) -> dict[str, Tensor]:
    """Tensors of `model.weights`: a file of any kind we read, or hf:FOLDER_OR_NAME.

    Raises:
        WeightsError: missing, damaged, unsafe, of an unknown kind, or not finite.
    """
    tensors = open_any(weights).tensors
    check_finite(tensors, source=weights)
    return tensors


def open_any(weights: str) -> WeightsFile:
    """What `read_start` reads, finite or not, under names of ours where they can be told.

    Raises:
        WeightsError: as `read_start`.
    """
    if is_pretrained(weights):
        try:
            own_input_of(pretrained_files(weights))  # before a large file is looked for
        except ModelError as error:
            raise WeightsError(f"({weights}): {error}", path=weights) from None
        return WeightsFile(read_pretrained(weights), "Hugging Face folder (safetensors)", {})
    path = local_file(weights)
    file = open_weights(path)
    tensors = our_names(file.tensors)
    if not any(name.endswith("visual_projection.weight") for name in file.tensors):
        return replace(file, tensors=tensors)
    _check_configuration(path.parent / "config.json")
    container = f"{file.container}, transformers' names (read as OpenAI's CLIP: quick GELU)"
    return replace(file, tensors=tensors, container=container)


def _check_configuration(path: Path) -> None:
    """Refuses a lone file of a folder whose configuration tells of another CLIP than OpenAI's."""
    try:
        document = json.loads(path.read_bytes()) if path.is_file() else {}
        towers = [document.get(name) or {} for name in ("text_config", "vision_config")]
        activations = {tower.get("hidden_act", "quick_gelu") for tower in towers}
    except (OSError, ValueError, AttributeError, TypeError, RecursionError):
        return  # somebody else's configuration
    if activations != {"quick_gelu"}:
        raise WeightsError(
            f"({path}) says this CLIP's activation is {', '.join(map(str, sorted(activations)))},"
            f" and a file alone is read with quick_gelu; give the folder, hf:{path.parent}",
            path=str(path),
        )


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


def hash_of_weights(weights: str) -> str:
    """`weights_hash` of what `read_start` reads; of the same files it is made once a process.

    Raises:
        WeightsError: as `read_start`.
    """
    return _facts(weights).hash


def rehearse_start(config: ModelConfig, *, train: TrainConfig | None = None) -> FrameForm:
    """The frames the starting model was made for; it is built without its file's numbers.

    What would stop `starting_model` stops this within a second or two, before hours of decoding.
    Of a checkpoint hf:… only its frames are looked at, and whether its package is there.

    Args:
        config: the model.
        train: how it is trained; None, or epochs 0: not at all.

    Raises:
        OptionsError, WeightsError: as `starting_model`.
    """
    state = _facts(config.weights).shapes if config.weights else None
    published = _facts(config.policy_weights).shapes if config.policy_weights else None
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


class _Facts(NamedTuple):
    hash: str
    shapes: dict[str, Tensor]
    """Tensors without their numbers; a checkpoint's packed small files as they are."""


def _facts(weights: str) -> _Facts:
    if is_pretrained(weights):
        files = sorted(find_pretrained(weights).iterdir())
    else:
        files = [_path(weights)]
    marks = tuple((f.name, f.stat().st_size, f.stat().st_mtime_ns) for f in files if f.is_file())
    return _facts_of_files(weights, marks)


@lru_cache(maxsize=8)
def _facts_of_files(weights: str, marks: tuple[tuple[str, int, int], ...]) -> _Facts:
    del marks  # sizes and times tell one content of the files from another
    state = read_start(weights)
    shapes = {key: x if key == "files" else x.to("meta") for key, x in state.items()}
    return _Facts(weights_hash(state), shapes)


def _path(weights: str) -> Path:
    return local_file(weights).resolve()


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
