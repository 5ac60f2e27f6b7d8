"""SigLIP 2 NaFlex through `transformers`: frames in their own proportions, mean-pooled.

Source: specs/clip-native-encoders.md 2; transformers, image_processing_siglip2. A picture is made
as large as its proportions allow with at most `max_num_patches` patches; all frames of a clip have
one shape, so none is padded, and a clip is one call.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from reelvec.configs.decoding import FrameForm
from reelvec.models.costs import Macs
from reelvec.models.features import VideoFeatures
from reelvec.models.frozen.clip import FrozenOptions
from reelvec.models.frozen.clips import Clip, ClipEncoder
from reelvec.models.frozen.counting import dual_encoder_macs
from reelvec.models.frozen.dual_encoder import tokens_to, vector_of
from reelvec.models.frozen.input import OwnInput
from reelvec.models.frozen.loading import load
from reelvec.models.frozen.packed_files import json_file, unpacked
from reelvec.models.frozen.preprocessing import check_numbers, images_of, number_of, values_of
from reelvec.models.temporal import pool, unit

__all__ = ["NaFlex", "grid_of"]

_SIDE = 512
"""Of stored frames: twice what a square picture is shown at with 256 patches."""
_REMEDY = "save model, tokenizer and image processor into one folder with save_pretrained"
_EXACT = 1e-5
"""Of the factor between a picture and what is shown of it."""


class NaFlex(ClipEncoder):
    """Column `embedding` on both sides: the unit mean of unit frames."""

    def __init__(self, files: Tensor, *, options: FrozenOptions, max_frames: int) -> None:
        """Build with random weights.

        Raises:
            OptionsError: `transformers` is missing, or options it has not.
            WeightsError: files it cannot be built from.
        """
        options.check_none("SigLIP 2 NaFlex")
        contents = unpacked(files)
        config, images = json_file(contents, "config.json", remedy=_REMEDY), images_of(contents)
        super().__init__(
            files,
            own=self.own_input(contents),
            width=number_of(config, "vision_config", "hidden_size", default=768),
            max_words=number_of(config, "text_config", "max_position_embeddings", default=64),
            max_frames=max_frames,
        )
        self.mean, self.std = values_of(images)
        self._patch = number_of(config, "vision_config", "patch_size", default=16)
        given = number_of(config, "vision_config", "num_patches", default=256)
        self._patches = number_of({"it": images}, "it", "max_num_patches", default=given)
        self.encoder, self._tokenizer = load(contents)
        self.requires_grad_(False)

    @classmethod
    def own_input(cls, files: Mapping[str, bytes]) -> OwnInput:
        """What a checkpoint's unpacked small files say of frames; see `kinds.own_input_of`."""
        check_numbers(json_file(files, "config.json", remedy=_REMEDY))
        values_of(images_of(files))
        form = FrameForm(size=_SIDE, fit="native", interpolation="bilinear", resize="pillow")
        return OwnInput(form)

    @property
    def logit_scale(self) -> Tensor:
        """The checkpoint's. Its bias is left out: it moves all scores alike."""
        scale: Any = self.encoder.logit_scale
        return torch.as_tensor(scale).reshape(())

    def macs(self) -> Macs:
        """By the configuration, of a picture that fills all patches."""
        encoder: Any = self.encoder
        side = math.isqrt(self._patches) * self._patch
        words, frames = self.max_words, self.max_frames
        return dual_encoder_macs(encoder.config, words=words, image_size=side, frames=frames)

    def tokenize(self, texts: Sequence[str]) -> Tensor:
        """Token ids int64 [T, max_words]: a sentence's vector is read off the last position."""
        return tokens_to(self.max_words, texts, tokenizer=self._tokenizer)

    def _texts(self, ids: Tensor, mask: Tensor) -> Tensor:
        del mask  # padding is read, as the model was trained
        encoder: Any = self.encoder
        return unit(vector_of(encoder.get_text_features(ids)))

    def clip_tokens(self, frames: int, *, size: tuple[int, int]) -> int:
        """Patches of all frames."""
        return frames * math.prod(grid_of(*size, patches=self._patches, patch=self._patch))

    def encode_clip(self, clip: Clip) -> VideoFeatures:
        """`embedding` [1, D], unit."""
        return self.encode_clips([clip])

    def encode_clips(self, clips: Sequence[Clip]) -> VideoFeatures:
        """`embedding` [V, D], unit: all frames of all clips are one batch of pictures."""
        self.frame_count.check(len(clips[0].frames))
        encoder: Any = self.encoder
        rows, columns = grid_of(*clips[0].size, patches=self._patches, patch=self._patch)
        size = (rows * self._patch, columns * self._patch)
        values = torch.cat([self._values(clip.frames, size=size) for clip in clips])
        count = len(values)
        parts = values.reshape(count, 3, rows, self._patch, columns, self._patch)
        patches = parts.permute(0, 2, 4, 3, 5, 1).reshape(count, rows * columns, -1)
        device = patches.device
        found = encoder.get_image_features(
            pixel_values=patches,
            pixel_attention_mask=torch.ones(patches.shape[:2], dtype=torch.int32, device=device),
            spatial_shapes=torch.tensor([[rows, columns]] * count, device=device),
        )
        vectors = vector_of(found).reshape(len(clips), count // len(clips), -1)
        ones = torch.ones(vectors.shape[:2], dtype=torch.int64, device=device)
        return VideoFeatures({"embedding": pool(vectors, ones)})

    def _values(self, frames: Tensor, *, size: tuple[int, int]) -> Tensor:
        """Frames uint8 [T, H, W, 3] as normalised [T, 3, h, w], resized by Pillow."""
        encoder: Any = self.encoder
        height, width = size
        levels = [
            np.asarray(Image.fromarray(frame).resize((width, height), Image.Resampling.BILINEAR))
            for frame in frames.cpu().numpy()
        ]
        values = torch.from_numpy(np.stack(levels)).to(frames.device).permute(0, 3, 1, 2) * (
            1 / 255
        )
        mean, std = (values.new_tensor(x)[:, None, None] for x in (self.mean, self.std))
        return ((values - mean) / std).to(encoder.dtype)


def grid_of(height: int, width: int, *, patches: int, patch: int) -> tuple[int, int]:
    """Rows and columns of patches of a picture that is scaled until no more of them fit.

    The largest factor is searched for by halving, and a side that ends within a patch counts as
    whole, as in the library: sides are a little longer than the proportions ask for.

    Args:
        height: of the decoded picture, pixels.
        width: of the same.
        patches: at most so many.
        patch: side of one, pixels.
    """

    def sides(factor: float) -> tuple[int, int]:
        rows, columns = (max(1, math.ceil(side * factor / patch)) for side in (height, width))
        return rows, columns

    low, high = _EXACT / 10, 100.0
    while high - low >= _EXACT:
        middle = (low + high) / 2
        if math.prod(sides(middle)) <= patches:
            low = middle
        else:
            high = middle
    return sides(low)
