"""What the small files of a PE-Video or PE-AV checkpoint say: frames, pixels, towers."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any, Literal

from torch import Tensor

from reelvec.configs.decoding import FrameForm
from reelvec.models.errors import WeightsError
from reelvec.models.frozen.input import FrameCount, Hearing, OwnInput
from reelvec.models.frozen.packed_files import json_file
from reelvec.models.frozen.perception_trunks import TRUNKS, Trunk
from reelvec.models.frozen.preprocessing import MAX_NUMBER
from reelvec.models.sampling.rules import Rule

__all__ = [
    "MOST_TOKENS",
    "RATIOS",
    "TRUNK",
    "VIDEO",
    "HearingConfig",
    "audio_rate",
    "hearing_config",
    "pe_video_input",
    "text_config",
    "trunk_of",
    "video_config",
]

VIDEO = "encoder.video_encoder."
TRUNK = VIDEO + "embedder.vision_model.timm_model."
"""How names of tensors begin."""
MOST_TOKENS = 9_999
"""Of sound, by the rotary positions."""
RATIOS = (2, 8, 10, 12)
"""Strides of the sound encoder, where the file says nothing; their product is a token."""
_REMEDY = "take the checkpoint's own"
_SETTINGS = ("processor_config.json", "video_preprocessor_config.json", "preprocessor_config.json")
_INTERPOLATIONS: Mapping[Any, Literal["bicubic", "bilinear"]] = MappingProxyType(
    {2: "bilinear", 3: "bicubic"}
)
_USUAL, _RATE, _MOST = 64, 2.0, 9_999
"""Frames of a checkpoint that takes any number: MTEB's, a second, and by its rotary positions."""
_HALF = 0.5
_TOWER = "vit_pe_core_large_patch14_336"
_ARGUMENTS = ("embed_dim", "depth", "num_heads", "img_size", "patch_size", "ref_feat_shape")
_TEXT: Mapping[str, Any] = MappingProxyType(
    {
        "hidden_size": 1024,
        "intermediate_size": 2624,
        "num_hidden_layers": 22,
        "num_attention_heads": 16,
    }
)
"""What PE's configuration class takes where the file says nothing; the rest is ModernBERT's."""


_RATE_HEARD = 48_000


@dataclass(frozen=True)
class HearingConfig:
    """Configurations of PE-AV's encoders of sound, of sound and pictures, and of DAC."""

    audio: Mapping[str, Any]
    both: Mapping[str, Any]
    dac: Mapping[str, Any]


def hearing_config(files: Mapping[str, bytes]) -> HearingConfig:
    """Of a PE-AV checkpoint."""
    both = _section(json_file(files, "config.json", remedy=_REMEDY), "audio_video_config")
    audio = _section(both, "audio_config")
    return HearingConfig(audio, both, dac=_section(audio, "dac_config"))


def audio_rate(files: Mapping[str, bytes]) -> int:
    """Samples a second that the checkpoint's feature extractor asks for."""
    for name in (_SETTINGS[0], _SETTINGS[2]):
        if name in files:
            document = json_file(files, name, remedy=_REMEDY)
            said = {**document, **_section(document, "feature_extractor")}
            if "sampling_rate" in said:
                return _whole("sampling_rate", said["sampling_rate"])
    return _RATE_HEARD


def _hearing_of(files: Mapping[str, bytes]) -> Hearing:
    """What a PE-AV checkpoint hears: so many seconds as its rotary positions reach."""
    rate, ratios = audio_rate(files), hearing_config(files).dac.get("downsampling_ratios", RATIOS)
    hop = math.prod(_whole("downsampling_ratios", one) for one in ratios)
    return Hearing(rate, MOST_TOKENS * hop / rate)


def pe_video_input(files: Mapping[str, bytes]) -> OwnInput:
    """Frames and pixels, as the checkpoint's video processor has them.

    Raises:
        WeightsError: settings that are not built, or cannot be.
    """
    given = _processor(files)
    side = _side(files, given)
    for key in ("image_mean", "image_std"):
        if given.get(key) not in (None, [_HALF] * 3, _HALF):
            raise WeightsError(f"the video processor's {key} ({given[key]!s:.60}) must be {_HALF}")
    how = given.get("resample", 2)
    if type(how) is not int or how not in _INTERPOLATIONS:
        raise WeightsError(f"the video processor's resample ({how!s:.40}) must be 2 or 3")
    form = FrameForm(size=side, fit="squash", interpolation=_INTERPOLATIONS[how])
    hearing = _hearing_of(files) if _hears(files) else None
    count = given.get("num_frames")
    if count is None:
        usual = FrameCount(_USUAL, exact=False, most=_MOST)
        return OwnInput(form, usual, rule=Rule(rate=_RATE, max_frames=_USUAL), hearing=hearing)
    count = _whole("num_frames", count)
    exact = FrameCount(count, exact=True, to_both_ends=True)
    return OwnInput(form, exact, rule=Rule(policy="pe_video", count=count), hearing=hearing)


