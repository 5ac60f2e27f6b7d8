"""How high X-CLIP's score can be: the highest member of each of its weighed sums.

Proof. A weighed sum sum_l x_l [softmax(x / tau) W]_l is sum_l p_l (W x)_l with p >= 0 of sum 1, so
at most the highest (W x)_l. Where all x lie in [low, high], with W = I + E, mu = (low + high) / 2
and h = (high - low) / 2: (W x)_l = x_l + mu (E 1)_l + (E (x - mu))_l <= high + max_l mu (E 1)_l +
h max_l |E|_l, and likewise below. Words with a video, where W can go into the query, need no
interval.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from reelvec.models.bounding import Asked, Kept, ScoreBound, finite_rows, gamma
from reelvec.models.family import RetrievalModel
from reelvec.models.features import TextFeatures, VideoFeatures
from reelvec.models.ranking.coarse import Near
from reelvec.models.xclip.similarity import Matrices

__all__ = ["XClipBound"]


class _Interval(NamedTuple):
    """Of numbers of each video, float64 [V]."""

    low: Tensor
    high: Tensor


class XClipBound(ScoreBound):
    """Rounded products of words with frames, their highest and lowest.

    Args:
        model: whose score it is.
        matrices: the eight learned ones.
    """

    def __init__(self, model: RetrievalModel, *, matrices: Matrices) -> None:
        super().__init__(model)
        self._matrices = Matrices(
            **{name: x.detach().cpu().double() for name, x in vars(matrices).items()}
        )

    @property
    def made_with(self) -> Sequence[str | Tensor]:
        """No parameter: all matrices go into the query, or act on intervals."""
        return ["xclip 1"]

    def kept(self, video: VideoFeatures) -> Kept:
        """The video, and its frames."""
        whole, frames = video["video"], video["frames"]
        sure = finite_rows(whole, frames)
        vectors = {
            "video": whole.masked_fill(~sure[:, None], 0.0)[:, None],
            "frames": frames.masked_fill(~sure[:, None, None], 0.0),
        }
        return Kept(vectors, torch.zeros(len(whole), 0, dtype=torch.float64), sure)

    def asked(self, text: TextFeatures) -> Asked:
        """Sentence and words, times the matrices that can go there."""
        m = self._matrices
        sentence, words = text["sentence"].double(), text["words"][0].double()
        of_video = torch.cat([sentence @ m.global_mat_weight, m.word_logit_weight @ words])
        of_frames = torch.cat([sentence, words @ m.local_mat_weight])
        lengths = {"sentence": sentence, "words": words}
        facts = {n: torch.linalg.vector_norm(x, dim=1).amax() for n, x in lengths.items()}
        return Asked({"video": of_video, "frames": of_frames}, facts)

    def upper(self, asked: Asked, near: Mapping[str, Near], facts: Tensor) -> Tensor:
        """A quarter of the four highest."""
        del facts
        m, lengths = self._matrices, asked.facts
        video, frames = near["video"], near["frames"]
        words, count = len(m.word_mat_weight), len(m.frame_mat_weight)
        width = asked.rows["video"].shape[1]
        # the sentence's and the words' matrices are computed in float32, before the products are
        moved = gamma(width + 64) * torch.linalg.vector_norm(m.global_mat_weight)
        whole = _part(video, slice(0, 1)).high + moved * lengths["sentence"] * video.length
        moved = gamma(width + 64) * torch.linalg.vector_norm(m.local_mat_weight)
        fine = _wider(
            _part(frames, slice(1, None)),
            gamma(width + 64) * frames.size + moved * lengths["words"] * frames.length,
        )
        by_frame = _wider(_part(frames, slice(0, 1)), gamma(width + 64) * frames.size)
        with_video = _part(video, slice(1, None)).high
        lost = _lost(m.word_logit_weight, operations=width)
        with_video = with_video + lost * video.length * lengths["words"]
        over_words = _mixed(_mixed(fine, m.word_mat_weight), m.frame_mat_weight2)
        over_frames = _mixed(_mixed(fine, m.frame_mat_weight), m.word_mat_weight2)
        parts = [whole, with_video, _mixed(by_frame, m.frame_logit_weight).high]
        parts.append((over_words.high + over_frames.high) / 2)
        size = video.size + frames.size
        total = sum(parts) / 4 + gamma(width + 4 * words + 4 * count + 256) * size
        bound: Tensor = total * self.scale
        return bound


def _part(near: Near, rows: slice) -> _Interval:
    """Of the products of some rows, over rows and vectors."""
    some = near._replace(whole=near.whole[rows])
    return _Interval(some.lowest(), some.highest())


def _wider(x: _Interval, by: Tensor) -> _Interval:
    return _Interval(x.low - by, x.high + by)


def _mixed(x: _Interval, matrix: Tensor) -> _Interval:
    """Where weighed sums of numbers in an interval lie, as they are computed."""
    beside = matrix - torch.eye(len(matrix), dtype=matrix.dtype)
    sums, sizes = beside.sum(dim=1), beside.abs().sum(dim=1).amax()
    middle, half = (x.low + x.high) / 2, (x.high - x.low) / 2
    most = torch.maximum(middle * sums.amax(), middle * sums.amin())
    least = torch.minimum(middle * sums.amax(), middle * sums.amin())
    lost = _lost(matrix) * torch.maximum(x.low.abs(), x.high.abs())
    return _Interval(x.low + least - half * sizes - lost, x.high + most + half * sizes + lost)


def _lost(matrix: Tensor, *, operations: int = 0) -> Tensor:
    """What computing a weighed sum may change, as a part of the largest of its numbers.

    Args:
        matrix: of the sum.
        operations: of each number.
    """
    return gamma(operations + 4 * len(matrix) + 64) * (1.0 + matrix.abs().sum(dim=1).amax())
