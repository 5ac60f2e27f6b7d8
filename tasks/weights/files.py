"""Weights files of every kind: looked into, taken over, given back in the originals' formats."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from torch import Tensor

from reelvec.configs.schema import ModelConfig
from reelvec.models.conversion.exports import FORMATS, export_as
from reelvec.models.conversion.recognition import check_fits, recognise
from reelvec.models.conversion.weights import architecture_of, build_for, layout_of, start
from reelvec.models.conversion.weights import load_checkpoint as load_tensors
from reelvec.models.costs import costs_of
from reelvec.models.errors import ModelError
from reelvec.models.family import OriginalSettings, RetrievalModel
from reelvec.models.registry import family_class
from reelvec.storage.errors import WeightsError
from reelvec.storage.weights.checkpoints import (
    WEIGHTS,
    WeightsFile,
    save_checkpoint,
    save_state,
    weights_hash,
)
from reelvec.storage.weights.checks import check_finite
from reelvec.storage.weights.paths import PREFIX, check_output, new_output
from reelvec.tasks.artifacts import Session
from reelvec.tasks.identity import model_settings
from reelvec.tasks.runs.recording import last_config
from reelvec.tasks.training.checkpoints import model_from
from reelvec.tasks.training.finding import trained
from reelvec.tasks.training.opening import open_any, open_finite

__all__ = [
    "EXPORT_FORMATS",
    "ExportOptions",
    "Named",
    "export_file",
    "import_file",
    "inspect_file",
    "name_model",
]

SAFETENSORS = "safetensors"
EXPORT_FORMATS = (*FORMATS, SAFETENSORS)
"""The originals' formats, and ours."""
_NO_FAMILY = "the tensors beside `clip.` are of none of the families"


@dataclass(frozen=True)
class Named:
    """A weights file and the model it is of."""

    file: WeightsFile
    family: str
    settings: OriginalSettings

    def config(self, weights: str | None = None) -> ModelConfig:
        """As a config's section `model`."""
        return ModelConfig(
            family=self.family,
            options=self.settings.options,
            weights=weights,
            max_words=self.settings.max_words,
            max_frames=self.settings.max_frames,
        )

    def build(self) -> RetrievalModel:
        """The model with these weights."""
        state = self.file.tensors
        model = build_for(
            state,
            family=self.family,
            options=self.settings.options,
            max_words=self.settings.max_words,
            max_frames=self.settings.max_frames,
        )
        (load_tensors if layout_of(state) == "checkpoint" else start)(model, state)
        return model

    def rehearsed(self) -> RetrievalModel:
        """The model without its numbers, for which every tensor must fit.

        Raises:
            WeightsError: options or tensors that do not fit.
        """
        try:
            model = check_fits(self.file.tensors, family=self.family, settings=self.settings)
            self.config()
        except (ModelError, ValidationError) as error:
            raise WeightsError(f"a file of the family ({self.family}): {error}") from None
        return model


def name_model(name: str, *, family: str | None = None) -> Named:
    """The family and settings of a weights file: the one asked for, or the likeliest that fits.

    Raises:
        WeightsError: a file of no family, not of the one that is asked for, or not finite.
    """
    file = open_finite(name)
    try:
        guesses = recognise(file.tensors, facts=file.facts)
        if family is not None:
            family_class(family)
    except ModelError as error:
        raise WeightsError(f"({name}) fits no model family: {error}", path=name) from None
    problem: WeightsError | None = None
    for guess, settings in guesses:
        if family in (None, guess):
            named = Named(file, guess, settings)
            try:
                named.rehearsed()
            except WeightsError as error:
                problem = problem or error
            else:
                return named
    if problem is not None:
        raise problem
    fits = ", ".join(guess for guess, _ in guesses) or "none of the families"
    raise WeightsError(f"({name}) is not of the family ({family}): it fits {fits}", path=name)


def inspect_file(name: str) -> dict[str, Any]:
    """What a weights file holds: container, layout, families and their costs, sizes, keys, hash.

    Raises:
        WeightsError: the file cannot be read. One of no family has a `problem` instead.
    """
    file = open_any(name)
    state = file.tensors
    facts: dict[str, Any] = {
        "file": name,
        "container": file.container,
        "keys": len(state),
        "parameters": sum(t.numel() for t in state.values() if t.is_floating_point()),
        "bytes": sum(t.numel() * t.element_size() for t in state.values()),
        "dtypes": dict(Counter(str(t.dtype).removeprefix("torch.") for t in state.values())),
        "hash": weights_hash(state),
        "layout": None,
        "families": [],
        "sizes": {},
    }
    try:
        facts["layout"] = layout_of(state)
        facts["sizes"] = {} if facts["layout"] == "pretrained" else _sizes(state)
        guesses = recognise(state, facts=file.facts)
        check_finite(state, source=name)
    except (ModelError, WeightsError) as error:
        return facts | {"problem": str(error)}
    problems = []
    for family, settings in guesses:
        try:
            costs = costs_of(Named(file, family, settings).rehearsed()).as_dict()
            facts["families"].append({"family": family, **vars(settings), **costs})
        except WeightsError as error:
            problems.append(str(error))
    return facts if facts["families"] else facts | {"problem": "; ".join(problems) or _NO_FAMILY}


