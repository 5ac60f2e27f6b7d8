"""The run that a migration makes: the one it starts from, with another model."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from reelvec.configs import ConfigError, PipelineConfig
from reelvec.configs.decoding import FrameForm
from reelvec.configs.loader import validate
from reelvec.storage.naming import ChosenRun
from reelvec.storage.roots import Root
from reelvec.storage.runs import newest_first
from reelvec.tasks.identity import model_settings
from reelvec.tasks.runs.recording import config_of
from reelvec.tasks.weights.choice import choose_weights

__all__ = ["target_config"]


def target_config(
    root: Root, base: ChosenRun, *, store: str, weights: str, name: str | None = None
) -> PipelineConfig:
    """The config of the new run: corpus, frames, tables and scores as before, nothing is trained.

    Args:
        root: the store.
        base: the run it starts from.
        store: where it lies, as it was given.
        weights: file of the new model, or hf:FOLDER_OR_NAME.
        name: of the new run; None: that of the old one and of the weights.

    Raises:
        WeightsError: the file is missing, unsafe, or of no family.
        ConfigError: the name is that of a run with other weights.
    """
    old = config_of(base.record, store=store)
    chosen = choose_weights(weights, store=store)
    document = old.model_dump(mode="json")
    config = validate(
        {
            **document,
            "preset": None,  # all of it is in the document; its options are not the new model's
            "name": name or f"{base.record.name} {Path(weights).stem}",
            "notes": chosen.note,
            "extract": _frames(document["extract"], wanted=chosen.extract),
            "model": chosen.model,
            "train": {"epochs": 0, "device": old.train.device},
        },
        source=f"the migration of {base.record.name} to {weights}",
    )
    taken = next(newest_first(root, name=config.name), None)
    if taken is not None and _model(config_of(taken, store=store)) != _model(config):
        raise ConfigError(
            f"the store has a run ({config.name}) of another model; give the new one a name of its"
            " own (--name)",
            key="name",
        )
    return config


def _frames(stored: Mapping[str, Any], *, wanted: Mapping[str, Any]) -> dict[str, Any]:
    """The stored frames where they serve the new model too, else those it was made for."""
    serves = stored["fit"] == "native" and wanted.get("fit") != "native"
    if serves and stored["size"] >= wanted.get("size", stored["size"]):
        return {**stored, **{key: wanted[key] for key in ("sampling",) if key in wanted}}
    plain = FrameForm().model_dump(include={"fit", "interpolation"})
    return {**stored, **plain, **wanted} if wanted else dict(stored)


def _model(config: PipelineConfig) -> object:
    return model_settings(config.model), config.model.weights
