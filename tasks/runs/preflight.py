"""Checks of a configuration before any work is done."""

from __future__ import annotations

import torch

from reelvec.configs import ConfigError, PipelineConfig
from reelvec.configs.decoding import FrameForm
from reelvec.configs.schema import TrainConfig
from reelvec.models.errors import OptionsError
from reelvec.models.frozen.clip import DEAF
from reelvec.models.ranking.rerank import RERANKING_NAMES
from reelvec.models.registry import (
    ZERO_SHOT,
    family_class,
    trainable_names,
    validate_options,
)
from reelvec.models.sampling.rules import Rule
from reelvec.models.training.schedules import SCHEDULES
from reelvec.storage.frames.formats import NATIVE_FORMAT
from reelvec.storage.roots import open_root
from reelvec.storage.weights.paths import is_pretrained
from reelvec.tasks.runs.settled import check_files, settled_config
from reelvec.tasks.training.starting import hearing_of_start, rehearse_start
from reelvec.tasks.training.teachers import check_teachers
from reelvec.tasks.training.watching import check_watchers

__all__ = ["check_config", "checked_config"]


def check_config(config: PipelineConfig) -> None:
    """Check what the schema cannot: names that live elsewhere, files, sizes that must agree.

    Raises:
        ConfigError: with key, value and remedy.
    """
    _check_names(config)
    _check_draw(config)
    _check_windows(config)
    _check_devices(config)
    weights, family = config.model.weights, config.model.family
    try:
        validate_options(family, config.model.options)
        if weights is not None and is_pretrained(weights) and family_class(family).trainable:
            raise ConfigError(
                f"model.weights ({weights}) is a dual encoder that is used as it is, not the start"
                f" of model.family ({family}); set model.family={ZERO_SHOT} and train.epochs=0",
                key="model.family",
            )
        _check_training(config)
        root = open_root(config.store)
        own = rehearse_start(config.model, train=config.train, root=root)
        check_teachers(config)
    except OptionsError as error:
        raise ConfigError(f"model: {error}", key="model") from None
    _check_frames(config, own=own)
    _check_sound(config)


def _check_frames(config: PipelineConfig, *, own: FrameForm) -> None:
    """Check that the model can be shown what is stored, and that its format holds it."""
    extract, weights = config.extract, config.model.weights
    if extract.fit == "native" and extract.format != "arrow":
        raise ConfigError(
            f"extract.format: {NATIVE_FORMAT.format(extract.format)}; set extract.format=arrow, or"
            " extract.fit=squash",
            key="extract.format",
        )
    if own.fit == "native":
        return
    if extract.fit == "native" and own.size > extract.size:
        raise ConfigError(
            f"extract.size ({extract.size}), of the shorter side, is less than the model's frames"
            f" of {own.size} pixels; set extract.size={own.size}, or more",
            key="extract.size",
        )
    if extract.fit != "native" and own.size != extract.size:
        start = f"weights ({weights})" if weights else f"architecture {config.model.architecture}"
        raise ConfigError(
            f"extract.size ({extract.size}) is not the frame size of model.{start},"
            f" {own.size} pixels; set extract.size={own.size}",
            key="extract.size",
        )


def _check_sound(config: PipelineConfig) -> None:
    """Check that the model hears, and what is kept of sound is what it hears."""
    if not config.hears:
        return
    hearing, kept = hearing_of_start(config.model), config.extract.sound
    if hearing is None:
        raise ConfigError(DEAF, key="model.options")
    if kept.rate != hearing.rate:
        raise ConfigError(
            f"extract.sound.rate ({kept.rate}): these weights hear {hearing.rate} samples a second;"
            f" set extract.sound.rate={hearing.rate}",
            key="extract.sound.rate",
        )
    if kept.max_seconds > hearing.seconds:
        raise ConfigError(
            f"extract.sound.max_seconds ({kept.max_seconds:g}): these weights hear"
            f" {hearing.seconds:g} seconds at most; set that or less",
            key="extract.sound.max_seconds",
        )
    if config.corpus.windows is not None:
        raise ConfigError(
            "model.options.hears with corpus.windows: windows have no vectors of sound; leave out"
            " one of them",
            key="corpus.windows",
        )


