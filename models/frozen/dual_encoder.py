"""Dual encoders of Hugging Face `transformers`, used as they are: mean-pooled frames, no training.

CLIP- and SigLIP-shaped checkpoints (SigLIP2 of fixed resolution, OpenCLIP's and MetaCLIP's
conversions; NaFlex is `naflex`). Tokenizer, frame size, mean and std are the checkpoint's own. The
package is the optional extra `[hf]`; code that a checkpoint brings along is never run.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from reelvec.configs.decoding import FrameForm
from reelvec.models.clip.packing import encode_packed
from reelvec.models.costs import Macs
from reelvec.models.errors import InputError
from reelvec.models.family import RetrievalModel
from reelvec.models.features import Column, Columns, TextFeatures, VideoFeatures
from reelvec.models.frozen.clip import FrozenOptions
from reelvec.models.frozen.counting import dual_encoder_macs
from reelvec.models.frozen.input import OwnInput
from reelvec.models.frozen.loading import load
from reelvec.models.frozen.packed_files import json_file, unpacked
from reelvec.models.frozen.preprocessing import check_numbers, number_of, preprocessing_of
from reelvec.models.temporal import pool, unit

__all__ = ["DualEncoder", "tokens_to", "vector_of"]

_SCALE = "encoder.logit_scale"
_REMEDY = "save model, tokenizer and image processor into one folder with save_pretrained"


class DualEncoder(RetrievalModel):
    """A `transformers` model with image and text features. Column `embedding` on both sides.

    `max_words` is the length the checkpoint's text tower was made for, whatever is asked: SigLIP
    reads its sentence vector off the last position, padding included.
    """

    options_class = FrozenOptions
    trainable = False
    encoder: nn.Module
    files: Tensor

    def __init__(self, files: Tensor, *, options: FrozenOptions, max_frames: int) -> None:
        """Build with random weights.

        Args:
            files: uint8, the checkpoint's small files as storage.weights.pretrained packs them.
            options: none of them.
            max_frames: frames of a video.

        Raises:
            OptionsError: the extra `[hf]` is not installed.
            WeightsError: files missing, or a model of a kind that is not supported.
        """
        contents = unpacked(files)
        config = _json(contents, "config.json")
        check_numbers(config)
        options.check_none("this dual encoder")
        seen = preprocessing_of(contents)
        self._pixels, self.mean, self.std = seen.form, seen.mean, seen.std
        super().__init__(
            image_size=seen.form.size, max_words=_text_length(config), max_frames=max_frames
        )
        self.encoder, self._tokenizer = load(contents)
        self._width = _width(config)
        self.register_buffer("files", files.clone())
        self.requires_grad_(False)

    @classmethod
    def own_input(cls, files: Mapping[str, bytes]) -> OwnInput:
        """What a checkpoint's unpacked small files say of frames; see `kinds.own_input_of`.

        Raises:
            WeightsError: numbers that cannot be, or files that do not say it.
        """
        check_numbers(_json(files, "config.json"))
        return OwnInput(preprocessing_of(files).form)

    @classmethod
    def adopt(cls, state: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        """The tensors, and the scale CLIP starts training from where a checkpoint has none.

        A text and an image tower saved with their projections, as CLIP4Clip's public checkpoint is,
        are a CLIP but for it; it changes no rank. See `kinds.adopted`.
        """
        config = _json(unpacked(state["files"]), "config.json")
        if config["model_type"] != "clip" or _SCALE in state:
            return state
        return {**state, _SCALE: torch.tensor(math.log(1 / 0.07))}

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
        """As the checkpoint's image processor says."""
        return self._pixels

    @property
    def logit_scale(self) -> Tensor:
        """The checkpoint's. SigLIP's bias is left out: it moves all scores alike."""
        scale: Any = self.encoder.logit_scale
        return torch.as_tensor(scale).reshape(())

    def tokenize(self, texts: Sequence[str]) -> Tensor:
        """Token ids int64 [T, max_words] as the checkpoint's tokenizer gives them."""
        return tokens_to(self.max_words, texts, tokenizer=self._tokenizer)

    def macs(self) -> Macs:
        """By the configuration of the checkpoint."""
        encoder: Any = self.encoder
        return dual_encoder_macs(
            encoder.config,
            words=self.max_words,
            image_size=self.image_size,
            frames=self.max_frames,
        )

    def encode_text(self, tokens: Tensor) -> TextFeatures:
        """`embedding` [T, D], unit."""
        if tokens.ndim != 2 or tokens.shape[1] != self.max_words:
            raise InputError(
                f"tokens of shape {tuple(tokens.shape)}: this model takes [T, {self.max_words}]"
            )
        encoder: Any = self.encoder
        return TextFeatures({"embedding": unit(vector_of(encoder.get_text_features(tokens)))})

    def encode_video(self, frames: Tensor, mask: Tensor, **_: Any) -> VideoFeatures:
        """`embedding` [V, D]: the unit mean of unit frames."""
        return VideoFeatures({"embedding": pool(encode_packed(self._images, frames, mask), mask)})

    def _images(self, frames: Tensor) -> Tensor:
        encoder: Any = self.encoder
        return vector_of(encoder.get_image_features(pixel_values=frames.to(encoder.dtype)))


def _json(files: Mapping[str, bytes], name: str) -> dict[str, Any]:
    return json_file(files, name, remedy=_REMEDY)


def _text_length(config: Mapping[str, Any]) -> int:
    """Tokens the text tower was made for."""
    default = 64 if config.get("model_type") == "siglip" else 77
    return number_of(config, "text_config", "max_position_embeddings", default=default)


def _width(config: Mapping[str, Any]) -> int:
    """Numbers of a vector."""
    if config["model_type"] == "siglip":
        return number_of(config, "vision_config", "hidden_size", default=768)
    return int(config.get("projection_dim", 512))


def tokens_to(length: int, texts: Sequence[str], *, tokenizer: Any) -> Tensor:
    """Token ids int64 [T, length], padded with the tokenizer's own."""
    if not texts:
        return torch.zeros(0, length, dtype=torch.int64)
    encoded = tokenizer(list(texts), padding="max_length", truncation=True, max_length=length)
    return torch.tensor(encoded["input_ids"], dtype=torch.int64)


def vector_of(output: Any) -> Tensor:
    """What `get_*_features` gave: a tensor up to transformers 4, an output with one since."""
    vector: Tensor = output if isinstance(output, Tensor) else output.pooler_output
    return vector.float() if vector.dtype in (torch.float16, torch.bfloat16) else vector
