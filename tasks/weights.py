"""Which model embeds a person's folder: the weights they name, else the best there is.

In this order: the file that is named; the model the store's last run trained; an OpenAI archive in
``~/.cache/clip``; and, so that the pipeline can be tried on any machine, a tiny untrained model,
which is said loudly, since its vectors mean nothing.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from configs import PipelineConfig
from models.convert import architecture_of, recognise
from models.errors import WeightsError as UnknownWeightsError
from storage.checkpoints import read_weights
from storage.errors import MissingArtifactError, WeightsError
from tasks.recording import last_config
from tasks.train import find_trained

__all__ = ["ChosenModel", "choose_weights"]

ARCHIVES = ("ViT-B-16.pt", "ViT-B-32.pt", "ViT-L-14.pt")
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


def choose_weights(named: Path | None, *, store: str) -> ChosenModel:
    """Choose the model for `reelvec embed`.

    Raises:
        WeightsError: the named file is missing, unsafe, or of no family.
    """
    if named is not None:
        return _from_file(named)
    return _trained_here(store) or _downloaded() or _untrained()


def _from_file(path: Path) -> ChosenModel:
    if not path.is_file():
        raise WeightsError(f"no weights file at ({path}); check --weights", path=str(path))
    state = read_weights(path)
    try:
        family, settings = recognise(state)[0]
        size = architecture_of(state).image_size
    except (UnknownWeightsError, IndexError) as error:
        raise WeightsError(f"({path}) fits no model family: {error}", path=str(path)) from None
    model = {
        "family": family,
        "options": settings.options,
        "weights": str(path.resolve()),
        "max_words": settings.max_words,
        "max_frames": settings.max_frames,
    }
    return ChosenModel(model, {"size": size}, f"Embedded with {path} ({family}).")


def _trained_here(store: str) -> ChosenModel | None:
    """The model the last run of the store embedded with."""
    try:
        config = last_config(store)
    except MissingArtifactError:
        return None
    trained = find_trained(config)
    if trained is None or _is_untrained(config):
        return None
    model = config.model.model_dump(mode="json") | {"weights": str(trained.path)}
    note = f"Embedded with the model that the run ({config.name}) of this store trained."
    return ChosenModel(model, config.extract.model_dump(mode="json"), note)


def _is_untrained(config: PipelineConfig) -> bool:
    return config.train.epochs == 0 and config.model.weights is None


def _downloaded() -> ChosenModel | None:
    cache = Path.home() / ".cache" / "clip"
    found = [cache / name for name in ARCHIVES if (cache / name).is_file()]
    return _from_file(found[0]) if found else None


def _untrained() -> ChosenModel:
    from models.clip.architecture import architecture

    model = {"family": "frozen", "architecture": "tiny"}
    return ChosenModel(model, {"size": architecture("tiny").image_size}, UNTRAINED)
