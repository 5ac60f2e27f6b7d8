"""X-Pool (Gorti et al. 2022): each text pools a video's frames by what it asks of them.

Written from specs/more-heads.md 2 alone (the original's code has no licence).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor

from reelvec.models.bounding import Bounded
from reelvec.models.clip.architecture import Architecture
from reelvec.models.costs import Macs, tower_macs
from reelvec.models.errors import OptionsError
from reelvec.models.family import FamilyOptions, OriginalSettings, at_least_fp32
from reelvec.models.features import Column, Columns, TextFeatures, VideoFeatures
from reelvec.models.heads import HeadFamily
from reelvec.models.noise import Noise
from reelvec.models.temporal import unit
from reelvec.models.training.losses import Terms
from reelvec.models.xpool.bound import XPoolBound
from reelvec.models.xpool.pooling import Drop, Folded, PoolFrames

__all__ = ["XPool"]

_TOKENS = 77
"""Of a caption in every published command: the tokenizer's own limit."""


class XPoolOptions(FamilyOptions):
    """Attention and dropout (specs/more-heads.md 2.3)."""

    num_mha_heads: int = Field(default=1, ge=1)
    """Attention heads from a text to frames."""
    transformer_dropout: float = Field(default=0.3, ge=0, lt=1)
    """Share of the pooled video that training drops; 0.4 for MSR-VTT 7k and MSVD."""
    short_videos: Literal["mask", "repeat"] = "mask"
    """Of a video with fewer than max_frames; repeat: its last frame counts for the missing ones, as
    in the original, which has no mask."""

    @property
    def draws_noise(self) -> bool:
        """The dropout."""
        return self.transformer_dropout > 0


class XPool(HeadFamily, Bounded):
    """Columns: `sentence`, raw; normed `frames`, how often each counts, and small Gram matrices."""

    options_class = XPoolOptions
    transformers_names = True

    def __init__(
        self,
        options: XPoolOptions,
        *,
        architecture: Architecture,
        max_words: int,
        max_frames: int,
    ) -> None:
        """Build towers with random weights and a head that starts at the identity.

        Raises:
            OptionsError: heads that do not divide the width.
        """
        super().__init__(architecture=architecture, max_words=max_words, max_frames=max_frames)
        width, heads = architecture.embed_dim, options.num_mha_heads
        if width % heads:
            raise OptionsError(f"num_mha_heads {heads} must divide the width of vectors, {width}")
        self.options = options
        self.pool_frames = PoolFrames(width, heads=heads)

    @classmethod
    def recognise(cls, state: Mapping[str, Tensor]) -> OriginalSettings | None:
        """By `pool_frames`; shapes do not tell the number of heads, published is one."""
        rest = {key for key in state if not key.startswith("clip.")}
        if not rest or not all(key.startswith("pool_frames.") for key in rest):
            return None
        return OriginalSettings(options={"short_videos": "repeat"}, max_words=_TOKENS)

    @property
    def is_dot_product(self) -> bool:
        """False."""
        return False

    @property
    def text_columns(self) -> Columns:
        """The sentence, not normalised."""
        return {"sentence": Column((self.architecture.embed_dim,))}

    @property
    def video_columns(self) -> Columns:
        """Frames, and what they are to each other; that is kept in fp32 in any table."""
        joined = self.options.num_mha_heads * self.max_frames
        return {
            "frames": Column((self.max_frames, self.architecture.embed_dim)),
            "counts": Column((self.max_frames,), kind="integer"),
            "grams": Column((3, joined, joined), kind="exact"),
            "vectors": Column((3, joined), kind="exact"),
        }

    def macs(self) -> Macs:
        """Towers, and the maps of frames that are folded into what is kept."""
        sizes, frames = self.architecture, self.max_frames
        width, joined = sizes.embed_dim, self.options.num_mha_heads * frames
        maps = (2 * frames + joined) * width * width
        products = 3 * joined * (joined + 1) * width
        return tower_macs(sizes, words=self.max_words, frames=frames) + Macs(0, maps + products)

    def text_head(self, given: TextFeatures) -> TextFeatures:
        """`sentence` [T, D] as it is."""
        return given

    def video_head(self, given: VideoFeatures, **_: Tensor) -> VideoFeatures:
        """`frames` [V, F, D], `counts` [V, F], `grams` [V, 3, J, J], `vectors` [V, 3, J].

        Raises:
            InputError: another number of frames than max_frames.
        """
        encoded, mask = given["frames"], given["mask"]
        self.check_frames(encoded, why="the Gram matrices of a video have")
        normed = self.pool_frames.layer_norm1(encoded).masked_fill(mask[..., None] == 0, 0.0)
        kept = self.pool_frames.folded(normed, self._counts(mask))
        return VideoFeatures(kept._asdict())

    def _counts(self, mask: Tensor) -> Tensor:
        """How often each frame counts, int64 [V, F]."""
        counts = (mask != 0).to(torch.int64)
        if self.options.short_videos == "repeat":
            length = counts.sum(dim=1, keepdim=True)
            last = (length - 1).clamp(min=0)
            missing = (counts.shape[1] - length).masked_fill(length == 0, 0)
            counts = counts.scatter_add(1, last, missing)
        return counts

    def similarity(self, text: TextFeatures, video: VideoFeatures) -> Tensor:
        """Logits [T, V]: pair by pair where a gradient is asked for, else folded."""
        if torch.is_grad_enabled():
            return self._pooled_logits(text, video)
        return self.scorer(text)(video)

    def scorer(self, text: TextFeatures) -> Callable[[VideoFeatures], Tensor]:
        """Folded; what texts bring is computed once."""
        asked = self.pool_frames.asked(at_least_fp32(text["sentence"]))

        def score(video: VideoFeatures) -> Tensor:
            kept = Folded(*(video[name] for name in Folded._fields))
            kept = kept._replace(frames=at_least_fp32(kept.frames))
            return self.logit_scale.exp() * self.pool_frames.cosines(asked, kept)

        return score

    def score_bound(self) -> XPoolBound:
        """From one product a frame (specs/more-heads.md 2.7)."""
        return XPoolBound(self, pool=self.pool_frames)

    def training_terms(self, text: TextFeatures, video: VideoFeatures, *, noise: Noise) -> Terms:
        """`score_terms`, with dropout."""
        share = self.options.transformer_dropout
        if not share:
            return self.score_terms(text, video)
        drop = partial(noise.dropout, share=share, site="xpool")
        return [(1.0, self._pooled_logits(text, video, drop=drop))]

    def _pooled_logits(
        self, text: TextFeatures, video: VideoFeatures, *, drop: Drop | None = None
    ) -> Tensor:
        sentence, frames = at_least_fp32(text["sentence"]), at_least_fp32(video["frames"])
        seen = self.pool_frames.pooled(sentence, frames, video["counts"], drop=drop)
        return self.logit_scale.exp() * torch.einsum("td,tvd->tv", unit(sentence), unit(seen))

    def pair_frame_weights(self, text: TextFeatures, video: VideoFeatures) -> Tensor:
        """A text's attention to the frames of its own video, over the heads' mean."""
        rows = [
            self.pool_frames.attention(
                text["sentence"][i : i + 1], video["frames"][i : i + 1], video["counts"][i : i + 1]
            )
            for i in range(len(text))
        ]
        return torch.cat(rows)[:, :, 0].mean(dim=1)
