"""How high X-Pool's score can be, from one product a frame: the bound of specs/more-heads.md 2.7.

What a text sees of a video is weighed by softmax weights, so every vector on the way lies in the
hull of a few that are known beforehand, and all lengths between a shadow and the longest corner:
    s2 in [s_lo, s_hi],  s2 s3 in [lo, hi],  s2 s3 times the pooled video's length >= least.
The score is (weighed products + s2 k1 + s2 s3 k3) / (s2 s3 times that length), k1 and k3 of the
text alone, so it is at most max(0, highest product + s2 k1 + s2 s3 k3) / least: norm and length are
divided by at once, since what makes one small makes the other large. With several heads, hulls add
up, and so do their least and their greatest.

Here it is proven of what is *stored and computed*. The Gram matrices are rounded, so they may not
be those of any vectors; with their most negative eigenvalue added to the diagonal they are, and a
form of weights changes by that times the number of heads at most. Each float32 sum is then given
its own error.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from reelvec.models.bounding import Asked, Kept, ScoreBound, finite_rows, gamma
from reelvec.models.clip.blocks import CLIP_EPS
from reelvec.models.family import RetrievalModel
from reelvec.models.features import TextFeatures, VideoFeatures
from reelvec.models.frame_bounds import first_used
from reelvec.models.ranking.coarse import Near
from reelvec.models.xpool.pooling import PoolFrames

__all__ = ["XPoolBound"]

_ROUNDED = 1e-12
"""Of float64, far more than it loses here."""
_TINY = 1e-300


class _Constants(NamedTuple):
    """Products of the model's own vectors: c behind the linear map, g and b of the third norm."""

    width: int
    heads: int
    square: float  # c.c / D
    shown: float  # |g c|^2
    along: float  # (g c).b
    bias: float  # |b|^2


class XPoolBound(ScoreBound):
    """Five numbers a video: s_lo, s_hi, lo, hi, 1 / least.

    Args:
        model: whose score it is.
        pool: its head.
    """

    @torch.no_grad()
    def __init__(self, model: RetrievalModel, *, pool: PoolFrames) -> None:
        super().__init__(model)
        self._pool = pool
        gain, bias, constant = (x.detach().cpu().double() for x in pool.last_norm())
        shown = gain * constant
        self._of_model = _Constants(
            len(gain),
            pool.heads,
            float(constant @ constant) / len(gain),
            float(shown @ shown),
            float(shown @ bias),
            float(bias @ bias),
        )
        self._vectors = (shown, bias)

    @property
    def made_with(self) -> Sequence[str | Tensor]:
        """Products of the model's vectors."""
        return ["xpool 2", torch.tensor(self._of_model, dtype=torch.float64)]

    def kept(self, video: VideoFeatures) -> Kept:
        """Frames that count, and the five numbers."""
        frames, used = video["frames"], video["counts"] > 0
        sure = finite_rows(frames, video["grams"], video["vectors"]) & used.any(dim=1)
        keep = sure[:, None, None]
        shown = first_used(frames, used).masked_fill(~keep, 0.0)
        facts, proven = _brackets(
            video["grams"].double().masked_fill(~keep[..., None], 0.0),
            video["vectors"].double().masked_fill(~keep, 0.0),
            used | ~sure[:, None],
            model=self._of_model,
        )
        return Kept({"frames": shown}, facts, sure & proven)

    @torch.no_grad()
    def asked(self, text: TextFeatures) -> Asked:
        """What the text asks of frames' values; what it adds to the numerator."""
        sentence = text["sentence"].float()
        rows, offset = self._pool.value_queries(sentence.to(self._pool.layer_norm3.weight.device))
        direction = sentence[0].double().cpu()
        direction = direction / torch.linalg.vector_norm(direction)
        shown, bias = self._vectors
        facts = {"offset": offset.double().cpu(), "k1": direction @ shown, "k3": direction @ bias}
        return Asked({"frames": rows.double().cpu()}, facts)

    def upper(self, asked: Asked, near: Mapping[str, Near], facts: Tensor) -> Tensor:
        """The bound, in logits."""
        found, given, model = near["frames"], asked.facts, self._of_model
        s_lo, s_hi, lo, hi, by_least = facts.unbind(dim=1)
        (heads, _, count), width = found.whole.shape, model.width
        reached = found.whole.amax(dim=2).double().sum(dim=0) * found.step
        offset = given["offset"]
        operations = width + 3 * heads * count + 64
        lost = found.error + gamma(operations) * found.size
        reached = reached + heads * lost + offset + gamma(operations) * offset.abs()
        k1_off = gamma(2 * width + 64) * (model.shown**0.5 + given["k1"].abs())
        along = torch.maximum(s_lo * given["k1"], s_hi * given["k1"]) + s_hi * k1_off
        above = reached + along
        k3 = given["k3"] + gamma(2 * width + 64) * (model.bias**0.5 + given["k3"].abs())
        beside = torch.maximum(lo * k3, hi * k3)
        lost = gamma(64) * (above.abs() + hi * (k3.abs() + given["k3"].abs()))
        above = (above + beside + lost).clamp(min=0.0)
        bound: Tensor = above * by_least * (1 + gamma(32)) * self.scale
        return bound


