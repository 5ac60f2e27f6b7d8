"""Meta's Perception Encoder (PE-core) as it is: mean-pooled frames, no training.

Checkpoints in OpenCLIP's layout (`timm/PE-Core-*` on the hub): tensors, and a configuration that
says what they mean. The tokenizer is CLIP's. Neither transformers, timm nor OpenCLIP is needed.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from torch import Tensor

from reelvec.configs.decoding import FrameForm
from reelvec.models.clip.architecture import MAX_LAYERS
from reelvec.models.clip.packing import encode_packed
from reelvec.models.costs import Macs, transformer_macs
from reelvec.models.errors import InputError, WeightsError
from reelvec.models.family import RetrievalModel, at_least_fp32
from reelvec.models.features import Column, Columns, TextFeatures, VideoFeatures
from reelvec.models.frozen.clip import FrozenOptions
from reelvec.models.frozen.input import OwnInput
from reelvec.models.frozen.packed_files import OPEN_CLIP_CONFIG, json_file, unpacked
from reelvec.models.frozen.perception_towers import (
    ImageSizes,
    PerceptionTowers,
    TextSizes,
    image_macs,
)
from reelvec.models.frozen.perception_trunks import TRUNKS, Trunk, sizes_of_trunk
from reelvec.models.temporal import pool, unit

__all__ = ["PerceptionEncoder"]

PREFIX = "encoder."
"""Of the towers' tensors in a state."""
TRUNK = PREFIX + "visual.trunk."
CLIP_VOCABULARY = 49_408
_MAX_NUMBER = 1_000_000
_SIZES = ("context_length", "vocab_size", "width", "heads", "layers")
_NO_MATTER = (
    *("pad_id", "eos_id", "output_tokens"),
    *("hf_model_pretrained", "hf_proj_type", "hf_pooler_type"),
)
_TEXT_AS_CLIP = {"pool_type": "argmax", "proj_type": "linear", "mlp_ratio": 4.0}


class PerceptionEncoder(RetrievalModel):
    """PE-core's two towers. Column `embedding` on both sides.

    `max_words` is the text tower's context length, whatever is asked.
    """

    options_class = FrozenOptions
    trainable = False
    files: Tensor

    def __init__(
        self, state: Mapping[str, Tensor], *, options: FrozenOptions, max_frames: int
    ) -> None:
        """Build with random weights.

        Args:
            state: the checkpoint's tensors under `encoder.`, of which only shapes are read, and
                its packed configuration, `files`.
            options: none of them.
            max_frames: frames of a video.

        Raises:
            OptionsError: any option.
            WeightsError: a configuration that is not PE-core's, or without tensors of its shape.
        """
        options.check_none("PE-core")
        contents = unpacked(state["files"])
        config = _config(contents)
        image, text = image_sizes(config, state), text_sizes(config)
        self._pixels = _own_input(contents).form
        self.mean, self.std = _colours(config)
        super().__init__(
            image_size=image.grid * image.patch_size,
            max_words=text.context_length,
            max_frames=max_frames,
        )
        self._image, self._text = image, text
        self._width = _number(config["model_cfg"], "embed_dim")
        self.encoder = PerceptionTowers(image, text, embed_dim=self._width)
        self.register_buffer("files", state["files"].clone())
        self.requires_grad_(False)

    @classmethod
    def own_input(cls, files: Mapping[str, bytes]) -> OwnInput:
        """What a checkpoint's unpacked small files say of frames; see `kinds.own_input_of`."""
        return _own_input(files)

    @property
    def text_columns(self) -> Columns:
        """One vector."""
        return {"embedding": Column((self._width,))}

    @property
    def video_columns(self) -> Columns:
        """One vector."""
        return {"embedding": Column((self._width,))}

    @property
    def pixels(self) -> FrameForm:
        """As the checkpoint's configuration says."""
        return self._pixels

    @property
    def logit_scale(self) -> Tensor:
        """The checkpoint's."""
        return self.encoder.logit_scale

    def macs(self) -> Macs:
        """The towers'; of a text the end token alone is projected."""
        video = image_macs(self._image, embed_dim=self._width, frames=self.max_frames)
        text = transformer_macs(
            self._text.width, layers=self._text.layers, tokens=self._text.context_length
        )
        return Macs(text + self._text.width * self._width, video)

    def encode_text(self, tokens: Tensor) -> TextFeatures:
        """`embedding` [T, D], unit."""
        if tokens.ndim != 2 or tokens.shape[1] != self.max_words:
            raise InputError(
                f"tokens of shape {tuple(tokens.shape)}: this model takes [T, {self.max_words}]; "
                "tokenize with the model itself"
            )
        return TextFeatures({"embedding": unit(at_least_fp32(self.encoder.encode_text(tokens)))})

    def encode_video(self, frames: Tensor, mask: Tensor, **_: Any) -> VideoFeatures:
        """`embedding` [V, D]: the unit mean of unit frames."""
        vectors = encode_packed(self.encoder.encode_frames, frames, mask)
        return VideoFeatures({"embedding": pool(at_least_fp32(vectors), mask)})


