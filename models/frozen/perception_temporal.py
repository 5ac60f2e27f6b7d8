"""The temporal encoder of PE-AV: frames (or moments of sound) in order, with one token before them.

Source: specs/clip-native-encoders.md 4; transformers, models/pe_video (Apache-2.0). Padding is
masked in the norms and in attention, so that a clip is the same whatever it is batched with.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from reelvec.models.clip.architecture import MAX_LAYERS
from reelvec.models.errors import WeightsError
from reelvec.models.frozen.perception_towers import by_heads, turned
from reelvec.models.frozen.perception_trunks import shape_of

__all__ = ["ContrastiveHead", "TemporalEncoder", "TemporalSizes", "temporal_macs", "temporal_sizes"]

HEAD_EPS, NORM_EPS, THETA = 1e-6, 1e-5, 20_000.0
_GROUP_EPS = 1e-5
_KERNEL = 3


@dataclass(frozen=True)
class TemporalSizes:
    """Sizes of a temporal encoder; `eps` is of its RMS norms, `theta` of its rotary positions."""

    width: int
    layers: int
    heads: int
    head_dim: int
    hidden: int
    eps: float
    theta: float


def temporal_sizes(
    state: Mapping[str, Tensor], *, prefix: str, config: Mapping[str, Any]
) -> TemporalSizes:
    """By the shapes of an encoder's tensors, and by its configuration where no shape tells.

    Raises:
        WeightsError: tensors that are missing, or what is not built.
    """
    layers = {key.removeprefix(prefix + "layers.").split(".")[0] for key in state}
    layers = {name for name in layers if name.isdigit()}
    if not 1 <= len(layers) <= MAX_LAYERS:
        raise WeightsError(f"{len(layers):,} layers below {prefix}; from 1 to {MAX_LAYERS} can be")
    first = prefix + "layers.0."
    (head_dim,) = shape_of(state, first + "self_attn.q_norm.weight", axes=1)
    queries, width = shape_of(state, first + "self_attn.q_proj.weight", axes=2)
    keys, _ = shape_of(state, first + "self_attn.k_proj.weight", axes=2)
    hidden, _ = shape_of(state, first + "mlp.up_proj.weight", axes=2)
    if keys != queries or head_dim % 2 or queries % head_dim:
        raise WeightsError(
            f"{prefix}: {queries} numbers of queries, {keys} of keys and heads of {head_dim} are"
            " not built; there must be as many keys as queries, and heads of rotary pairs"
        )
    rotary = config.get("rope_parameters") or {}
    kind, act = rotary.get("rope_type", "default"), config.get("hidden_act", "silu")
    if kind != "default" or act != "silu":
        raise WeightsError(
            f"{prefix}: rope_type ({kind!s:.40}) and hidden_act ({act!s:.40}) must be default and"
            " silu; others are not built"
        )
    return TemporalSizes(
        width=width,
        layers=len(layers),
        heads=queries // head_dim,
        head_dim=head_dim,
        hidden=hidden,
        eps=_positive(config, "rms_norm_eps", NORM_EPS),
        theta=_positive(rotary, "rope_theta", THETA),
    )


def _positive(config: Mapping[str, Any], key: str, default: float) -> float:
    number = config.get(key, default)
    if type(number) not in (int, float) or not 0 < number < 1e12:
        raise WeightsError(f"config.json gives {key} as ({number!s:.40}); it must be above 0")
    return float(number)


class RmsNorm(nn.Module):
    """x / root mean square of x, in fp32, times a weight."""

    def __init__(self, width: int, *, eps: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        """Normalise the last axis."""
        wide = x.float()
        scale = torch.rsqrt(wide.square().mean(dim=-1, keepdim=True) + self.eps)
        return self.weight * (wide * scale).to(x.dtype)


class Attention(nn.Module):
    """Every token with every real one; queries and keys are normed a head, then turned."""

    def __init__(self, sizes: TemporalSizes) -> None:
        super().__init__()
        inner = sizes.heads * sizes.head_dim
        self.heads = sizes.heads
        self.q_proj = nn.Linear(sizes.width, inner, bias=False)
        self.k_proj = nn.Linear(sizes.width, inner, bias=False)
        self.v_proj = nn.Linear(sizes.width, inner, bias=False)
        self.o_proj = nn.Linear(inner, sizes.width, bias=False)
        self.q_norm = RmsNorm(sizes.head_dim, eps=sizes.eps)
        self.k_norm = RmsNorm(sizes.head_dim, eps=sizes.eps)

    def forward(self, x: Tensor, *, turns: Tensor, mask: Tensor | None) -> Tensor:
        """[B, L, W] -> [B, L, W]; `turns` [2, L, head width / 2], `mask` bool [B, 1, 1, L]."""
        query, key, value = (
            by_heads(project(x), heads=self.heads)
            for project in (self.q_proj, self.k_proj, self.v_proj)
        )
        attended = functional.scaled_dot_product_attention(
            turned(self.q_norm(query), turns), turned(self.k_norm(key), turns), value, mask
        )
        out: Tensor = self.o_proj(attended.transpose(1, 2).flatten(2))
        return out


class SwiGlu(nn.Module):
    """down(silu(gate) * up)."""

    def __init__(self, width: int, *, hidden: int) -> None:
        super().__init__()
        self.gate_proj = nn.Linear(width, hidden, bias=False)
        self.up_proj = nn.Linear(width, hidden, bias=False)
        self.down_proj = nn.Linear(hidden, width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Apply to the last axis."""
        out: Tensor = self.down_proj(functional.silu(self.gate_proj(x)) * self.up_proj(x))
        return out