def _check_devices(config: PipelineConfig) -> None:
    """Check that what is worked on here, no Dask worker elsewhere, finds its device here."""
    train, shards_here = config.train, config.runner == "threads" or config.dask_address is None
    trains_here = train.epochs > 0 and (shards_here or train.nodes == 1)
    asked = {"train.device": train.device if trains_here else "cpu"}
    asked["embed.device"] = config.embed.device if shards_here else "cpu"
    for key, device in asked.items():
        if device == "cuda" and not torch.cuda.is_available():
            raise ConfigError(
                f"{key} is (cuda), and PyTorch finds no GPU here; set {key}=cpu, or auto", key=key
            )
    on_gpu = trains_here and train.device != "cpu" and torch.cuda.is_available()
    if on_gpu and train.processes > torch.cuda.device_count():
        raise ConfigError(
            f"train.processes ({train.processes}) is more than the GPUs here"
            f" ({torch.cuda.device_count()}), one of which each takes; set it to at most that many",
            key="train.processes",
        )


def _check_training(config: PipelineConfig) -> None:
    """Check that the model can be trained, and the batch be shared out."""
    train, family = config.train, config.model.family
    if not train.epochs:
        return
    if not family_class(family).trainable:
        raise ConfigError(
            f"model.family ({family}) is not trained; set train.epochs=0 to use its weights as they"
            f" are, or one of the families that are: {', '.join(trainable_names())}",
            key="train.epochs",
        )
    check_watchers(train.watch)
    _check_lora(train)
    processes = train.processes * train.nodes
    if processes > train.batch_size:
        nodes = f" on train.nodes ({train.nodes})" if train.nodes > 1 else ""
        raise ConfigError(
            f"train.processes ({train.processes}){nodes} exceeds the pairs of a batch,"
            f" train.batch_size ({train.batch_size}): each process needs one; set it to"
            f" {train.batch_size // train.nodes or 1} or less",
            key="train.processes",
        )


def _check_lora(train: TrainConfig) -> None:
    """Check that adapters are not asked for together with what leaves them no meaning."""
    if train.lora is None:
        return
    if train.freeze == "backbone":
        raise ConfigError(
            "train.freeze (backbone) keeps what the towers give once, and with train.lora they give"
            " something else after each step; set train.freeze=none: the towers' own weights stay"
            " as they are, adapters and head learn",
            key="train.freeze",
        )
    if train.precision == "legacy_fp16":
        raise ConfigError(
            "train.precision (legacy_fp16) rounds weights to fp16, in which most of what train.lora"
            " learns would be lost; set train.precision=fp32 or bf16",
            key="train.precision",
        )


def _check_names(config: PipelineConfig) -> None:
    """Check names that the schema leaves open, before hours of work depend on them."""
    try:
        Rule(**config.extract.sampling.model_dump())
    except ValueError as error:
        raise ConfigError(f"extract.{error}", key="extract.sampling") from None
    unknown = [name for name in config.evaluate.rerank if name not in RERANKING_NAMES]
    if unknown:
        known = ", ".join(RERANKING_NAMES)
        raise ConfigError(
            f"evaluate.rerank names ({unknown[0]}); there are: {known}", key="evaluate.rerank"
        )
    if config.train.schedule not in SCHEDULES:
        raise ConfigError(
            f"train.schedule is ({config.train.schedule}); there are: {', '.join(SCHEDULES)}",
            key="train.schedule",
        )
    check_files(config)


def _check_draw(config: PipelineConfig) -> None:
    """Check that more frames are stored than the model sees, where training draws among them."""
    draw, sees = config.model.train_frame_draw, config.model.max_frames
    sampling = config.extract.sampling
    bounds = {"extract.sampling.max_frames": sampling.max_frames}
    if Rule(policy=sampling.policy).counts:
        bounds["extract.sampling.count"] = sampling.count
    for key, stored in bounds.items():
        if draw != "none" and config.train.epochs and stored is not None and stored <= sees:
            raise ConfigError(
                f"model.train_frame_draw ({draw}) draws among the stored frames, and {key}"
                f" ({stored}) keeps no more than model.max_frames ({sees}); raise {key}",
                key=key,
            )


def _check_windows(config: PipelineConfig) -> None:
    """Check that files that are cut have frames all along."""
    sampling = config.extract.sampling
    if config.corpus.windows is None:
        return
    key, value = "extract.sampling.policy", str(sampling.policy)
    if sampling.max_frames is not None:
        key, value = "extract.sampling.max_frames", str(sampling.max_frames)
    elif not Rule(policy=sampling.policy).counts:
        return
    raise ConfigError(
        f"{key} ({value}) keeps so many frames of a file, however long it is, and corpus.windows"
        " cuts it by its frames; set extract.sampling.policy=per_second (or keyframes, or all) and"
        " no max_frames",
        key=key,
    )


def checked_config(config: PipelineConfig) -> PipelineConfig:
    """`config` checked, and with absolute paths: its record means the same from anywhere.

    Raises:
        ConfigError: what `check_config` finds.
    """
    check_config(config)
    return settled_config(config)