class _Ranges(NamedTuple):
    """float64 [V], of whatever a text's weights are; `proven` bool [V]."""

    s_lo: Tensor
    s_hi: Tensor
    lo: Tensor
    hi: Tensor
    proven: Tensor


def _brackets(
    grams: Tensor, vectors: Tensor, used: Tensor, *, model: _Constants
) -> tuple[Tensor, Tensor]:
    """The five numbers of V videos [V, 5], and where they are proven [V].

    Args:
        grams: float64 [V, 3, J, J], J = heads x frames: of m, of n, of g n.
        vectors: float64 [V, 3, J]: n.c / D, g n.g c, g n.b.
        used: bool [V, F].
        model: of the model.
    """
    heads, count = model.heads, used.shape[1]
    off = gamma(3 * heads * count + 2 * count + model.width + 128)
    corners = _Corners(used, heads)
    h, p, w = vectors.unbind(dim=1)
    found = _second_norm(grams[:, 0], corners, off=off)
    found = _third_norm(grams[:, 1], h, corners, found=found, model=model, off=off)
    square = _length(grams[:, 2], (p, w), corners, found=found, model=model, off=off)
    proven = found.proven & (square > 0)
    facts = [found.s_lo, found.s_hi, found.lo, found.hi, square.clamp(min=_TINY).rsqrt()]
    proven = proven & torch.stack(facts).isfinite().all(dim=0)
    return torch.stack(facts, dim=1).masked_fill(~proven[:, None], 1.0), proven


def _second_norm(gram: Tensor, corners: _Corners, *, off: float) -> _Ranges:
    """Of s2^2 = a'Ga + eps; lo and hi are not yet known."""
    size = corners.heads**2 * gram.abs().amax(dim=(1, 2))
    gram, defect = _semidefinite(gram)
    seen = _times(gram, corners.middle)
    least = corners.least(seen / _root(corners.middle, seen))
    lost = corners.heads * defect + off * (size + CLIP_EPS)
    square = least.clamp(min=0.0).square() + CLIP_EPS - lost
    s_lo, s_hi = square.clamp(min=_TINY).sqrt(), (corners.form(gram) + CLIP_EPS + lost).sqrt()
    return _Ranges(s_lo, s_hi, s_lo, s_hi, square > 0)


def _third_norm(
    gram: Tensor,
    h: Tensor,
    corners: _Corners,
    *,
    found: _Ranges,
    model: _Constants,
    off: float,
) -> _Ranges:
    """Of (s2 s3)^2 = |sum a n + s2 c|^2 / D + eps s2^2."""
    s_lo, s_hi, heads = found.s_lo, found.s_hi, corners.heads
    size = heads**2 * gram.abs().amax(dim=(1, 2)) + 2 * s_hi * heads * h.abs().amax(dim=1)
    gram, defect = _semidefinite(_joined(gram, [(h, [model.square])]))
    middle = torch.cat([corners.middle, (s_lo + s_hi)[:, None] / 2], dim=1)
    seen = _times(gram, middle)
    shadow = seen / _root(middle, seen)
    ends = torch.stack([s_lo, s_hi])
    least = corners.least(shadow[:, :-1]) + (ends * shadow[:, -1]).amin(dim=0)
    lost = defect * (heads + s_hi**2) + off * (size + s_hi**2 * (model.square + CLIP_EPS))
    square = least.clamp(min=0.0).square() + CLIP_EPS * s_lo**2 - lost
    longest = torch.maximum(*(corners.form(_moved(gram, s / heads)) for s in ends))
    hi = (longest + CLIP_EPS * s_hi**2 + lost).sqrt()
    lo = square.clamp(min=_TINY).sqrt()
    return found._replace(lo=lo, hi=hi, proven=found.proven & (square > 0))


