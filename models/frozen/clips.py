"""Encoders that see a clip as a clip: frames in time, not a mean of single ones.

The family says how many frames it takes, exactly or at most. Clips share a call where they are of
one number of frames and one size, so none is padded with frames, and where the family's memory
allows it; a vector never depends on another clip.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from reelvec.configs.decoding import FrameForm
from reelvec.models.errors import InputError, OptionsError
from reelvec.models.family import RetrievalModel
from reelvec.models.features import EMBEDDING, Column, Columns, TextFeatures, VideoFeatures
from reelvec.models.frozen.clip import FrozenOptions
from reelvec.models.frozen.input import FrameCount, OwnInput

__all__ = [
    "Clip",
    "ClipEncoder",
    "FrameCount",
    "cut_width",
    "padded_with_zeros",
    "resized",
    "tokens_of",
]

_PADDING = -1
"""In place of a token: no tokenizer's id, so that a caption cannot write it."""
_LEAST_STEP = 8


@dataclass(frozen=True, kw_only=True, eq=False)
class Clip:
    """One clip as it is stored.

    Attributes:
        frames: uint8 [T, H, W, 3], RGB.
        seconds: float64 [T], when they are shown.
        size: (height, width) of the decoded pictures, of which `frames` may be a smaller form.
        start: seconds into the file at which the clip begins.
        length: of the clip, seconds; 0: not known.
        sound: float32 [N], one channel at the rate the model hears; None: the clip has none, or the
            model hears nothing.
    """

    frames: Tensor
    seconds: Tensor
    size: tuple[int, int]
    start: float = 0.0
    length: float = 0.0
    sound: Tensor | None = None


