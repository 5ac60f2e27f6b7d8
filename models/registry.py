"""Model families by name: the only list of them; a family is imported when it is asked for."""

from __future__ import annotations

import difflib
import importlib
from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from reelvec.configs.errors import rule
from reelvec.models.errors import OptionsError
from reelvec.models.options import FamilyOptions

if TYPE_CHECKING:  # names of families are asked for where no model is built
    from reelvec.models.clip.architecture import Architecture
    from reelvec.models.family import RetrievalModel

__all__ = [
    "FAMILIES",
    "ZERO_SHOT",
    "build",
    "family_class",
    "family_names",
    "trainable_names",
    "validate_options",
]

FAMILIES: Mapping[str, tuple[str, str]] = MappingProxyType(
    {
        "clip4clip": ("reelvec.models.clip4clip", "Clip4Clip"),
        "clip2video": ("reelvec.models.clip2video.model", "Clip2Video"),
        "xclip": ("reelvec.models.xclip.model", "XClip"),
        "adaclip": ("reelvec.models.adaclip.model", "AdaClip"),
        "teachclip": ("reelvec.models.teachclip", "TeachClip"),
        "drl": ("reelvec.models.drl.model", "Drl"),
        "ts2net": ("reelvec.models.ts2net", "Ts2Net"),
        "ucofia": ("reelvec.models.ucofia.model", "Ucofia"),
        "xpool": ("reelvec.models.xpool.model", "XPool"),
        "xpool_baseline": ("reelvec.models.xpool.baseline", "XPoolBaseline"),
        "frozen": ("reelvec.models.frozen.clip", "Frozen"),
    }
)
"""Family -> (module, class), built as cls(options, architecture=, max_words=, max_frames=)."""

ZERO_SHOT = "frozen"
"""The family that embeds with weights as they are; what an archive alone is used with."""


def family_names() -> tuple[str, ...]:
    """Every family there is."""
    return tuple(FAMILIES)


def trainable_names() -> tuple[str, ...]:
    """The families that training changes."""
    return tuple(name for name in FAMILIES if family_class(name).trainable)


def family_class(family: str) -> type[RetrievalModel]:
    """The class of a family.

    Raises:
        OptionsError: no such family; the message lists them and the nearest.
    """
    if family not in FAMILIES:
        raise OptionsError(
            f"no model family {family!r}: there are {', '.join(FAMILIES)}"
            f"{_nearest(family, FAMILIES)}"
        )
    module, name = FAMILIES[family]
    cls: type[RetrievalModel] = getattr(importlib.import_module(module), name)
    return cls


def validate_options(family: str, options: Mapping[str, Any]) -> FamilyOptions:
    """A family's options, checked.

    Raises:
        OptionsError: unknown key (the nearest is named) or a value out of range.
    """
    options_class = family_class(family).options_class
    try:
        return options_class.model_validate(dict(options))
    except ValidationError as error:
        lines = []
        for problem in error.errors():
            key = ".".join(str(part) for part in problem["loc"])
            message = rule(problem["msg"])
            if problem["type"] == "extra_forbidden":
                known = options_class.model_fields
                message = f"no such option; there are {', '.join(known)}{_nearest(key, known)}"
            given = f" (given {problem['input']!r})" if key else ""
            lines.append(f"{family}.{key}: {message}{given}" if key else f"{family}: {message}")
        raise OptionsError("; ".join(lines)) from None


def build(
    family: str,
    *,
    options: Mapping[str, Any],
    architecture: Architecture,
    max_words: int,
    max_frames: int,
) -> RetrievalModel:
    """A model of a family with random weights, on the CPU, in fp32.

    Args:
        family: a name of `family_names()`.
        options: the family's own options, by name.
        architecture: sizes of the towers (`models.clip.architecture`).
        max_words: tokens of a caption, start and end included.
        max_frames: frames of a video.

    Returns:
        The model in training mode. The caller sets the seed (torch's default generator is drawn
        from), and loads weights: `conversion.weights.start` or the model's own `init_from_clip`.

    Raises:
        OptionsError: unknown family or option, or options that exclude each other.
    """
    checked = validate_options(family, options)
    make: Any = family_class(family)
    model: RetrievalModel = make(
        checked, architecture=architecture, max_words=max_words, max_frames=max_frames
    )
    return model


def _nearest(name: str, names: Mapping[str, Any]) -> str:
    near = difflib.get_close_matches(name, names, n=1)
    return f"; did you mean {near[0]!r}?" if near else ""
