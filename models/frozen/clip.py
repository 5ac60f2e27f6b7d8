"""Any CLIP as it is: mean-pooled frames, no training (zero-shot retrieval)."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from reelvec.models.clip.architecture import Architecture
from reelvec.models.costs import Macs, tower_macs
from reelvec.models.family import ClipFamily, FamilyOptions
from reelvec.models.features import Column, Columns, TextFeatures, VideoFeatures
from reelvec.models.temporal import pool, unit

__all__ = ["Frozen", "FrozenOptions"]


class FrozenOptions(FamilyOptions):
    """No options."""


class Frozen(ClipFamily):
    """A dual encoder whose parameters never receive gradients. Column `embedding` on both sides."""

    options_class = FrozenOptions
    trainable = False

    def __init__(
        self,
        options: FrozenOptions,
        *,
        architecture: Architecture,
        max_words: int,
        max_frames: int,
    ) -> None:
        super().__init__(architecture=architecture, max_words=max_words, max_frames=max_frames)
        self.options = options
        self.requires_grad_(False)

    @property
    def text_columns(self) -> Columns:
        """One vector."""
        return {"embedding": Column((self.architecture.embed_dim,))}

    @property
    def video_columns(self) -> Columns:
        """One vector."""
        return {"embedding": Column((self.architecture.embed_dim,))}

    def macs(self) -> Macs:
        """The towers'."""
        return tower_macs(self.architecture, words=self.max_words, frames=self.max_frames)

    def encode_text(self, tokens: Tensor) -> TextFeatures:
        """`embedding` [T, D], unit."""
        sentence, _ = self.encode_words(tokens)
        return TextFeatures({"embedding": unit(sentence)})

    def encode_video(self, frames: Tensor, mask: Tensor, **_: Any) -> VideoFeatures:
        """`embedding` [V, D]: the unit mean of unit frames."""
        return VideoFeatures({"embedding": pool(self.encode_frames(frames, mask), mask)})
