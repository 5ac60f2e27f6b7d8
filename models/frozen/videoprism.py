"""VideoPrism-LvT, Google's video and text encoder, through `transformers`.

Source: specs/clip-native-encoders.md 3. The attention mask is compulsory for texts, or padding
is attended to without a word. Any other number of frames, or position embeddings that are
interpolated for it, would give other vectors.
"""

from __future__ import annotations

import string
from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor

from reelvec.configs.decoding import FrameForm
from reelvec.models.costs import Macs, transformer_macs
from reelvec.models.family import at_least_fp32
from reelvec.models.features import VideoFeatures
from reelvec.models.frozen.clip import FrozenOptions
from reelvec.models.frozen.clips import Clip, ClipEncoder, resized, tokens_of
from reelvec.models.frozen.input import FrameCount, OwnInput
from reelvec.models.frozen.loading import load
from reelvec.models.frozen.packed_files import json_file, unpacked
from reelvec.models.frozen.preprocessing import number_of
from reelvec.models.sampling.rules import Rule
from reelvec.models.temporal import unit

__all__ = ["VideoPrism"]

_REMEDY = "take the checkpoint's own"
_TO_SPACES = str.maketrans(dict.fromkeys(string.punctuation, " "))


class VideoPrism(ClipEncoder):
    """Column `embedding` on both sides; a score is the cosine, there is no scale."""

    def __init__(self, files: Tensor, *, options: FrozenOptions, max_frames: int) -> None:
        """Build with random weights.

        Raises:
            OptionsError: `transformers` is missing, options it has not, another number of frames.
            WeightsError: files it cannot be built from.
        """
        options.check_none("VideoPrism")
        contents = unpacked(files)
        config = json_file(contents, "config.json", remedy=_REMEDY)
        super().__init__(
            files,
            own=self.own_input(contents),
            width=number_of(config, "vision_config", "hidden_size", default=768),
            max_words=number_of(config, "text_config", "max_position_embeddings", default=64),
            max_frames=max_frames,
        )
        self.encoder, self._tokenizer = load(contents)
        self.requires_grad_(False)

    @classmethod
    def own_input(cls, files: Mapping[str, bytes]) -> OwnInput:
        """What a checkpoint's unpacked small files say of frames; see `kinds.own_input_of`."""
        config = json_file(files, "config.json", remedy=_REMEDY)
        frames = number_of(config, "vision_config", "num_frames", default=16)
        side = number_of(config, "vision_config", "image_size", default=288)
        return OwnInput(
            FrameForm(size=side, fit="squash"),
            FrameCount(frames, exact=True),
            rule=Rule(policy="videoprism", count=frames),
        )

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
        return unit(at_least_fp32(found.flatten(1)))

    def encode_clip(self, clip: Clip) -> VideoFeatures:
        """`embedding` [1, D], unit."""
        self.frame_count.check(len(clip.frames))
        encoder: Any = self.encoder
        side = self.image_size
        pixels = resized(clip.frames, size=(side, side), kind=self.pixels.interpolation)
        values = (pixels.float() * (1 / 255)).to(encoder.dtype)[None]
        found = encoder.get_video_features(pixel_values_videos=values).pooler_output[:, 0]
        return VideoFeatures({"embedding": unit(at_least_fp32(found))})


def as_written(text: str) -> str:
    """A caption as the authors' tokenizer takes it: no punctuation, lower case, a full stop."""
    return " ".join(text.translate(_TO_SPACES).lower().split()) + "."
