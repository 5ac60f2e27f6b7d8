"""Any CLIP as it is: mean-pooled frames, no training (zero-shot retrieval)."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field
from torch import Tensor

from reelvec.models.clip.architecture import Architecture
from reelvec.models.costs import Macs, tower_macs
from reelvec.models.errors import OptionsError
from reelvec.models.family import ClipFamily, FamilyOptions
from reelvec.models.features import Column, Columns, TextFeatures, VideoFeatures
from reelvec.models.temporal import pool, unit

__all__ = ["DEAF", "Frozen", "FrozenOptions"]

DEAF = (
    "model.options.hears: these weights hear nothing; set model.options={}, or give PE-AV's"
    " (model_type pe_audio_video) or EmbeddingGemma-2's with its audio_config"
)
"""Why `hears` is refused."""


class FrozenOptions(FamilyOptions):
    """Of some checkpoints hf:…; the others have none, and say so."""

    dimensions: int | None = Field(default=None, ge=8)
    """The first so many numbers of a vector, made unit again, of models trained for it."""
    text_instruction: str | None = Field(default=None, min_length=1)
    """What the model is told beside a caption."""
    video_instruction: str | None = Field(default=None, min_length=1)
    """What the model is told beside a clip."""
    wrapper: Literal["bare", "outer"] | None = None
    """Whether a pair of marks stands around a clip's blocks, as transformers 5 leaves it."""

    hears: bool = False
    """Vectors of sound beside those of pictures: of PE-AV and EmbeddingGemma-2."""

    def check_none(self, name: str) -> None:
        """Refuse any of them, of a model that has none.

        Raises:
            OptionsError: names it.
        """
        given = self.model_dump(exclude_defaults=True)
        if given:
            raise OptionsError(
                f"model.options.{next(iter(given))}: {name} has no such option; set"
                " model.options={}"
            )


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
        options.check_none("a CLIP as it is")
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
