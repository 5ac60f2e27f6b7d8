"""Which patches of a frame are kept: scores, and a top-k that is smoothed by noise.

Source: specs/more-heads.md 5.3 and 6.3. Written from it alone (TS2-Net's code has no licence).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from reelvec.models.clip.blocks import CLIP_EPS, LayerNorm

__all__ = ["TokenSelector", "hard_indicators", "perturbed_indicators"]


class _Predictor(nn.Module):
    def __init__(self, width: int, *, seen: int) -> None:
        super().__init__()
        inner = width * seen // 2
        self.in_conv = nn.Sequential(
            LayerNorm(width * seen, eps=CLIP_EPS),
            nn.Linear(width * seen, inner, bias=False),
            nn.GELU(),
        )
        self.out_conv = nn.Sequential(
            nn.Linear(2 * inner, inner, bias=False),
            nn.GELU(),
            nn.Linear(inner, 1, bias=False),
            nn.Tanh(),
        )


class TokenSelector(nn.Module):
    """Scores of patches, each beside its frame's class token.

    Args:
        width: of a token (D).
        by_video: as UCoFiA's evaluation code: a patch is seen beside the class token first, and
            then beside the sum of the video's class tokens.
    """

    def __init__(self, width: int, *, by_video: bool = False) -> None:
        super().__init__()
        self._by_video = by_video
        self.score_predictor = _Predictor(width, seen=2 if by_video else 1)

    def forward(self, tokens: Tensor) -> Tensor:
        """Scores [V, F, P] of tokens [V, F, 1 + P, D], the class token first."""
        if self._by_video:
            tokens = torch.cat([tokens, tokens[:, :, :1].expand_as(tokens)], dim=3)
        y = self.score_predictor.in_conv(tokens)
        whole = y[:, :, :1]
        if self._by_video:
            whole = whole.sum(dim=1, keepdim=True)
        patches = y[:, :, 1:]
        both = torch.cat([patches, whole.expand_as(patches)], dim=3)
        scores: Tensor = self.score_predictor.out_conv(both).squeeze(3)
        return scores


def hard_indicators(scores: Tensor, *, k: int) -> Tensor:
    """The k best patches of [..., P], by place: one-hot [..., k, P]."""
    chosen = scores.topk(k, dim=-1).indices.sort(dim=-1).values
    return nn.functional.one_hot(chosen, scores.shape[-1]).to(scores.dtype)


def perturbed_indicators(scores: Tensor, noise: Tensor, *, k: int, sigma: float) -> Tensor:
    """The mean of `hard_indicators` over noisy scores: [..., k, P].

    Its gradient is that of the original: the diagonal of the true one.

    Args:
        scores: [..., P].
        noise: Gaussian [..., S, P], S samples; or [S, P], the same for all.
        k: patches kept.
        sigma: spread of the noise.
    """
    flat = scores.flatten(0, -2)
    drawn = noise.to(scores.dtype).expand(*scores.shape[:-1], *noise.shape[-2:]).flatten(0, -3)
    found: Tensor = _Perturbed.apply(flat, drawn, k, sigma)  # type: ignore[no-untyped-call]
    return found.view(*scores.shape[:-1], k, scores.shape[-1])


class _Perturbed(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, scores: Tensor, noise: Tensor, k: int, sigma: float) -> Tensor:
        rows, patches = scores.shape
        samples = noise.shape[1]
        noisy = scores[:, None] + sigma * noise
        chosen = noisy.topk(k, dim=2).indices.sort(dim=2).values.transpose(1, 2)  # [n, k, S]
        share = scores.new_full((), 1 / samples).expand(chosen.shape)
        found = scores.new_zeros(rows, k, patches).scatter_add_(2, chosen, share)
        of_noise = noise.gather(2, chosen.transpose(1, 2)).transpose(1, 2) / samples
        ctx.save_for_backward(scores.new_zeros(rows, k, patches).scatter_add_(2, chosen, of_noise))
        ctx.sigma = sigma
        return found

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        (moved,) = ctx.saved_tensors
        return (gradients[0] * moved).sum(dim=1) / ctx.sigma, None, None, None