class Layer(nn.Module):
    """x += attention(norm(x)); x += mlp(norm(x))."""

    def __init__(self, sizes: TemporalSizes) -> None:
        super().__init__()
        self.self_attn = Attention(sizes)
        self.mlp = SwiGlu(sizes.width, hidden=sizes.hidden)
        self.input_layernorm = RmsNorm(sizes.width, eps=sizes.eps)
        self.post_attention_layernorm = RmsNorm(sizes.width, eps=sizes.eps)

    def forward(self, x: Tensor, *, turns: Tensor, mask: Tensor | None) -> Tensor:
        """[B, L, W] -> [B, L, W]."""
        x = x + self.self_attn(self.input_layernorm(x), turns=turns, mask=mask)
        out: Tensor = x + self.mlp(self.post_attention_layernorm(x))
        return out


class ConvBlock(nn.Module):
    """Norm over all channels and all real tokens of a clip, SiLU, a convolution over three."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.groupnorm = nn.GroupNorm(1, width, eps=_GROUP_EPS)
        self.project = nn.Conv1d(width, width, _KERNEL, padding="same")

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        """[B, W, L] -> [B, W, L]; `mask` [B, L], 1 where a token is real."""
        normed = self.groupnorm(x) if mask is None else self._masked(x, mask[:, None].to(x.dtype))
        out: Tensor = self.project(functional.silu(normed))
        return out

    def _masked(self, x: Tensor, mask: Tensor) -> Tensor:
        count = mask.sum(dim=(1, 2), keepdim=True) * x.shape[1]
        mean = (x * mask).sum(dim=(1, 2), keepdim=True) / count
        variance = ((x - mean).square() * mask).sum(dim=(1, 2), keepdim=True) / count
        normed = (x - mean) / torch.sqrt(variance + self.groupnorm.eps)
        return (normed * self.groupnorm.weight[:, None] + self.groupnorm.bias[:, None]) * mask


class PatchEmbedder(nn.Module):
    """The class token before the others, and x + block2(block1(x)) over all."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.class_embedding = nn.Parameter(torch.randn(1, 1, width))
        self.resnet_block = nn.ModuleDict({"block1": ConvBlock(width), "block2": ConvBlock(width)})

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        """[B, F, W] -> [B, 1 + F, W]; `mask` [B, 1 + F]."""
        x = torch.cat([self.class_embedding.expand(len(x), -1, -1), x], dim=1).transpose(1, 2)
        first, second = self.resnet_block["block1"], self.resnet_block["block2"]
        out: Tensor = x + second(first(x, mask), mask)
        return out.transpose(1, 2)


class TemporalEncoder(nn.Module):
    """Tokens of width W to states of width W; the first one stands for the clip."""

    def __init__(self, sizes: TemporalSizes) -> None:
        super().__init__()
        self.sizes = sizes
        self.patch_embedder = PatchEmbedder(sizes.width)
        self.layers = nn.ModuleList(Layer(sizes) for _ in range(sizes.layers))
        self.norm = RmsNorm(sizes.width, eps=sizes.eps)
        self.output = nn.Linear(sizes.width, sizes.width, bias=False)

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """States [B, 1 + F, W] of x [B, F, W]; `mask` [B, F], 1 where a frame is real.

        None: all are. What stands at padded places means nothing.
        """
        seen = None
        if mask is not None:
            mask = torch.cat([mask[:, :1], mask], dim=1)  # the class token is real as frame 0 is
            seen = (mask != 0)[:, None, None]
        x = self.patch_embedder(x, mask)
        turns = self._turns(x)
        for layer in self.layers:
            x = layer(x, turns=turns, mask=seen)
        out: Tensor = self.output(self.norm(x))
        return out

    def _turns(self, x: Tensor) -> Tensor:
        """Cosine and sine of every place's angles, [2, L, head width / 2]."""
        pairs = torch.arange(0, self.sizes.head_dim, 2, dtype=torch.float32, device=x.device)
        speeds = 1.0 / self.sizes.theta ** (pairs / self.sizes.head_dim)
        places = torch.arange(x.shape[1], dtype=torch.float32, device=x.device)
        angles = places[:, None] * speeds
        return torch.stack([angles.cos(), angles.sin()])


class ContrastiveHead(nn.Module):
    """LayerNorm, and a linear map without bias."""

    def __init__(self, width: int, *, out: int) -> None:
        super().__init__()
        self.layer_norm = nn.LayerNorm(width, eps=HEAD_EPS)
        self.proj = nn.Linear(width, out, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """[..., W] -> [..., D]."""
        out: Tensor = self.proj(self.layer_norm(x))
        return out


def temporal_macs(sizes: TemporalSizes, *, tokens: int) -> int:
    """Multiply-accumulates (see `models.costs`) of so many tokens, the class token among them."""
    width, inner = sizes.width, sizes.heads * sizes.head_dim
    attention = 4 * tokens * width * inner + 2 * tokens**2 * inner
    of_layer = attention + 3 * tokens * width * sizes.hidden
    return 2 * _KERNEL * tokens * width**2 + sizes.layers * of_layer + tokens * width**2