def import_file(
    name: str, out: Path, *, family: str | None = None, force: bool = False
) -> dict[str, Any]:
    """Check that a foreign file is whole, and write its tensors as a checkpoint of ours.

    Tensors keep names and types. `model.weights: OUT` trains on from it, `--weights OUT` embeds.
    OUT is whole or as it was; one that exists is replaced with `force` alone.

    Raises:
        WeightsError: unreadable, of no family or another one, tensors that do not fit, or an
            output that must not be written.
    """
    _check_target(name, out, force=force)
    named = name_model(name, family=family)
    model, tensors = named.rehearsed(), named.file.tensors
    facts = _described(model, named.config())
    facts["source"] = {"file": Path(name).name, "container": named.file.container}
    with new_output(out, force=force) as path:
        _write_ours(path, tensors, facts)
    return {
        "out": str(out),
        "model": facts["model"],
        "keys": len(tensors),
        "hash": weights_hash(tensors),
    }


@dataclass(frozen=True)
class ExportOptions:
    """How a model is exported."""

    layout: str = "state-dict"
    """One of EXPORT_FORMATS."""
    family: str | None = None
    """Of the source, where its tensors fit several."""
    full: bool = False
    """Keep fp32 where the originals write fp16."""
    force: bool = False
    """Replace an output that exists."""


def export_file(
    source: str | None, out: Path, *, store: str, options: ExportOptions
) -> dict[str, Any]:
    """Write a model in one of the originals' formats; `out` is whole or as it was.

    Args:
        source: a weights file; None: the model of the store's last run.
        out: the file to write.
        store: root of the store; read where there is no source.
        options: format and what else there is to say.

    Raises:
        WeightsError: a source that cannot be used, a format that has no place for it, or an output
            that must not be written.
        MissingArtifactError: a store without a trained model.
    """
    layout = options.layout
    if layout not in EXPORT_FORMATS:
        raise WeightsError(f"no format ({layout}); there are {', '.join(EXPORT_FORMATS)}")
    _check_target(source, out, force=options.force)
    if source is None:
        session = Session(last_config(store))
        config, trained_model = session.config.model, trained(session)
        model, epoch = model_from(trained_model.path, config), trained_model.best_epoch
    else:
        named = name_model(source, family=options.family)
        config, model = named.config(), named.build()
        told = named.file.facts.get("epoch")
        epoch = told if isinstance(told, int) else 0
    with new_output(out, force=options.force) as path:
        if layout == SAFETENSORS:
            _write_ours(path, model.state_dict(), _described(model, config))
        else:
            save_state(path, _as_original(model, layout, epoch=epoch, half=not options.full))
    size = out.stat().st_size
    return {"out": str(out), "format": layout, "family": config.family, "bytes": size}


def _as_original(model: RetrievalModel, layout: str, *, epoch: int, half: bool) -> dict[str, Any]:
    try:
        return export_as(model, layout, epoch=epoch, half=half)
    except ModelError as error:
        raise WeightsError(str(error)) from None


def _write_ours(out: Path, tensors: Mapping[str, Tensor], facts: Mapping[str, Any]) -> None:
    named = {WEIGHTS + key: tensor for key, tensor in tensors.items()}
    save_checkpoint(out, tensors=named, metadata=facts)


def _described(model: RetrievalModel, config: ModelConfig) -> dict[str, Any]:
    """Metadata of a checkpoint of ours that no training wrote."""
    sizes = getattr(model, "architecture", None)
    return {
        "model": model_settings(config),
        "sizes": dict(vars(sizes)) if sizes is not None else {},
    }


def _sizes(state: Mapping[str, Tensor]) -> dict[str, int]:
    return dict(vars(architecture_of(state)))


def _check_target(source: str | None, out: Path, *, force: bool) -> None:
    """Refuse an output before anything is read: its own source, one that exists, no folder."""
    if source is None:
        if out.is_file() and not force:
            raise WeightsError(
                f"({out}) exists already and would become the store's model; --force overwrites"
                " it, another name keeps it; to export that file itself, give FILE OUT",
                path=str(out),
            )
    elif out.is_file():
        origin = Path(os.path.realpath(Path(source.removeprefix(PREFIX)).expanduser()))
        if origin in (out.resolve(), out.resolve().parent):  # the folder of hf:FOLDER
            raise WeightsError(
                f"({out}) would be written over its own source; name another file", path=str(out)
            )
    check_output(out, force=force)
