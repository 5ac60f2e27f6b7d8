"""Which model embeds a person's folder: the weights they name, else the best there is.

In this order: the file that is named; the model the store's last run trained; an OpenAI archive in
``~/.cache/clip``; and, so that the pipeline can be tried on any machine, a tiny untrained model,
which is said loudly, since its vectors mean nothing.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from reelvec.configs import PipelineConfig
from reelvec.configs.decoding import SoundForm
from reelvec.configs.uris import is_uri
from reelvec.models.clip.architecture import SMALLEST, architecture
from reelvec.models.errors import ModelError
from reelvec.models.registry import ZERO_SHOT
from reelvec.storage.errors import MissingArtifactError, WeightsError
from reelvec.storage.roots import open_root
from reelvec.storage.weights.known import KnownWeights, WeightsMark, keep, recall
from reelvec.storage.weights.paths import existing_file, is_pretrained
from reelvec.tasks.artifacts import Session
from reelvec.tasks.runs.recording import last_config
from reelvec.tasks.training.finding import find_trained

__all__ = ["ChosenModel", "choose_several", "choose_weights", "keep_choices"]

ARCHIVES = ("ViT-B-16.pt", "ViT-B-32.pt", "ViT-L-14.pt")
_SHARED_SIZE = 336
"""Of the shorter side: within 11 levels of the own pixels of every model of squares up to it."""
UNTRAINED = (
    "These vectors are from a tiny UNTRAINED model and mean nothing: no --weights were given, the"
    " store holds no trained model, and ~/.cache/clip holds no archive. Give --weights ViT-B-32.pt"
    " (OpenAI's archive) or a trained checkpoint, or run `reelvec demo` in this store first."
)


@dataclass(frozen=True)
class ChosenModel:
    """Config sections `model` and `extract`, and what the person should know."""

    model: dict[str, Any] = field(default_factory=dict)
    extract: dict[str, Any] = field(default_factory=dict)
    note: str = ""
    found: tuple[WeightsMark, KnownWeights] | None = None
    """What was found in the weights file, for `keep_choices`; None: nothing that is not known."""

    def document(self, corpus: Mapping[str, Any], *, name: str) -> dict[str, Any]:
        """The configuration of a run that embeds a corpus with it, as plain data."""
        return {
            "name": name,
            "notes": self.note,
            "corpus": corpus,
            "extract": self.extract,
            "model": self.model,
            "train": {"epochs": 0},
        }


def choose_weights(
    named: str | Path | None, *, store: str, before_torch: Callable[[], None] | None = None
) -> ChosenModel:
    """Choose the model for `reelvec embed`.

    Args:
        named: a weights file, or hf:FOLDER_OR_NAME; None: the best there is.
        store: root of the store.
        before_torch: called where weights must be read, which imports torch and takes seconds.

    Raises:
        WeightsError: the named file is missing, unsafe, or of no family.
    """
    if named is not None:
        return _from_file(str(named), store=store, before_torch=before_torch)
    return _trained_here(store) or _downloaded(store, before_torch) or _untrained()


def choose_several(
    names: Sequence[str | None], *, store: str, before_torch: Callable[[], None] | None = None
) -> list[ChosenModel]:
    """Choose models that share one decode of each file: all of them see the same stored frames.

    None, alone, is the best model there is.

    Where they want the same frames those are stored; else the whole picture, of which each model
    makes its own squares when it encodes, one frame a second.

    Raises:
        WeightsError: as `choose_weights`; or a model is named twice.
    """
    if len(set(names)) < len(names):
        twice = next(name for name in names if list(names).count(name) > 1)
        raise WeightsError(f"({twice}) is named twice; name each model once", path=str(twice))
    chosen = [choose_weights(name, store=store, before_torch=before_torch) for name in names]
    first = chosen[0].extract
    if all(one.extract == first for one in chosen):
        return chosen
    sizes = [one.extract["size"] for one in chosen if one.extract.get("fit") != "native"]
    shared = {"fit": "native", "size": max([_SHARED_SIZE, *sizes])}
    note = f" Frames are shared with {len(names) - 1} more: whole pictures, one a second."
    return [replace(one, extract=shared, note=one.note + note) for one in chosen]


def keep_choices(chosen: Sequence[ChosenModel], *, store: str) -> None:
    """Keep what was found in weights files in the store, which is there now."""
    root = open_root(store)
    for one in chosen:
        if one.found is not None:
            mark, known = one.found
            keep(root, mark, found=known)


def _from_file(name: str, *, store: str, before_torch: Callable[[], None] | None) -> ChosenModel:
    elsewhere = is_pretrained(name) or is_uri(name)
    weights = name if elsewhere else str(existing_file(Path(name)).resolve())
    mark = WeightsMark.of(weights)
    choice, found = recall(open_root(store), mark).choice, None
    if not choice:
        if before_torch is not None:
            before_torch()
        choice = _recognised(name, weights)
        found = mark, KnownWeights(choice=choice)
    note = f"Embedded with {name} ({choice['model']['family']})."
    return ChosenModel(choice["model"], choice["extract"], note, found)


def _recognised(name: str, weights: str) -> dict[str, Any]:
    """Config sections `model` and `extract` of a weights file; imports torch."""
    from reelvec.models.conversion.weights import input_of
    from reelvec.tasks.weights.files import name_model

    recognised = name_model(weights)
    try:
        own = input_of(recognised.file.tensors)
    except ModelError as error:
        raise WeightsError(f"({name}) fits no model family: {error}", path=name) from None
    model = recognised.config(weights).model_dump(mode="json", exclude={"architecture"})
    extract = {"size": own.form.size, **own.form.model_dump(exclude_defaults=True)}
    if own.rule is not None:
        extract["sampling"] = vars(own.rule)
    if own.hearing is not None:
        usual = SoundForm()
        seconds = min(usual.max_seconds, math.floor(1000 * own.hearing.seconds) / 1000)
        sound = SoundForm(rate=own.hearing.rate, max_seconds=seconds)
        if sound != usual:
            extract["sound"] = sound.model_dump(exclude_defaults=True)
    return {"model": model, "extract": extract}


def _trained_here(store: str) -> ChosenModel | None:
    """The model the last run of the store embedded with."""
    try:
        config = last_config(store)
    except MissingArtifactError:
        return None
    weights = config.model.weights if config.train.epochs == 0 else _trained_by(config)
    if weights is None:
        return None
    model = config.model.model_dump(mode="json") | {"weights": weights}
    if config.train.epochs:
        model["policy_weights"] = None  # the trained model holds them
    note = (
        f"Embedded with the model of this store's run ({config.name}). On videos it was trained on,"
        " numbers show what was memorised."
    )
    if config.train.epochs == 0:
        note = config.notes  # an embedding run already says where its weights are from
    return ChosenModel(model, config.extract.model_dump(mode="json"), note)


def _trained_by(config: PipelineConfig) -> str | None:
    """The file a finished training left."""
    trained = find_trained(Session(config))
    return None if trained is None else str(trained.path)


def _downloaded(store: str, before_torch: Callable[[], None] | None) -> ChosenModel | None:
    cache = Path.home() / ".cache" / "clip"
    archives = [cache / name for name in ARCHIVES if (cache / name).is_file()]
    if not archives:
        return None
    return _from_file(str(archives[0]), store=store, before_torch=before_torch)


def _untrained() -> ChosenModel:
    model = {"family": ZERO_SHOT, "architecture": SMALLEST}
    return ChosenModel(model, {"size": architecture(SMALLEST).image_size}, UNTRAINED)
