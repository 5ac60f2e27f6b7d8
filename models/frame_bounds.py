"""Bounds of scores that weigh frames by the query: no mean is higher than its highest frame."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from reelvec.models.bounding import Asked, Kept, ScoreBound, finite_rows, gamma
from reelvec.models.family import RetrievalModel
from reelvec.models.features import TextFeatures, VideoFeatures
from reelvec.models.ranking.coarse import Near

__all__ = ["HighestFrame", "first_used"]

_SHORTEST = 1e-12
"""Of a video's longest frame: squares of products with shorter ones vanish, and scores are NaN."""


class HighestFrame(ScoreBound):
    """Of scores that are a weighted mean of a unit sentence's products with frames, times a scale.

    Proof: weights that sum to 1 give no more than the highest product (specs/more-heads.md 5.7);
    where the mean vector is made a unit one as well, no more than that by the least length a
    weighted mean of the frames can have, which is the least of their shadows on any direction.

    Args:
        model: whose score it is.
        text: column of the texts' vectors.
        shortens: whether the product is with the mean's direction, of frames of any length.
    """

    def __init__(self, model: RetrievalModel, *, text: str, shortens: bool = False) -> None:
        super().__init__(model)
        self._text = text
        self._shortens = shortens

    @property
    def made_with(self) -> Sequence[str | Tensor]:
        """No parameter."""
        return [f"highest frame 1, shortens {self._shortens}"]

    def kept(self, video: VideoFeatures) -> Kept:
        """Frames that are seen; what stands for the others repeats the first of them."""
        frames = video["frames"]
        seen = video["mask"] != 0 if "mask" in video.tensors else torch.ones(frames.shape[:2])
        sure = finite_rows(frames) & (seen != 0).any(dim=1)
        frames = first_used(frames, seen != 0).masked_fill(~sure[:, None, None], 0.0)
        facts = torch.ones(len(frames), 1, dtype=torch.float64)
        least, longest = _shortest_mean(frames.double())
        sure = sure & (longest > _SHORTEST)
        if self._shortens:
            width, count = frames.shape[2], frames.shape[1]
            square = least.square() - gamma(width + 4 * count + 64) * longest.square()
            sure = sure & (least > 0) & (square > 0)
            facts = torch.where(sure, square.clamp(min=1e-300).rsqrt(), 1.0)[:, None]
        return Kept({"frames": frames}, facts, sure)

    def asked(self, text: TextFeatures) -> Asked:
        """The sentence."""
        return Asked({"frames": text[self._text].double()}, {})

    def upper(self, asked: Asked, near: Mapping[str, Near], facts: Tensor) -> Tensor:
        """The highest product, by the least length."""
        found = near["frames"]
        width, count = asked.rows["frames"].shape[1], found.whole.shape[2]
        highest = found.highest() + gamma(width + 2 * count + 64) * found.size
        if self._shortens:
            highest = highest.clamp(min=0.0) * facts[:, 0]
        return highest * self.scale


def first_used(vectors: Tensor, used: Tensor) -> Tensor:
    """Vectors [V, n, D], those that are not used [V, n] replaced by the first that is."""
    first = used.to(torch.int8).argmax(dim=1)
    stands_in = vectors[torch.arange(len(vectors)), first]
    return torch.where(used[..., None], vectors, stands_in[:, None])


def _shortest_mean(vectors: Tensor) -> tuple[Tensor, Tensor]:
    """No more than the length of any weighted mean of n vectors [V, n, D], and the longest [V]."""
    mean = vectors.mean(dim=1)
    direction = mean / torch.linalg.vector_norm(mean, dim=1, keepdim=True).clamp(min=1e-300)
    least = (vectors @ direction[..., None]).squeeze(2).amin(dim=1)
    longest = torch.linalg.vector_norm(vectors, dim=2).amax(dim=1)
    return least - 1e-12 * longest, longest
