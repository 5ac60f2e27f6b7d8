"""Checks of a configuration before any work is done."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from reelvec.configs import ConfigError, PipelineConfig
from reelvec.configs.corpora import anchored
from reelvec.configs.schema import STAGES
from reelvec.models.errors import OptionsError
from reelvec.models.ranking.rerank import RERANKINGS
from reelvec.models.registry import ZERO_SHOT, family_class, validate_options
from reelvec.models.sampling.rules import Rule
from reelvec.models.training.schedules import SCHEDULES
from reelvec.storage.weights.pretrained import is_pretrained
from reelvec.tasks.training.starting import rehearse_start

__all__ = ["check_config", "checked_config", "choose_stages"]


def choose_stages(names: Sequence[str] | None) -> list[str]:
    """These stages in pipeline order; None: all of them.

    Raises:
        ConfigError: no stage has such a name.
    """
    for name in names or ():
        if name not in STAGES:
            raise ConfigError(f"no stage is called ({name}); there are {', '.join(STAGES)}")
    return [name for name in STAGES if names is None or name in names]


def check_config(config: PipelineConfig) -> None:
    """Check what the schema cannot: names that live elsewhere, files, sizes that must agree.

    Raises:
        ConfigError: with key, value and remedy.
    """
    _check_names(config)
    weights, family = config.model.weights, config.model.family
    try:
        validate_options(family, config.model.options)
        if weights is not None and is_pretrained(weights) and family_class(family).trainable:
            raise ConfigError(
                f"model.weights ({weights}) is a dual encoder that is used as it is, not the start"
                f" of model.family ({family}); set model.family={ZERO_SHOT} and train.epochs=0",
                key="model.family",
            )
        size = rehearse_start(config.model)
    except OptionsError as error:
        raise ConfigError(f"model: {error}", key="model") from None
    if size != config.extract.size:
        start = f"weights ({weights})" if weights else f"architecture {config.model.architecture}"
        raise ConfigError(
            f"extract.size ({config.extract.size}) is not the frame size of model.{start},"
            f" {size} pixels; set extract.size={size}",
            key="extract.size",
        )


def _check_names(config: PipelineConfig) -> None:
    """Check names that the schema leaves open, before hours of work depend on them."""
    try:
        Rule(**config.extract.sampling.model_dump())
    except ValueError as error:
        raise ConfigError(f"extract.{error}", key="extract.sampling") from None
    unknown = [name for name in config.evaluate.rerank if name not in RERANKINGS]
    if unknown:
        known = ", ".join(RERANKINGS)
        raise ConfigError(
            f"evaluate.rerank names ({unknown[0]}); there are: {known}", key="evaluate.rerank"
        )
    if config.train.schedule not in SCHEDULES:
        raise ConfigError(
            f"train.schedule is ({config.train.schedule}); there are: {', '.join(SCHEDULES)}",
            key="train.schedule",
        )
    weights = config.model.weights
    if weights is None or is_pretrained(weights):
        return
    file = Path(weights).expanduser()
    if not file.is_file():
        problem = "is a folder; name the file in it" if file.is_dir() else "is not there"
        raise ConfigError(
            f"model.weights ({weights}) {problem}; give the path of an archive or checkpoint",
            key="model.weights",
        )


def checked_config(config: PipelineConfig) -> PipelineConfig:
    """`config` checked, and with absolute paths: its record means the same from anywhere.

    Raises:
        ConfigError: what `check_config` finds.
    """
    check_config(config)
    weights = config.model.weights
    if weights is not None and not is_pretrained(weights):
        weights = str(Path(weights).expanduser().resolve())
    model = config.model.model_copy(update={"weights": weights})
    return config.model_copy(update={"corpus": anchored(config.corpus), "model": model})