class ClipEncoder(RetrievalModel):
    """A model with `encode_clip` in place of `encode_video`."""

    options_class = FrozenOptions
    trainable = False
    encoder: nn.Module
    files: Tensor

    def __init__(
        self, files: Tensor, *, own: OwnInput, width: int, max_words: int, max_frames: int
    ) -> None:
        """What all of them have; a subclass loads its `encoder`.

        Args:
            files: packed small files.
            own: what they say of frames.
            width: numbers of a vector.
            max_words: tokens of a text at most.
            max_frames: of a clip, as it is asked.

        Raises:
            OptionsError: frames of another number than the model takes.
        """
        super().__init__(image_size=own.form.size, max_words=max_words, max_frames=max_frames)
        self._form = own.form
        self._frame_count = own.frame_count or FrameCount(max_frames, exact=False)
        self._frame_count.check_asked(max_frames)
        self._width = width
        self.register_buffer("files", files.clone())
        self.register_buffer("_zero", torch.zeros(()), persistent=False)

    @property
    def frame_count(self) -> FrameCount:
        """How many frames `encode_clip` takes."""
        return self._frame_count

    @property
    def pixels(self) -> FrameForm:
        """As the model's authors make them."""
        return self._form

    @property
    def text_columns(self) -> Columns:
        """One vector for each column of videos."""
        return dict.fromkeys(self._names, Column((self._width,)))

    @property
    def video_columns(self) -> Columns:
        """One vector of the pictures, and of a clip with sound those of what is heard."""
        columns = {name: Column((self._width,), optional=True) for name in self._names}
        return {**columns, EMBEDDING: Column((self._width,))}

    @property
    def _names(self) -> tuple[str, ...]:
        """Columns of vectors; a model that hears has more than the first."""
        return (EMBEDDING,)

    @property
    def logit_scale(self) -> Tensor:
        """0: none of these has a scale; a score is the cosine."""
        zero: Tensor = self.get_buffer("_zero")
        return zero

    @abstractmethod
    def encode_clip(self, clip: Clip) -> VideoFeatures:
        """Features of one clip: named tensors [1, ...] as in `video_columns`.

        Raises:
            InputError: not as many frames as the model takes.
        """

    def encode_clips(self, clips: Sequence[Clip]) -> VideoFeatures:
        """Features [V, ...] of clips of one number of frames and one size; here, one by one."""
        return VideoFeatures.cat([self.encode_clip(clip) for clip in clips])

    def clip_tokens(self, frames: int, *, size: tuple[int, int]) -> int | None:
        """Tokens of a clip that shares a call with others of its shape; None: it does not.

        Args:
            frames: of the clip.
            size: (height, width) of the decoded pictures.
        """
        del frames, size
        return None

    def encode_video(self, frames: Tensor, mask: Tensor, **extra: Any) -> VideoFeatures:
        """Refused: a batch of squares does not say what this family needs to know."""
        raise InputError(
            f"{type(self).__name__} sees a clip as a clip: encode_clip, not encode_video"
            f" (frames {tuple(frames.shape)}, mask {tuple(mask.shape)}, {', '.join(extra)})"
        )

    def caption_lengths(self, tokens: Tensor) -> Tensor:
        """Tokens a text is computed with: its own, rounded up, so that near lengths share a call.

        The step is 8; from 128 tokens on it is more, an eighth of a text at most.
        """
        own = (tokens != _PADDING).sum(dim=1)
        return torch.tensor([self._padded(n) for n in own.tolist()], dtype=torch.int64)

    def _padded(self, length: int) -> int:
        step = max(_LEAST_STEP, 1 << length.bit_length() >> 4)
        return min(-(-length // step) * step, self.max_words)

    def encode_text(self, tokens: Tensor) -> TextFeatures:
        """`embedding` [T, D], unit; padding is no part of a text."""
        if tokens.ndim != 2:
            raise InputError(
                f"tokens of shape {tuple(tokens.shape)}: this model takes [T, L] of its `tokenize`"
            )
        longest = max(self.caption_lengths(tokens).tolist(), default=0)
        found = self._texts(*padded_with_zeros(tokens, length=longest))
        return TextFeatures({EMBEDDING: found} if isinstance(found, Tensor) else found)

    @abstractmethod
    def _texts(self, ids: Tensor, mask: Tensor) -> Tensor | dict[str, Tensor]:
        """Unit vectors [T, D], or several by name, of token ids and their mask, int64 [T, L]."""


def cut_width(options: FrozenOptions, *, width: int) -> int:
    """Numbers of a vector that is cut as the options say.

    Raises:
        OptionsError: more than there are.
    """
    wanted = options.dimensions or width
    if wanted > width:
        raise OptionsError(f"model.options.dimensions ({wanted}) is more than the model's {width}")
    return wanted


def tokens_of(ids: list[list[int]]) -> Tensor:
    """Ids of several texts as int64 [T, longest], padded so that no id of a text is mistaken."""
    longest = max(map(len, ids), default=1)
    return torch.tensor([row + [_PADDING] * (longest - len(row)) for row in ids]).reshape(
        -1, longest
    )


def padded_with_zeros(tokens: Tensor, *, length: int) -> tuple[Tensor, Tensor]:
    """Ids and mask, int64 [T, length], of `tokens_of`; padded ids are 0."""
    tokens = tokens[:, :length]
    more = length - tokens.shape[1]
    tokens = torch.nn.functional.pad(tokens, (0, more), value=_PADDING)
    mask = (tokens != _PADDING).long()
    return tokens * mask, mask


def resized(frames: Tensor, *, size: tuple[int, int], kind: str, exact: bool = False) -> Tensor:
    """Frames uint8 [T, H, W, 3] as [T, 3, h, w], antialiased; as they are where the size fits.

    Args:
        frames: RGB.
        size: (h, w).
        kind: bicubic or bilinear.
        exact: computed in float and rounded, as torchvision 1 and qwen-vl-utils do; else on uint8,
            as torchvision 2 and transformers' video processors do.
    """
    pixels = frames.permute(0, 3, 1, 2)
    if tuple(pixels.shape[2:]) == size:
        return pixels
    pixels = pixels.float() if exact else pixels.contiguous()
    out = torch.nn.functional.interpolate(
        pixels, size=size, mode=kind, antialias=True, align_corners=False
    )
    return out.clamp(0, 255).round() if exact else out
