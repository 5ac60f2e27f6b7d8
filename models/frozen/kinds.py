"""The kinds of checkpoints that are used as they are: which class each is, and what it needs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from torch import Tensor

from reelvec.models.errors import OptionsError, WeightsError
from reelvec.models.family import RetrievalModel
from reelvec.models.frozen.clip import DEAF, FrozenOptions
from reelvec.models.frozen.dual_encoder import DualEncoder
from reelvec.models.frozen.embedding_gemma2 import EmbeddingGemma2
from reelvec.models.frozen.input import OwnInput
from reelvec.models.frozen.loading import check_package
from reelvec.models.frozen.naflex import NaFlex
from reelvec.models.frozen.packed_files import is_open_clip, json_file, unpacked
from reelvec.models.frozen.perception import PerceptionEncoder
from reelvec.models.frozen.perception_video import PerceptionVideo
from reelvec.models.frozen.qwen3_vl import Qwen3VLEmbedding
from reelvec.models.frozen.videoprism import VideoPrism

__all__ = ["KINDS", "adopted", "build_frozen", "check_version", "own_input_of"]


@dataclass(frozen=True)
class Kind:
    """Of one `model_type`."""

    make: Any
    """The class: built of files, options and frames; tells its `own_input`, and may `adopt`."""
    version: str = ""
    """The first of transformers that has it; "": any."""
    by_shapes: bool = False
    """Built of all tensors' shapes, and not of the packed files alone."""


KINDS: Mapping[str, Kind] = MappingProxyType(
    {
        "clip": Kind(DualEncoder),
        "metaclip_2": Kind(DualEncoder),
        "siglip": Kind(DualEncoder),
        "siglip2": Kind(NaFlex),
        "videoprism": Kind(VideoPrism, version="5.13"),
        "embedding_gemma2": Kind(EmbeddingGemma2, version="5.19"),
        "qwen3_vl": Kind(Qwen3VLEmbedding, version="5.0"),
        "pe_video": Kind(PerceptionVideo, version="5.0", by_shapes=True),
        "pe_audio_video": Kind(PerceptionVideo, version="5.0", by_shapes=True),
    }
)
"""`model_type` of a configuration -> what it is here."""
_OPEN_CLIP = Kind(PerceptionEncoder, by_shapes=True)
_PARTS: Mapping[str, str] = MappingProxyType(
    {
        "clip_text_model": "the text tower of a CLIP alone",
        "clip_vision_model": "the image tower of a CLIP alone",
        "siglip_text_model": "the text tower of a SigLIP alone",
        "siglip_vision_model": "the image tower of a SigLIP alone",
        "videoprism_vision_model": "VideoPrism without its text tower",
        "pe_audio": "PE-AV's audio and text without its video",
    }
)
"""Types that are half of what search needs."""


def kind_of(files: Tensor) -> Kind:
    """What packed files are of.

    Raises:
        WeightsError: of a kind that is not supported; the message names it.
    """
    if is_open_clip(files):
        return _OPEN_CLIP
    name = _type_of(files)
    if name in _PARTS:
        raise WeightsError(
            f"a checkpoint of model_type {name!r} is {_PARTS[name]}: texts and videos need both;"
            " give the folder of the whole model"
        )
    if name not in KINDS:
        raise WeightsError(
            f"a checkpoint of model_type {name!r:.60} is not supported: there are"
            f" {', '.join(KINDS)}"
        )
    return KINDS[name]


def check_version(files: Tensor) -> None:
    """Refuse a checkpoint whose package is missing or too old.

    Raises:
        OptionsError: names the version it needs.
    """
    kind = kind_of(files)
    if kind is not _OPEN_CLIP:
        check_package(_type_of(files), version=kind.version)


def own_input_of(files: Tensor) -> OwnInput:
    """What a checkpoint wants to be given; its tensors are not needed.

    Raises:
        WeightsError: a kind that is not supported, or files that do not say it.
    """
    found: OwnInput = kind_of(files).make.own_input(unpacked(files))
    return found


def build_frozen(
    state: Mapping[str, Tensor], *, options: FrozenOptions, max_frames: int
) -> RetrievalModel:
    """The model of a checkpoint's tensors and packed files, with random weights.

    Raises:
        OptionsError: a package that is missing or too old, or options it has not.
        WeightsError: a kind that is not supported, or files that do not fit together.
    """
    check_version(state["files"])
    kind = kind_of(state["files"])
    if options.hears and own_input_of(state["files"]).hearing is None:
        raise OptionsError(DEAF)
    given = state if kind.by_shapes else state["files"]
    model: RetrievalModel = kind.make(given, options=options, max_frames=max_frames)
    return model


def adopted(state: Mapping[str, Tensor], *, hears: bool = False) -> Mapping[str, Tensor]:
    """A checkpoint's tensors under the names of the class that takes them; and what it hears by."""
    make = kind_of(state["files"]).make
    adopt = getattr(make, "adopt_heard" if hears else "adopt", dict)
    renamed: Mapping[str, Tensor] = adopt(state)
    return renamed


def _type_of(files: Tensor) -> str:
    remedy = "save model, tokenizer and image processor into one folder with save_pretrained"
    return str(json_file(unpacked(files), "config.json", remedy=remedy).get("model_type"))