def video_config(files: Mapping[str, bytes]) -> Mapping[str, Any]:
    """The configuration of the video's encoder, of PE-Video and of PE-AV."""
    config: Mapping[str, Any] = json_file(files, "config.json", remedy=_REMEDY)
    if _hears(files):
        config = _section(config, "audio_video_config")
    return _section(config, "video_config")


def text_config(files: Mapping[str, bytes]) -> dict[str, Any]:
    """ModernBERT's.

    Raises:
        WeightsError: another text tower.
    """
    given = dict(_section(json_file(files, "config.json", remedy=_REMEDY), "text_config"))
    kind = given.pop("model_type", "modernbert")
    if kind != "modernbert":
        raise WeightsError(f"config.json's text tower ({kind!s:.40}) must be modernbert")
    return {**_TEXT, **given}


def trunk_of(files: Mapping[str, bytes], state: Mapping[str, Tensor]) -> Trunk:
    """What no shape tells of the image tower.

    Raises:
        WeightsError: a tower that is not known, or arguments that are not built.
    """
    name, arguments = _tower(files)
    if name not in TRUNKS:
        raise WeightsError(
            f"the image tower vision_config.architecture ({name!s:.60}) is not supported: there"
            f" are {', '.join(TRUNKS)}"
        )
    others = [key for key, value in arguments.items() if key not in _ARGUMENTS and value]
    if others:
        raise WeightsError(f"vision_config.model_args.{others[0]} is not built; {_REMEDY}")
    trunk = replace(TRUNKS[name], class_token=TRUNK + "cls_token" in state)
    if "num_heads" in arguments:
        trunk = replace(trunk, heads=_whole("num_heads", arguments["num_heads"]))
    if "ref_feat_shape" in arguments:
        shape = arguments["ref_feat_shape"]
        if not isinstance(shape, list) or len(shape) != 2 or shape[0] != shape[1]:
            raise WeightsError(f"model_args.ref_feat_shape ({shape!s:.40}) must be a square")
        trunk = replace(trunk, rotary_grid=_whole("ref_feat_shape", shape[0]))
    return trunk


def _hears(files: Mapping[str, bytes]) -> bool:
    """Whether it is PE-AV; PE-Video is its seeing half."""
    config = json_file(files, "config.json", remedy=_REMEDY)
    return bool(config.get("model_type") == "pe_audio_video")


def _tower(files: Mapping[str, bytes]) -> tuple[str, Mapping[str, Any]]:
    """Name and arguments of the image tower."""
    vision = _section(video_config(files), "vision_config")
    name = str(vision.get("architecture", _TOWER)).partition(".")[0]
    return name, _section(vision, "model_args")


def _processor(files: Mapping[str, bytes]) -> Mapping[str, Any]:
    """The video processor's settings, in the order transformers looks for them."""
    for name in _SETTINGS:
        if name in files:
            document = json_file(files, name, remedy=_REMEDY)
            if name != _SETTINGS[0]:
                return document
            if document.get("video_processor"):
                return _section(document, "video_processor")
    return {}


def _side(files: Mapping[str, bytes], given: Mapping[str, Any]) -> int:
    """Pixels of a frame's side: the processor's, else the image tower's."""
    size = given.get("size")
    if isinstance(size, Mapping) and size:
        if set(size) != {"height", "width"} or size["height"] != size["width"]:
            raise WeightsError(
                f"the video processor's size ({size!s:.60}) must be a height and the same width:"
                " other forms are not built"
            )
        return _whole("size", size["height"])
    if size is not None and size != {}:
        return _whole("size", size)
    name, arguments = _tower(files)
    if "img_size" in arguments:
        return _whole("img_size", arguments["img_size"])
    found = re.search(r"_(\d{2,4})$", name)
    return int(found[1]) if found else 336


def _whole(name: str, value: object) -> int:
    if type(value) is not int or not 1 <= value <= MAX_NUMBER:
        raise WeightsError(
            f"the checkpoint gives {name} as ({value!s:.40}); it must be a whole number from 1 to"
            f" {MAX_NUMBER:,}"
        )
    return value


def _section(document: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """A JSON object inside another; {} where it is absent or null."""
    section = document.get(name)
    if section is None:
        return {}
    if not isinstance(section, Mapping):
        raise WeightsError(f"the checkpoint's {name} ({section!s:.40}) is no JSON object")
    return section
