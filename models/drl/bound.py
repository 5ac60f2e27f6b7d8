"""How high DRL's token interaction can be: the interaction of rounded tokens, and what is lost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from reelvec.models.bounding import Asked, Kept, ScoreBound, finite_rows, gamma
from reelvec.models.family import RetrievalModel
from reelvec.models.features import TextFeatures, VideoFeatures
from reelvec.models.ranking.coarse import Near

__all__ = ["TokenBound"]


class TokenBound(ScoreBound):
    """No bound of DRL prunes without its words x frames (specs/more-heads.md 3.6); these are them.

    Both halves are weighted sums of highest products, and weights are never negative, so products
    that are each too high by no more than the error give a score that is too high by no more than
    the error times half the weights.

    Args:
        model: whose score it is.
        legacy: a pair with padding counts as 0 where the largest is taken.
    """

    def __init__(self, model: RetrievalModel, *, legacy: bool) -> None:
        super().__init__(model)
        self._legacy = legacy

    @property
    def made_with(self) -> Sequence[str | Tensor]:
        """No parameter."""
        return [f"tokens 1, legacy {self._legacy}"]

    def kept(self, video: VideoFeatures) -> Kept:
        """Frames as the score takes them, and their weights."""
        frames, weights = self._shown(video["frames"], video["mask"]), video["weights"]
        sure = finite_rows(frames, weights) & (weights >= 0).all(dim=1)
        keep = sure[:, None, None]
        vectors = {"frames": frames.masked_fill(~keep, 0.0)}
        return Kept(vectors, weights.double().masked_fill(~sure[:, None], 0.0), sure)

    def asked(self, text: TextFeatures) -> Asked:
        """Words as the score takes them, and their weights."""
        words = self._shown(text["words"], text["mask"])[0].double()
        return Asked({"frames": words}, {"weights": text["weights"][0].double()})

    def upper(self, asked: Asked, near: Mapping[str, Near], facts: Tensor) -> Tensor:
        """Half of every word's highest frame and every frame's highest word, weighed."""
        found, word_weights = near["frames"], asked.facts["weights"]
        of_words = (word_weights.float() @ found.whole.amax(dim=2)).double()
        of_frames = (found.whole.amax(dim=0).double() * facts).sum(dim=1)
        both = word_weights.abs().sum() + facts.sum(dim=1)
        width = asked.rows["frames"].shape[1]
        operations = width + 2 * len(word_weights) + 2 * facts.shape[1] + 64
        lost = found.error + gamma(operations) * found.size
        if bool((word_weights < 0).any()):
            return torch.full_like(lost, torch.inf)
        return ((of_words + of_frames) * found.step + both * lost) / 2 * self.scale

    def _shown(self, vectors: Tensor, mask: Tensor) -> Tensor:
        return vectors * mask[..., None].to(vectors.dtype) if self._legacy else vectors
