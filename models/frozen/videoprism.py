"""VideoPrism-LvT, Google's video and text encoder, through `transformers`.

Source: specs/clip-native-encoders.md 3. The attention mask is compulsory for texts, or padding
is attended to without a word. Any other number of frames, or position embeddings that are
interpolated for it, would give other vectors.
"""

from __future__ import annotations

import string
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from reelvec.configs.decoding import FrameForm
from reelvec.models.costs import Macs, transformer_macs
from reelvec.models.features import Column, Columns, VideoFeatures
from reelvec.models.frozen.clip import FrozenOptions
from reelvec.models.frozen.clips import Clip, ClipEncoder, resized, tokens_of
from reelvec.models.frozen.input import FrameCount, OwnInput
from reelvec.models.frozen.loading import load
from reelvec.models.frozen.packed_files import json_file, unpacked
from reelvec.models.frozen.preprocessing import number_of
from reelvec.models.sampling.rules import Rule
from reelvec.models.temporal import unit

__all__ = ["VideoPrism", "own_input"]

_REMEDY = "take the checkpoint's own"
_TO_SPACES = str.maketrans(dict.fromkeys(string.punctuation, " "))


class VideoPrism(ClipEncoder):
    """Column `embedding` on both sides; a score is the cosine, there is no scale."""

    encoder: nn.Module

    def __init__(self, files: Tensor, *, options: FrozenOptions, max_frames: int) -> None:
        """Build with random weights.

        Raises:
            OptionsError: `transformers` is missing, options it has not, another number of frames.
            WeightsError: files it cannot be built from.
        """
        options.check_none("VideoPrism")
        contents = unpacked(files)
        self._own = own_input(contents)
        self._frame_count = self._own.frame_count or FrameCount(16, exact=True)
        config = json_file(contents, "config.json", remedy=_REMEDY)
        super().__init__(
            image_size=self._own.form.size,
            max_words=number_of(config, "text_config", "max_position_embeddings", default=64),
            max_frames=max_frames,
        )
        self.frame_count.check_asked(max_frames)
        self.encoder, self._tokenizer = load(contents)
        self._width = number_of(config, "vision_config", "hidden_size", default=768)
        self.register_buffer("files", files.clone())
        self.register_buffer("_zero", torch.zeros(()), persistent=False)
        self.requires_grad_(False)

    @property
    def frame_count(self) -> FrameCount:
        """Exactly the configuration's number."""
        return self._frame_count

    @property
    def pixels(self) -> FrameForm:
        """The whole picture as a square."""
        return self._own.form

    @property
    def text_columns(self) -> Columns:
        """One vector."""
        return {"embedding": Column((self._width,))}

    @property
    def video_columns(self) -> Columns:
        """One vector."""
        return {"embedding": Column((self._width,))}

    @property
    def logit_scale(self) -> Tensor:
        """0: the checkpoint has none."""
        zero: Tensor = self.get_buffer("_zero")
        return zero

    def macs(self) -> Macs:
        """Spatial blocks a frame, temporal blocks a place, auxiliary blocks over all of both."""
        config: Any = self.encoder.config
        vision, text = config.vision_config, config.text_config
        width, hidden, frames = vision.hidden_size, vision.intermediate_size, self.max_frames
        side = vision.tubelet_size[1]
        places = (self.image_size // side) ** 2
        tokens = places * frames
        video = tokens * vision.num_channels * side**2 * width
        for layers, length in (
            (vision.num_spatial_layers, places),
            (vision.num_temporal_layers, frames),
            (vision.num_auxiliary_layers, tokens),
        ):
            one = transformer_macs(width, layers=layers, tokens=length, hidden=hidden)
            video += one * tokens // length
        video += 2 * hidden * (width + tokens * width + tokens)  # pooled by one query
        words = self.max_words + 1  # the class token
        sentence = transformer_macs(
            text.hidden_size,
            layers=text.num_hidden_layers,
            tokens=words,
            hidden=text.intermediate_size,
        )
        return Macs(sentence, video)

    def tokenize(self, texts: Sequence[str]) -> Tensor:
        """Token ids int64 [T, L] of texts as the authors write them, e.g. `a man runs.`."""
        written = [as_written(text) for text in texts]
        if not written:
            return tokens_of([])
        encoded = self._tokenizer(written, truncation=True, max_length=self.max_words)
        return tokens_of([list(ids) for ids in encoded["input_ids"]])

    def _texts(self, ids: Tensor, mask: Tensor) -> Tensor:
        encoder: Any = self.encoder
        found = encoder.get_text_features(input_ids=ids, attention_mask=mask).pooler_output
        return unit(found.flatten(1).to(_wide(found)))

    def encode_clip(self, clip: Clip) -> VideoFeatures:
        """`embedding` [1, D], unit."""
        self.frame_count.check(len(clip.frames))
        encoder: Any = self.encoder
        side = self.image_size
        pixels = resized(clip.frames, size=(side, side), kind=self._own.form.interpolation)
        values = (pixels.float() * (1 / 255)).to(encoder.dtype)[None]
        found = encoder.get_video_features(pixel_values_videos=values).pooler_output[:, 0]
        return VideoFeatures({"embedding": unit(found.to(_wide(found)))})


def own_input(files: Mapping[str, bytes]) -> OwnInput:
    """What a checkpoint's unpacked small files say of frames."""
    config = json_file(files, "config.json", remedy=_REMEDY)
    frames = number_of(config, "vision_config", "num_frames", default=16)
    form = FrameForm(
        size=number_of(config, "vision_config", "image_size", default=288), fit="squash"
    )
    return OwnInput(
        form, FrameCount(frames, exact=True), rule=Rule(policy="videoprism", count=frames)
    )


def as_written(text: str) -> str:
    """A caption as the authors' tokenizer takes it: no punctuation, lower case, a full stop."""
    return " ".join(text.translate(_TO_SPACES).lower().split()) + "."


def _wide(x: Tensor) -> torch.dtype:
    return torch.float32 if x.dtype in (torch.float16, torch.bfloat16) else x.dtype
