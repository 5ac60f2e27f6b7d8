"""X-Pool's three baselines (Gorti et al. 2022): a CLIP whose frames are pooled without a layer.

Written from specs/more-heads.md 2.3 alone (X-Pool's code has no licence).
"""

from __future__ import annotations

from typing import Literal

import torch
from pydantic import Field
from torch import Tensor

from reelvec.models.bounding import Bounded
from reelvec.models.clip.architecture import Architecture
from reelvec.models.costs import Macs, tower_macs
from reelvec.models.errors import OptionsError
from reelvec.models.family import FamilyOptions, at_least_fp32
from reelvec.models.features import EMBEDDING, Column, Columns, TextFeatures, VideoFeatures
from reelvec.models.frame_bounds import HighestFrame
from reelvec.models.heads import HeadFamily
from reelvec.models.pairs import by_videos, held
from reelvec.models.temporal import pool, unit

__all__ = ["XPoolBaseline"]


class XPoolBaselineOptions(FamilyOptions):
    """Which baseline (specs/more-heads.md 2.3)."""

    pooling: Literal["avg", "topk", "attention"] = "avg"
    """How unit frames become a video: their mean; the sum of those nearest the text; their sum
    weighed by a softmax of how near they are."""
    top_k: int = Field(default=3, ge=1)
    """Frames of topk; all of a video that has fewer."""
    attention_temperature: float = Field(default=0.01, gt=0)
    """Divides cosines in attention's softmax."""
    short_videos: Literal["mask", "repeat"] = "mask"
    """Of a video with fewer than max_frames; repeat: its last frame stands for the missing ones, as
    in the original, which has no mask."""


class XPoolBaseline(HeadFamily, Bounded):
    """Columns: unit `embedding` on both sides; topk, attention: unit `frames` and `mask`."""

    options_class = XPoolBaselineOptions
    transformers_names = True

    def __init__(
        self,
        options: XPoolBaselineOptions,
        *,
        architecture: Architecture,
        max_words: int,
        max_frames: int,
    ) -> None:
        """Build towers with random weights; there is nothing else.

        Raises:
            OptionsError: more frames asked for than a video has.
        """
        super().__init__(architecture=architecture, max_words=max_words, max_frames=max_frames)
        if options.pooling == "topk" and options.top_k > max_frames:
            raise OptionsError(
                f"top_k {options.top_k} of max_frames {max_frames}: set at most {max_frames}"
            )
        self.options = options

    @property
    def is_dot_product(self) -> bool:
        """Whether a video is one vector: avg."""
        return self.options.pooling == "avg"

    @property
    def text_columns(self) -> Columns:
        """One vector."""
        return {EMBEDDING: Column((self.architecture.embed_dim,))}

    @property
    def video_columns(self) -> Columns:
        """One vector, or frames and which of them count."""
        width = self.architecture.embed_dim
        if self.is_dot_product:
            return {EMBEDDING: Column((width,))}
        return {
            "frames": Column((self.max_frames, width)),
            "mask": Column((self.max_frames,), kind="integer"),
        }

    def macs(self) -> Macs:
        """Towers alone."""
        return tower_macs(self.architecture, words=self.max_words, frames=self.max_frames)

    def text_head(self, given: TextFeatures) -> TextFeatures:
        """`embedding` [T, D], unit."""
        return TextFeatures({EMBEDDING: unit(given["sentence"])})

    def video_head(self, given: VideoFeatures, **_: Tensor) -> VideoFeatures:
        """`embedding` [V, D], unit; or unit `frames` [V, F, D], zeros where `mask` [V, F] is 0.

        Raises:
            InputError: another number of frames than max_frames.
        """
        frames, mask = given["frames"], given["mask"]
        self.check_frames(frames, why="the table of frames has")
        if self.options.short_videos == "repeat":
            frames, mask = _repeated(frames, mask)
        if self.is_dot_product:
            return VideoFeatures({EMBEDDING: pool(frames, mask)})
        padding = mask[..., None] == 0
        shown = unit(frames.masked_fill(padding, 1.0)).masked_fill(padding, 0.0)
        return VideoFeatures({"frames": shown, "mask": mask})

    def similarity(self, text: TextFeatures, video: VideoFeatures) -> Tensor:
        """Logits [T, V]; the length of a sum of frames is from their products with each other."""
        if self.is_dot_product:
            return super().similarity(text, video)
        sentence, frames = at_least_fp32(text[EMBEDDING]), at_least_fp32(video["frames"])
        columns = (frames, video["mask"])
        if torch.is_grad_enabled():
            return self.logit_scale.exp() * self._cosines(sentence, *columns)
        room = held(frames.device) // (len(sentence) * frames.shape[1] or 1)
        wide = 1 << max(room.bit_length() - 1, 0)  # even blocks: every pair is rounded alike
        cosines = by_videos(lambda f, m: self._cosines(sentence, f, m), columns, wide=wide)
        return self.logit_scale.exp() * cosines

    def score_bound(self) -> HighestFrame | None:
        """The frame that is nearest, by the least length a weighted mean of frames can have.

        A cosine does not see by what its vector is multiplied, so topk's sum is a mean with weights
        1 / k, and both are weighted means.
        """
        return None if self.is_dot_product else HighestFrame(self, text=EMBEDDING, shortens=True)

    def pair_frame_weights(self, text: TextFeatures, video: VideoFeatures) -> Tensor | None:
        """What each frame of a text's own video is multiplied with, as shares; None: avg."""
        if self.is_dot_product:
            return None
        near = video["frames"] @ text[EMBEDDING][..., None]
        weights = self._weights(near.squeeze(2), video["mask"] == 0)
        return weights / weights.sum(dim=1, keepdim=True)

    def _cosines(self, sentence: Tensor, frames: Tensor, mask: Tensor) -> Tensor:
        """Cosines [T, V] of unit sentences [T, D] with the sums they make of frames [V, F, D]."""
        near = (sentence @ frames.flatten(0, 1).T).view(len(sentence), *frames.shape[:2])
        weights = self._weights(near, mask == 0)
        gram = frames @ frames.transpose(1, 2)
        mixed = torch.bmm(weights.transpose(0, 1), gram).transpose(0, 1)
        return (weights * near).sum(dim=2) / (weights * mixed).sum(dim=2).sqrt()

    def _weights(self, near: Tensor, padding: Tensor) -> Tensor:
        """By what frames are multiplied, from cosines [..., F]; 0 at padding."""
        near = near.masked_fill(padding, -torch.inf)
        if self.options.pooling == "attention":
            return torch.softmax(near / self.options.attention_temperature, dim=-1)
        nearest = near.topk(self.options.top_k, dim=-1).indices
        return torch.zeros_like(near).scatter(-1, nearest, 1.0).masked_fill(padding, 0.0)


def _repeated(frames: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """Frames [V, F, D] whose padding is the last one before it; a video without any stays so."""
    length = (mask != 0).sum(dim=1, keepdim=True)
    places = torch.arange(mask.shape[1], device=mask.device).minimum((length - 1).clamp(min=0))
    shown = frames.gather(1, places[..., None].expand_as(frames))
    return shown, (length > 0).to(mask.dtype).expand_as(mask)
