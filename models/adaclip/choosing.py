"""Which frames AdaCLIP keeps, from their pixels or from what a frozen backbone gave for all.

Written from specs/xclip-adaclip.md B1.3 alone (the original's code is CC BY-NC).
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from reelvec.models.adaclip.aggregation import WeighingFamily
from reelvec.models.adaclip.frames import each_once, evenly, pick
from reelvec.models.adaclip.mobilenet import PolicyNetwork
from reelvec.models.adaclip.policy import (
    FramePolicy,
    best_frames,
    gumbel_noise,
    hard_top_k,
)
from reelvec.models.errors import InputError
from reelvec.models.features import Column, Columns, VideoFeatures
from reelvec.models.noise import Noise

__all__ = ["ChoosingFamily"]

_Maybe = Tensor | None
_Encode = Callable[[Tensor, Tensor], Tensor]


class ChoosingFamily(WeighingFamily):
    """Frames are chosen, then weighed.

    Attributes:
        sampler: the policy, where there is one.
        kept: frames of a video that are kept.
        temperature: of the relaxed choice in training.
        training_k: frames that training keeps in this epoch.
        generator: draws the Gumbel noise of training where none is given; None: torch's default.
    """

    backbone = ("clip.", "sampler.cnn_model.")
    sampler: FramePolicy
    kept: int
    temperature: float
    training_k: int
    generator: torch.Generator | None

    @abstractmethod
    def after_header(self, x: Tensor) -> Tensor:
        """Kept frames [V, K, D] after the header."""

    @property
    def has_policy(self) -> bool:
        """Whether a policy chooses among the frames."""
        return self.options.policy != "none"

    @property
    def _network(self) -> PolicyNetwork | None:
        return self.sampler.cnn_model if self.has_policy else None

    def video_noise(self, noise: Noise) -> dict[str, Tensor]:
        """The policy's ``noise`` [V, N]."""
        if not self.has_policy:
            return {}
        return {"noise": noise.gumbel(self.max_frames, site="policy")}

    def encode_video(
        self,
        frames: Tensor,
        mask: Tensor,
        *,
        policy_frames: Tensor | None = None,
        noise: Tensor | None = None,
        **_: Any,
    ) -> VideoFeatures:
        """``embedding`` [V, D], or ``frames`` [V, K, D]; with a policy ``selected`` [V, K].

        Args:
            frames: [V, N, 3, S, S]; a video with fewer real frames repeats them evenly, as the
                original samples short videos.
            mask: [V, N].
            policy_frames: What `prepare` gave, for policies that look at pixels.
            noise: [V, N] Gumbel(0, 1) noise of training; None: drawn.
        """
        return self._encode(frames, mask, policy_frames, noise, encode=self.encode_frames)

    @property
    def inseparable(self) -> str:
        """A MobileNet that moves in training."""
        still = self.options.freeze_cnn and self.options.batch_norm == "fixed"
        if still or self._network is None:
            return ""
        return "a policy's MobileNet learns from pixels: set freeze_cnn true, batch_norm fixed"

    @property
    def backbone_video_columns(self) -> Columns:
        """All N frames; ``looked`` [N, features]: what a policy sees that looks at pixels."""
        columns = dict(super().backbone_video_columns)
        if self.options.policy not in ("none", "clip"):
            columns["looked"] = Column((self.max_frames, self.sampler.features))
        return columns

    def video_backbone(
        self, frames: Tensor, mask: Tensor, *, policy_frames: Tensor | None = None, **_: Any
    ) -> VideoFeatures:
        """All N frames, of which the head chooses."""
        given = dict(super().video_backbone(frames, mask).tensors)
        if policy_frames is not None:
            given["looked"] = self.sampler.look(policy_frames)
        return VideoFeatures(given)

    def video_head(self, given: VideoFeatures, **noise: Tensor) -> VideoFeatures:
        """Features as `encode_video`'s: choosing frames and choosing their features is one."""
        looked, drawn = given.tensors.get("looked"), noise.get("noise")
        return self._encode(given["frames"], given["mask"], looked, drawn, encode=lambda x, _: x)

    def _encode(
        self, frames: Tensor, mask: Tensor, looked: _Maybe, noise: _Maybe, *, encode: _Encode
    ) -> VideoFeatures:
        """Features of frames; `encode` gives CLIP's of those that are needed."""
        source = evenly(mask)
        if looked is not None and not bool((mask != 0).all()):
            looked = pick(looked, source)
        if self.has_policy:
            kept, scores, chosen = self._choose(_Shown(frames, mask, encode), looked, noise)
            if self.options.reuse_scores:
                weights = torch.softmax(scores / self.options.frame_agg_temp, dim=1)
                kept = kept * weights[..., None]
        else:
            kept, chosen = pick(encode(frames, mask), source), None
        empty = (mask != 0).sum(1) == 0  # no frames, no vector: NaN is refused by the metrics
        kept = self.after_header(kept).masked_fill(empty[:, None, None], torch.nan)
        features = (
            {"embedding": self.weigh_frames(kept)} if self.is_dot_product else {"frames": kept}
        )
        if chosen is not None:
            features["selected"] = source.gather(1, chosen)
        return VideoFeatures(features)

    def _choose(
        self, shown: _Shown, looked: _Maybe, noise: _Maybe
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Kept frame features [V, K, D], their scores [V, K] and places [V, K] of N."""
        by_clip = self.options.policy == "clip"
        everything = shown.all() if by_clip or self.training else None
        seen = everything if by_clip else looked
        if seen is None:
            raise InputError(
                f"policy {self.options.policy} looks at pixels: give policy_frames, as prepare does"
            )
        scores: Tensor = self.sampler(seen)
        if everything is not None and self.training:
            if noise is None:
                noise = gumbel_noise(scores, generator=self.generator)
            selection, chosen = hard_top_k(
                scores,
                k=self.training_k,
                temperature=self.temperature,
                noise=noise.to(scores.dtype),
            )
            return selection @ everything, (selection @ scores[..., None]).squeeze(2), chosen
        chosen = best_frames(scores, k=self.kept)
        kept = shown.only(chosen) if everything is None else pick(everything, chosen)
        return kept, scores.gather(1, chosen), chosen


@dataclass(frozen=True)
class _Shown:
    """Frames [V, N, ...] of videos, or what a backbone gave for them, and how they are encoded."""

    frames: Tensor
    mask: Tensor
    encode: _Encode

    def all(self) -> Tensor:
        """Features of all N places, [V, N, D]: real frames, repeated evenly."""
        return pick(self.encode(self.frames, self.mask), evenly(self.mask))

    def only(self, chosen: Tensor) -> Tensor:
        """Features [V, K, D] of chosen places [V, K], each frame encoded once."""
        needed, real, places = each_once(evenly(self.mask).gather(1, chosen), mask=self.mask)
        return pick(self.encode(pick(self.frames, needed), real), places)
