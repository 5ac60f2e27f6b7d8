"""X-Pool's pooling: what a text sees of a video's frames, pair by pair and folded.

Written from specs/more-heads.md 2.3 and 2.6 alone (X-Pool's code has no licence). `pooled` is the
text of 2.3, for training. `Folded` gives the same cosines without a map of a pair: since softmax
weights sum to 1, both norms and the length of the pooled video are quadratic forms of the weights,
so that a few small matrices of a video stand for all of its maps.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from reelvec.models.clip.blocks import CLIP_EPS, LayerNorm
from reelvec.models.temporal import unit

__all__ = ["Asked", "Drop", "Folded", "PoolFrames"]

Drop = Callable[[Tensor], Tensor]
"""Dropout of training: [T, V, D] to the same shape."""


class Folded(NamedTuple):
    """What is kept of V videos, J = heads x frames."""

    frames: Tensor  # [V, F, D], normed
    counts: Tensor  # [V, F], how often a frame counts; 0: it is padding
    grams: Tensor  # [V, 3, J, J]: G, N and P of the specification
    vectors: Tensor  # [V, 3, J]: h, p and w


class Asked(NamedTuple):
    """What T texts bring to every video, computed once."""

    queries: Tensor  # [T, 2 H, D]: what they ask of a normed frame for logits, and for values
    offset: Tensor  # [T], of the values
    along: Tensor  # [T, 1], of what is added behind the linear map
    beside: Tensor  # [T, 1], of the last norm's bias
    spread: Tensor  # mean square of what is added
    lengths: tuple[Tensor, Tensor, Tensor]  # squares and product of what is added and the bias


class _Attention(nn.Module):
    """Four maps as they start: the identity."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.q_proj = _identity(width)
        self.k_proj = _identity(width)
        self.v_proj = _identity(width)
        self.out_proj = _identity(width)


