"""A backbone and a head that can be run apart: the towers, and what a family adds to them.

What a frozen backbone gives never changes, so it can be kept and a head trained from it. The
columns are what this family's head reads, nothing more.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import Any, ClassVar

from torch import Tensor

from reelvec.models.errors import InputError, OptionsError
from reelvec.models.family import ClipFamily, RetrievalModel
from reelvec.models.features import Column, Columns, TextFeatures, VideoFeatures

__all__ = ["HeadFamily", "backbone_of", "head_of"]

_SCALE = "clip.logit_scale"
"""Stands in CLIP's checkpoints, but belongs to the score."""


class HeadFamily(ClipFamily):
    """Towers under `clip`, and a head."""

    backbone: ClassVar[tuple[str, ...]] = ("clip.",)
    """How names of the backbone's tensors begin."""

    @property
    def reads_words(self) -> bool:
        """Whether the head reads the words of a text beside its sentence."""
        return False

    @property
    def reads_padding(self) -> bool:
        """Whether the head reads padded frames as they are encoded."""
        return False

    @property
    def inseparable(self) -> str:
        """Why the head cannot be trained from what the backbone gave; "": it can."""
        return ""

    @property
    def backbone_text_columns(self) -> Columns:
        """The tensors of `text_backbone`: `sentence` [D]; also `words` [L, D] and `tokens` [L]."""
        width = self.architecture.embed_dim
        columns = {"sentence": Column((width,))}
        if self.reads_words:
            columns["words"] = Column((self.max_words, width))
            columns["tokens"] = Column((self.max_words,), kind="integer")
        return columns

    @property
    def backbone_video_columns(self) -> Columns:
        """The tensors of `video_backbone`: `frames` [F, D] and `mask` [F]."""
        return {
            "frames": Column((self.max_frames, self.architecture.embed_dim)),
            "mask": Column((self.max_frames,), kind="integer"),
        }

    def text_backbone(self, tokens: Tensor) -> TextFeatures:
        """What the head reads of texts, tokens int64 [T, max_words]; un-normalised.

        Words reach as far as `encode_words` goes; what stands behind is never read.
        """
        sentence, words = self.encode_words(tokens)
        features = {"sentence": sentence}
        if self.reads_words:
            features |= {"words": words, "tokens": tokens}
        return TextFeatures(features)

    def video_backbone(self, frames: Tensor, mask: Tensor, **_: Any) -> VideoFeatures:
        """What the head reads of videos; arguments as `encode_video`'s, without noise."""
        encoded = self.encode_frames(frames, mask, keep_padding=self.reads_padding)
        return VideoFeatures({"frames": encoded, "mask": mask})

    def check_frames(self, frames: Tensor, *, why: str) -> None:
        """Raise InputError, with why it matters, unless features [V, F, D] have max_frames."""
        if frames.shape[1] != self.max_frames:
            raise InputError(
                f"{frames.shape[1]} frames a video: {why} {self.max_frames} (max_frames); pad with"
                " zeros and mask 0"
            )

    @abstractmethod
    def text_head(self, given: TextFeatures) -> TextFeatures:
        """Features of texts from what `text_backbone` gave."""

    @abstractmethod
    def video_head(self, given: VideoFeatures, **noise: Tensor) -> VideoFeatures:
        """Features of videos from what `video_backbone` gave, and the noise of training."""

    def encode_text(self, tokens: Tensor) -> TextFeatures:
        """Features of texts, as in `text_columns`."""
        return self.text_head(self.text_backbone(tokens))

    def encode_video(self, frames: Tensor, mask: Tensor, **extra: Any) -> VideoFeatures:
        """Features of videos, as in `video_columns`."""
        return self.video_head(self.video_backbone(frames, mask, **extra))

    def freeze_backbone(self) -> list[str]:
        """Stop the gradients of the backbone; the scale of scores goes on learning.

        Returns:
            The names of what is frozen.
        """
        frozen = list(backbone_of(self, dict(self.named_parameters())))
        for name in frozen:
            self.get_parameter(name).requires_grad_(False)
        return frozen


def head_of(model: RetrievalModel) -> HeadFamily:
    """`model` as one whose head can be trained by itself.

    Raises:
        OptionsError: it has none, or its backbone moves; says so.
    """
    if not isinstance(model, HeadFamily):
        raise OptionsError(
            f"a {type(model).__name__} has no head to train on a frozen backbone: set"
            " train.freeze=none"
        )
    if model.inseparable:
        raise OptionsError(f"{model.inseparable}; or set train.freeze=none")
    return model


def backbone_of(model: HeadFamily, tensors: dict[str, Any]) -> dict[str, Any]:
    """Those of a model's named `tensors` that its backbone computes with."""
    return {
        name: tensor
        for name, tensor in tensors.items()
        if name.startswith(model.backbone) and name != _SCALE
    }
