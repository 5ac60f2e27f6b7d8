"""Which family's weights these are, and whether they fit: shapes and facts alone, no numbers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from reelvec.models.conversion.weights import build_for, layout_of, load_checkpoint, start
from reelvec.models.errors import ModelError, WeightsError
from reelvec.models.family import OriginalSettings, RetrievalModel
from reelvec.models.frozen.kinds import own_input_of
from reelvec.models.registry import ZERO_SHOT, family_class, family_names
from reelvec.models.unfilled import unfilled

__all__ = ["check_fits", "recognise"]

MAX_LENGTH = 10_000
"""Of captions (tokens) and of videos (frames) that a file may ask for by itself."""


def recognise(
    state: Mapping[str, Tensor], *, facts: Mapping[str, Any] | None = None
) -> list[tuple[str, OriginalSettings]]:
    """Families a checkpoint may belong to, the likeliest first, with the settings it tells.

    By `facts` where the file has some: a checkpoint of ours names its model, AdaCLIP's carries its
    configuration. Else by keys and shapes: a plain mean-pooled CLIP4Clip, CLIP2Video or AdaCLIP may
    look alike; an archive and a checkpoint of Hugging Face's are used as they are.

    Args:
        state: tensors by name; only shapes are read.
        facts: `storage.weights.checkpoints.WeightsFile.facts`.

    Raises:
        OptionsError, WeightsError: tensors of no layout, or facts that cannot be.
    """
    named, config = (facts or {}).get("model"), (facts or {}).get("config")
    if isinstance(named, Mapping):
        return [_told(named)]
    layout = layout_of(state)
    if layout == "pretrained":
        return [(ZERO_SHOT, _wanted(state["files"]))]
    if layout == "archive":
        return [(ZERO_SHOT, OriginalSettings())]
    if isinstance(config, Mapping) and {"num_frm", "max_txt_len"} <= set(config):
        return [("adaclip", _configured(config))]
    try:
        recognised = [(name, family_class(name).recognise(state)) for name in family_names()]
    except (LookupError, TypeError, ValueError) as error:  # of shapes that no family has
        raise WeightsError(f"tensors of shapes that no family has ({error})") from None
    return [(name, settings) for name, settings in recognised if settings is not None]


def _wanted(files: Tensor) -> OriginalSettings:
    """What a checkpoint hf:… wants to be given; the defaults where it does not say."""
    own = own_input_of(files)
    if own.frame_count is None:
        return OriginalSettings()
    return OriginalSettings(options=dict(own.options), max_frames=own.frame_count.frames)


def _configured(config: Mapping[str, Any]) -> OriginalSettings:
    """AdaCLIP's configuration in our words; the file may hold anything there."""
    try:
        settings = family_class("adaclip").original_settings(config)
    except ModelError:
        raise
    except (LookupError, TypeError, ValueError) as error:
        raise WeightsError(f"the file's configuration is none of AdaCLIP's ({error})") from None
    _length("num_frm", settings.max_frames)
    _length("max_txt_len", settings.max_words)
    return settings


def _length(name: str, value: object) -> int:
    if not isinstance(value, int) or not 1 <= value <= MAX_LENGTH:
        raise WeightsError(
            f"the file gives {name} as ({value!s:.40}); it must be a whole number from 1 to"
            f" {MAX_LENGTH:,}"
        )
    return value


def _told(named: Mapping[str, Any]) -> tuple[str, OriginalSettings]:
    """Family and settings as a checkpoint of ours tells them; it may come from anywhere."""
    family, options = named.get("family"), named.get("options")
    if not isinstance(family, str) or not isinstance(options, Mapping):
        raise WeightsError("the file names its model without a family, or without options")
    words = _length("max_words", named.get("max_words"))
    frames = _length("max_frames", named.get("max_frames"))
    return family, OriginalSettings(options=dict(options), max_words=words, max_frames=frames)


def check_fits(
    state: Mapping[str, Tensor], *, family: str, settings: OriginalSettings
) -> RetrievalModel:
    """Whether a model of a family can be built for tensors and take them all; computes nothing.

    Returns:
        The model without numbers, on the meta device; its sizes are the real ones.

    Raises:
        OptionsError, WeightsError: it cannot.
    """
    shapes = {key: x if key == "files" else x.to("meta") for key, x in state.items()}
    try:
        with unfilled():
            model = build_for(
                shapes,
                family=family,
                options=settings.options,
                max_words=settings.max_words,
                max_frames=settings.max_frames,
            )
            (load_checkpoint if layout_of(shapes) == "checkpoint" else start)(model, shapes)
    except ModelError:
        raise
    except Exception as error:  # hostile shapes and settings may raise anything here
        raise WeightsError(
            f"tensors of these shapes make no model ({type(error).__name__}: {error}); the file is"
            " damaged, or of another model"
        ) from error
    return model