def _length(
    gram: Tensor,
    along: tuple[Tensor, Tensor],
    corners: _Corners,
    *,
    found: _Ranges,
    model: _Constants,
    off: float,
) -> Tensor:
    """No more than the squared length of g (sum a n) + s2 g c + s2 s3 b."""
    (p, w), heads = along, corners.heads
    s_lo, s_hi, lo, hi, _ = found
    size = (heads**2 * gram.abs().amax(dim=(1, 2)) + 2 * heads * s_hi * p.abs().amax(dim=1)) / lo**2
    size = size + 2 * heads * w.abs().amax(dim=1) / lo
    size = size + (model.shown**0.5 * s_hi / lo + model.bias**0.5) ** 2
    more = [(p, [model.shown]), (w, [model.along, model.bias])]
    gram, defect = _semidefinite(_joined(gram, more))
    rest = torch.stack([s_lo + s_hi, lo + hi], dim=1) / 2
    middle = torch.cat([corners.middle, rest], dim=1)
    seen = _times(gram, middle)
    shadow = seen / _root(middle, seen)
    ends = torch.stack([torch.stack([s_lo, lo], dim=1), torch.stack([s_hi, hi], dim=1)])
    least = corners.least(shadow[:, :-2]) + (ends * shadow[:, -2:]).amin(dim=0).sum(dim=1)
    lost = defect * (heads + s_hi**2 + hi**2) + 2 * off * size * hi**2
    bound: Tensor = least.clamp(min=0.0).square() * (1 - _ROUNDED) - lost
    return bound


class _Corners:
    """What weights that sum to 1 over the frames of each head can reach at most.

    Args:
        used: bool [V, F].
        heads: how many.

    Attributes:
        heads: likewise.
        middle: equal weights, float64 [V, J].
    """

    def __init__(self, used: Tensor, heads: int) -> None:
        self.heads = heads
        self.middle = (used / used.sum(dim=1, keepdim=True)).double().repeat(1, heads)
        self._unused = ~used[:, None]

    def least(self, x: Tensor) -> Tensor:
        """No more than any weighted sum of numbers [V, J]."""
        by_head = x.view(len(x), self.heads, -1).masked_fill(self._unused, torch.inf)
        return by_head.amin(dim=2).sum(dim=1)

    def form(self, gram: Tensor) -> Tensor:
        """No less than any quadratic form of weights in matrices [V, J, J], at least 0."""
        count = gram.shape[1] // self.heads
        blocks = gram.reshape(len(gram), self.heads, count, self.heads, count)
        blocks = blocks.masked_fill(self._unused[..., None, None], -torch.inf)
        blocks = blocks.masked_fill(self._unused[:, :, None, None], -torch.inf)
        return blocks.amax(dim=(2, 4)).sum(dim=(1, 2)).clamp(min=0.0)


def _moved(gram: Tensor, by: Tensor) -> Tensor:
    """The Gram matrix of vectors, each moved by some of the last one, which is left out."""
    across = gram[:, :-1, -1] * by[:, None]
    both = across[:, :, None] + across[:, None]
    return gram[:, :-1, :-1] + both + (by**2 * gram[:, -1, -1])[:, None, None]


def _semidefinite(gram: Tensor) -> tuple[Tensor, Tensor]:
    """Matrices [V, n, n] that are Gram matrices, and what was added to their diagonals [V]."""
    gram = (gram + gram.transpose(1, 2)) / 2
    size = gram.abs().amax(dim=(1, 2))
    defect = (-torch.linalg.eigvalsh(gram)[:, 0]).clamp(min=0.0) + _ROUNDED * len(gram[0]) * size
    eye = torch.eye(gram.shape[1], dtype=gram.dtype)
    return gram + defect[:, None, None] * eye, defect


def _joined(gram: Tensor, more: Sequence[tuple[Tensor, Sequence[float]]]) -> Tensor:
    """A Gram matrix [V, n, n] with further vectors: their products with the n, and with each other.

    Args:
        gram: of n vectors.
        more: of each further vector, [V, n] and its products with those before it and itself.
    """
    for with_first, with_more in more:
        before = with_first.new_tensor(with_more[:-1]).expand(len(gram), -1)
        side = torch.cat([with_first, before], dim=1)[..., None]
        own = with_first.new_tensor(with_more[-1]).expand(len(gram), 1, 1)
        below = torch.cat([side.transpose(1, 2), own], dim=2)
        gram = torch.cat([torch.cat([gram, side], dim=2), below], dim=1)
    return gram


def _times(gram: Tensor, weights: Tensor) -> Tensor:
    return (gram @ weights[..., None]).squeeze(2)


def _root(weights: Tensor, seen: Tensor) -> Tensor:
    """The length [V, 1] of a weighted sum of vectors, from its products with them."""
    return (weights * seen).sum(dim=1, keepdim=True).clamp(min=_TINY).sqrt()
