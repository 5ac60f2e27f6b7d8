"""Query-dependent scores of systems that are no family here: X-Pool's and DRL's, from columns.

Written from specs/more-heads.md 2.6 and 3.2 alone (X-Pool's code has no licence). They are here for
`reelvec search-time`, which measures what a query costs; weights are whatever the caller has.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor
from torch.nn import functional

__all__ = ["XPoolColumns", "XPoolHead", "wti_scores", "xpool_scores"]

_EPS = 1e-5


@dataclass(frozen=True)
class XPoolHead:
    """X-Pool's pooling with one attention head (specs/more-heads.md 2.3).

    Attributes:
        maps: q, k, v, out and linear, each a weight [D, D] with its bias [D].
        norms: three LayerNorms, each gain and bias [D].
    """

    maps: dict[str, tuple[Tensor, Tensor]]
    norms: tuple[tuple[Tensor, Tensor], ...]

    @classmethod
    def near_identity(cls, width: int, *, spread: float, dtype: torch.dtype) -> Self:
        """Weights near the identity they start from, drawn from torch's generator."""

        def drawn(*shape: int) -> Tensor:
            return spread * torch.randn(*shape, dtype=dtype)

        eye = torch.eye(width, dtype=dtype)
        names = ("q", "k", "v", "out", "linear")
        maps = {name: (eye + drawn(width, width), drawn(width)) for name in names}
        return cls(maps, tuple((1 + drawn(width), drawn(width)) for _ in range(3)))

    def normed(self, x: Tensor, which: int) -> Tensor:
        """LayerNorm number `which`."""
        gain, bias = self.norms[which]
        return functional.layer_norm(x, x.shape[-1:], gain, bias, _EPS)

    def mapped(self, x: Tensor, name: str) -> Tensor:
        """The linear map of that name."""
        return functional.linear(x, *self.maps[name])


@dataclass(frozen=True)
class XPoolColumns:
    """What is stored of V videos with F frames, so that no D x D map is left for a pair.

    Attributes:
        frames: normed frames [V, F, D].
        grams: G, N and P [3, V, F, F].
        vectors: h, p and w [3, V, F].
    """

    frames: Tensor
    grams: Tensor
    vectors: Tensor

    @classmethod
    def of(cls, head: XPoolHead, frames: Tensor) -> Self:
        """Columns of raw frame features [V, F, D]."""
        width = frames.shape[-1]
        normed = head.normed(frames, 0)
        (g2, _), (g3, b3) = head.norms[1:]
        centred = _centred(head.mapped(head.mapped(normed, "v"), "out"))
        moved = _centred(_plus_linear(head, g2 * centred))
        constant = _constant(head)
        shown = g3 * moved
        grams = torch.stack(
            [
                centred @ centred.transpose(1, 2) / width,
                moved @ moved.transpose(1, 2) / width,
                shown @ shown.transpose(1, 2),
            ]
        )
        vectors = torch.stack([moved @ constant / width, shown @ (g3 * constant), shown @ b3])
        return cls(normed, grams, vectors)


def xpool_scores(head: XPoolHead, texts: Tensor, columns: XPoolColumns) -> Tensor:
    """Cosines [T, V] of raw texts [T, D] with the videos that each pools from its frames.

    Equal to pooling every pair (specs/more-heads.md 2.6, form b): softmax weights sum to 1, so both
    norms and the length of the pooled video are quadratic forms of the weights.
    """
    width = texts.shape[-1]
    (g3, b3), constant = head.norms[2], _constant(head)
    unit = functional.normalize(texts, dim=-1, eps=0.0)
    query = head.mapped(head.normed(texts, 0), "q") @ head.maps["k"][0] / width**0.5
    seen, offset = _folded_query(head, g3 * unit)
    logits = torch.einsum("td,vfd->tvf", query, columns.frames)
    weights = torch.softmax(logits, dim=2)
    reached = torch.einsum("td,vfd->tvf", seen, columns.frames)

    def form(gram: Tensor) -> Tensor:
        return (torch.einsum("tvf,vfg->tvg", weights, gram) * weights).sum(2)

    def along(vector: Tensor) -> Tensor:
        return torch.einsum("tvf,vf->tv", weights, vector)

    shown_constant = g3 * constant
    s2 = (form(columns.grams[0]) + _EPS).sqrt()
    inner = form(columns.grams[1]) / s2**2 + 2 * along(columns.vectors[0]) / s2
    s3 = (inner + constant @ constant / width + _EPS).sqrt()
    above = ((weights * reached).sum(2) + offset[:, None]) / s2
    above = (above + (unit @ shown_constant)[:, None]) / s3 + (unit @ b3)[:, None]
    length = form(columns.grams[2]) / s2**2 + 2 * along(columns.vectors[1]) / s2
    length = (length + shown_constant @ shown_constant) / s3**2 + b3 @ b3
    length = length + 2 * (along(columns.vectors[2]) / s2 + shown_constant @ b3) / s3
    return above / length.sqrt()


def _folded_query(head: XPoolHead, shown: Tensor) -> tuple[Tensor, Tensor]:
    """What a text asks of a normed frame [T, D], and a number [T] for all frames."""
    (g2, _), (value, value_bias), (out, out_bias) = (
        head.norms[1], head.maps["v"], head.maps["out"],
    )  # fmt: skip
    back = _centred(shown)
    back = back + back @ head.maps["linear"][0]
    back = _centred(g2 * back)
    return back @ out @ value, back @ (out @ value_bias + out_bias)


def _constant(head: XPoolHead) -> Tensor:
    """What the second norm's bias adds behind the linear map, centred [D]."""
    bias = head.norms[1][1]
    return _centred(bias + functional.linear(bias, *head.maps["linear"]))


def _plus_linear(head: XPoolHead, x: Tensor) -> Tensor:
    return x + functional.linear(x, head.maps["linear"][0])


def _centred(x: Tensor) -> Tensor:
    return x - x.mean(dim=-1, keepdim=True)


def wti_scores(
    words: Tensor, word_weights: Tensor, frames: Tensor, frame_weights: Tensor
) -> Tensor:
    """DRL's weighted token interaction [T, V], without the temperature.

    Args:
        words: unit words [T, L, D].
        word_weights: [T, L], sums 1, 0 at padding.
        frames: unit frames [V, F, D], all real.
        frame_weights: [V, F], sums 1.
    """
    texts, videos = len(words), len(frames)
    pairs = words.flatten(0, 1) @ frames.flatten(0, 1).T
    pairs = pairs.view(texts, words.shape[1], videos, frames.shape[1])
    of_words = torch.einsum("tlv,tl->tv", pairs.amax(3), word_weights)
    padded = (word_weights == 0)[:, :, None, None]
    best = pairs.masked_fill(padded, -torch.inf).amax(1)
    of_frames = torch.einsum("tvf,vf->tv", best, frame_weights)
    return (of_words + of_frames) / 2