class PoolFrames(nn.Module):
    """One layer of attention from a text to frames, under the original's key names."""

    def __init__(self, width: int, *, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.cross_attn = _Attention(width)
        self.linear_proj = _identity(width)
        self.layer_norm1 = LayerNorm(width, eps=CLIP_EPS)
        self.layer_norm2 = LayerNorm(width, eps=CLIP_EPS)
        self.layer_norm3 = LayerNorm(width, eps=CLIP_EPS)

    def attention(self, sentence: Tensor, frames: Tensor, counts: Tensor) -> Tensor:
        """How much a text looks at each frame, by head: [T, H, V, F], sums 1 over F.

        Args:
            sentence: raw texts [T, D].
            frames: normed frames [V, F, D].
            counts: [V, F].
        """
        query = self._split(self.cross_attn.q_proj(self.layer_norm1(sentence)))  # [T, H, d]
        key = self._split(self.cross_attn.k_proj(frames))  # [V, F, H, d]
        logits = torch.einsum("thd,vfhd->thvf", query, key) / math.sqrt(key.shape[-1])
        return torch.softmax(logits + counts.to(logits.dtype).log()[None, None], dim=-1)

    def pooled(
        self,
        sentence: Tensor,
        frames: Tensor,
        counts: Tensor,
        *,
        drop: Drop | None = None,
    ) -> Tensor:
        """Each video as each text sees it, [T, V, D]; differentiable.

        Args:
            sentence: raw texts [T, D].
            frames: normed frames [V, F, D].
            counts: [V, F].
            drop: dropout of training, [T, V, D] -> [T, V, D].
        """
        weights = self.attention(sentence, frames, counts)
        value = self._split(self.cross_attn.v_proj(frames))
        seen = torch.einsum("thvf,vfhd->tvhd", weights, value).flatten(2)
        y = self.layer_norm2(self.cross_attn.out_proj(seen))
        moved = self.linear_proj(y)
        out: Tensor = self.layer_norm3(y + (moved if drop is None else drop(moved)))
        return out

    def folded(self, frames: Tensor, counts: Tensor) -> Folded:
        """What is kept of videos: normed frames [V, F, D], [V, F]."""
        (videos, count, width), heads = frames.shape, self.heads
        value = self._split(self.cross_attn.v_proj(frames))
        out = self.cross_attn.out_proj.weight.view(width, heads, -1)
        shown = torch.einsum("vfhd,whd->vhfw", value, out)
        m = _centred(shown + self.cross_attn.out_proj.bias / heads).flatten(1, 2)  # [V, J, D]
        scaled = self.layer_norm2.weight * m
        n = _centred(scaled + functional.linear(scaled, self.linear_proj.weight))
        gain, bias, constant = self.layer_norm3.weight, self.layer_norm3.bias, self._constant()
        p = gain * n
        grams = [torch.bmm(x, x.transpose(1, 2)) for x in (m, n, p)]
        along = torch.stack([constant / width, gain**2 * constant, gain * bias], dim=1)
        vectors = (n.flatten(0, 1) @ along).view(videos, heads * count, 3).transpose(1, 2)
        scale = n.new_tensor([1 / width, 1 / width, 1.0])[:, None, None]
        return Folded(frames, counts, torch.stack(grams, dim=1) * scale, vectors.contiguous())

    def asked(self, sentence: Tensor) -> Asked:
        """What raw texts [T, D] ask of any video."""
        constant, bias = self._constant(), self.layer_norm3.bias
        shown, direction = self.layer_norm3.weight * constant, unit(sentence)
        queries, offset = self._queries(sentence)
        return Asked(
            queries,
            offset,
            along=(direction @ shown)[:, None],
            beside=(direction @ bias)[:, None],
            spread=constant.square().sum() / sentence.shape[1],
            lengths=(shown @ shown, shown @ bias, bias @ bias),
        )

    def cosines(self, asked_for: Asked, kept: Folded) -> Tensor:
        """Texts with the videos they pool, [T, V]: `pooled`'s cosines, from what is kept."""
        queries, offset = asked_for.queries, asked_for.offset
        frames, texts, heads = kept.frames, len(queries), self.heads
        asked = queries.flatten(0, 1) @ frames.flatten(0, 1).T
        asked = asked.view(texts, 2 * heads, *frames.shape[:2])  # [T, 2 H, V, F]
        logits = asked[:, :heads] + kept.counts.to(asked.dtype).log()
        weights = torch.softmax(logits, dim=-1)
        reached = (weights * asked[:, heads:]).sum(dim=(1, 3)) + offset[:, None]
        weights = weights.permute(2, 0, 1, 3).flatten(2)  # [V, T, J]
        forms = _forms(weights, kept.grams)
        h, p, w = torch.bmm(weights, kept.vectors.transpose(1, 2)).permute(2, 1, 0)
        s2 = (forms[0] + CLIP_EPS).sqrt()
        spread = forms[1] / s2**2 + 2 * h / s2
        s3 = (spread + asked_for.spread + CLIP_EPS).sqrt()
        above = (reached / s2 + asked_for.along) / s3 + asked_for.beside
        of_shown, of_both, of_bias = asked_for.lengths
        length = (forms[2] / s2**2 + 2 * p / s2 + of_shown) / s3**2
        length = length + 2 * (w / s2 + of_both) / s3 + of_bias
        scores: Tensor = above / length.sqrt()
        return scores

    def value_queries(self, sentence: Tensor) -> tuple[Tensor, Tensor]:
        """What one raw text [1, D] asks of a normed frame's value, by head [H, D]; offset [1]."""
        queries, offset = self._queries(sentence)
        return queries[0, self.heads :], offset

    def last_norm(self) -> tuple[Tensor, Tensor, Tensor]:
        """Weight and bias of the last norm [D], and the constant [D] that goes into it."""
        return self.layer_norm3.weight, self.layer_norm3.bias, self._constant()

    def _queries(self, sentence: Tensor) -> tuple[Tensor, Tensor]:
        """What texts ask of a normed frame: logits' and values' [T, 2 H, D]; values' offset [T]."""
        attn, width = self.cross_attn, sentence.shape[1]

        def to_frames(x: Tensor, weight: Tensor) -> Tensor:
            return torch.einsum("thd,hdw->thw", self._split(x), weight.view(self.heads, -1, width))

        query = attn.q_proj(self.layer_norm1(sentence)) / math.sqrt(width // self.heads)
        back = _centred(self.layer_norm3.weight * unit(sentence))
        back = _centred(self.layer_norm2.weight * (back + back @ self.linear_proj.weight))
        by_value = back @ attn.out_proj.weight
        both = (to_frames(query, attn.k_proj.weight), to_frames(by_value, attn.v_proj.weight))
        return torch.cat(both, dim=1), by_value @ attn.v_proj.bias + back @ attn.out_proj.bias

    def _constant(self) -> Tensor:
        """What the second norm's bias adds behind the linear map, centred [D]."""
        bias = self.layer_norm2.bias
        moved = (self.linear_proj.weight * bias).sum(dim=1)
        return _centred(bias + moved + self.linear_proj.bias)

    def _split(self, x: Tensor) -> Tensor:
        """[..., D] as [..., H, D / H]."""
        return x.view(*x.shape[:-1], self.heads, x.shape[-1] // self.heads)


def _forms(weights: Tensor, grams: Tensor) -> Tensor:
    """Quadratic forms of weights [V, T, J] in matrices [V, 3, J, J]: [3, T, V]."""
    joined = grams.transpose(1, 2).flatten(2)  # [V, J, 3 J]; each matrix is symmetric
    mixed = torch.bmm(weights, joined).view(*weights.shape[:2], 3, weights.shape[2])
    return (mixed * weights[:, :, None]).sum(-1).permute(2, 1, 0)


def _identity(width: int) -> nn.Linear:
    linear = nn.Linear(width, width)
    nn.init.eye_(linear.weight)
    nn.init.zeros_(linear.bias)
    return linear


def _centred(x: Tensor) -> Tensor:
    return x - x.mean(dim=-1, keepdim=True)
