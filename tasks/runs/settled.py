"""A run as it is recorded: its stages in order, its files by their whole paths.

Nothing here imports torch: who has nothing to do needs no more.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from reelvec.configs import ConfigError, PipelineConfig
from reelvec.configs.corpora import anchored
from reelvec.configs.schema import STAGES
from reelvec.configs.uris import checked_uri, is_uri
from reelvec.storage.errors import StoreError
from reelvec.storage.places.sources import local_file
from reelvec.storage.weights.paths import is_pretrained

__all__ = ["check_files", "choose_stages", "settled_config"]


def choose_stages(names: Sequence[str] | None, *, hears: bool = False) -> list[str]:
    """These stages in pipeline order; None: all of them. Audio is one where the model hears.

    Raises:
        ConfigError: no stage has such a name, or audio alone is asked of a model that is deaf.
    """
    for name in names or ():
        if name not in STAGES:
            raise ConfigError(f"no stage is called ({name}); there are {', '.join(STAGES)}")
    there = [name for name in STAGES if hears or name != "audio"]
    chosen = [name for name in there if names is None or name in names]
    if names and not chosen:
        raise ConfigError(
            "the stage (audio) is of runs whose model hears: model.options.hears=true"
        )
    return chosen


def check_files(config: PipelineConfig) -> None:
    """Check that the weights files are there.

    Raises:
        ConfigError: one is not.
    """
    weights, policy = config.model.weights, config.model.policy_weights
    if weights is not None and not is_pretrained(weights):
        _check_file(weights, key="model.weights", remedy="an archive or checkpoint")
    if policy is not None:
        remedy = "torchvision's file of ImageNet weights, e.g. mobilenet_v3_large-8738ca79.pth"
        _check_file(policy, key="model.policy_weights", remedy=remedy)


def _check_file(name: str, *, key: str, remedy: str) -> None:
    try:
        file = local_file(checked_uri(name) if is_uri(name) else name)
    except (StoreError, ValueError) as error:
        raise ConfigError(f"{key}: {error}", key=key) from error
    if not file.is_file():
        problem = "is a folder; name the file in it" if file.is_dir() else "is not there"
        raise ConfigError(f"{key} ({name}) {problem}; give the path of {remedy}", key=key)


def settled_config(config: PipelineConfig) -> PipelineConfig:
    """`config` with absolute paths: its record means the same from anywhere.

    Raises:
        ConfigError: a weights file is not there.
    """
    check_files(config)
    files = {"weights": config.model.weights, "policy_weights": config.model.policy_weights}
    absolute = {
        key: str(Path(name).expanduser().resolve())
        for key, name in files.items()
        if name is not None and not is_pretrained(name) and not is_uri(name)
    }
    model = config.model.model_copy(update=absolute)
    settled = config.model_copy(update={"corpus": anchored(config.corpus), "model": model})
    if not config.train.teachers:
        return settled
    from reelvec.tasks.training.teachers import with_absolute_teachers  # imports torch

    return with_absolute_teachers(settled)