def _own_input(files: Mapping[str, bytes]) -> OwnInput:
    """What a configuration says of frames: OpenCLIP crops, bicubic, with Pillow by default.

    Raises:
        WeightsError: a configuration that is not PE-core's, or asks for what is not built.
    """
    fits: dict[Any, Literal["crop", "squash"]] = {"shortest": "crop", "squash": "squash"}
    config = _config(files)
    images, size = _section(config, "preprocess_cfg"), _number(_vision(config), "image_size")
    mode, how = images.get("resize_mode", "shortest"), images.get("interpolation", "bicubic")
    if mode not in fits or how not in ("bicubic", "bilinear"):
        raise WeightsError(
            f"preprocess_cfg.resize_mode ({mode!s:.40}) and interpolation ({how!s:.40}) must be"
            f" {' or '.join(fits)}, and bicubic or bilinear"
        )
    form = FrameForm(size=size, fit=fits[mode], interpolation=how, resize="pillow")
    return OwnInput(form)


def image_sizes(config: Mapping[str, Any], state: Mapping[str, Tensor]) -> ImageSizes:
    """Sizes of the image tower: from the configuration, and from shapes where it says nothing.

    Raises:
        WeightsError: no tower of PE-core, or sizes that exclude each other.
    """
    vision = _vision(config)
    trunk, side = _trunk(vision), _number(vision, "image_size")
    return sizes_of_trunk(state, prefix=TRUNK, trunk=trunk, side=side)


def text_sizes(config: Mapping[str, Any]) -> TextSizes:
    """Sizes of the text tower, which the configuration says whole.

    Raises:
        WeightsError: another text tower than CLIP's, or a size that is missing or cannot be.
    """
    text = _section(config["model_cfg"], "text_cfg")
    for key, value in text.items():
        wanted = _TEXT_AS_CLIP.get(key)
        if key not in (*_SIZES, *_NO_MATTER) and value != wanted and (value or wanted):
            raise WeightsError(
                f"text_cfg.{key} ({value}) is not supported: PE-core's text tower is CLIP's,"
                f" with {wanted or 'nothing'} there"
            )
    if config["model_cfg"].get("quick_gelu"):
        raise WeightsError("model_cfg.quick_gelu is not supported: PE-core's GELU is the exact one")
    sizes = TextSizes(**{name: _number(text, name) for name in _SIZES})
    if sizes.vocab_size != CLIP_VOCABULARY:
        raise WeightsError(
            f"text_cfg.vocab_size is {sizes.vocab_size}; the tokenizer is CLIP's, of"
            f" {CLIP_VOCABULARY} tokens"
        )
    if sizes.width % sizes.heads:
        raise WeightsError(
            f"text_cfg.width {sizes.width} is no multiple of text_cfg.heads {sizes.heads}"
        )
    return sizes


def _config(files: Mapping[str, bytes]) -> dict[str, Any]:
    config = json_file(files, OPEN_CLIP_CONFIG, remedy="take the folder it lies in")
    _section(config, "model_cfg")
    return config


def _section(config: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    section = config.get(name)
    if not isinstance(section, Mapping):
        raise WeightsError(f"{OPEN_CLIP_CONFIG} says no {name}; take the checkpoint's own")
    return section


def _number(section: Mapping[str, Any], name: str) -> int:
    number = section.get(name)
    most = MAX_LAYERS if name == "layers" else _MAX_NUMBER
    if type(number) is not int or not 1 <= number <= most:
        raise WeightsError(
            f"{OPEN_CLIP_CONFIG} gives {name} as ({number!s:.40}); it must be a whole number from 1"
            f" to {most:,}"
        )
    return number


def _vision(config: Mapping[str, Any]) -> Mapping[str, Any]:
    return _section(config["model_cfg"], "vision_cfg")


def _trunk(vision: Mapping[str, Any]) -> Trunk:
    """The image tower of that name; refused where it is pooled or projected in another way."""
    name = str(vision.get("timm_model_name")).partition(".")[0]
    if name not in TRUNKS:
        raise WeightsError(
            f"a checkpoint of OpenCLIP with vision_cfg.timm_model_name ({name}) is not supported:"
            f" there are {', '.join(TRUNKS)}; others may be had in transformers' layout"
        )
    pooling, projection = vision.get("timm_pool", "avg"), vision.get("timm_proj", "linear")
    if pooling != "map" or projection:
        raise WeightsError(
            f"vision_cfg.timm_pool ({pooling}) and timm_proj ({projection}) are not supported:"
            " PE-core has map and null"
        )
    return TRUNKS[name]


def _colours(config: Mapping[str, Any]) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation a channel."""
    images = _section(config, "preprocess_cfg")
    triples = []
    for name in ("mean", "std"):
        values = images.get(name)
        if not isinstance(values, list) or len(values) != 3:
            raise WeightsError(f"preprocess_cfg.{name} is ({values}); it must be three numbers")
        triples.append(tuple(map(float, values)))
    return triples[0], triples[1]
