"""The residual attention block of CLIP, also of every temporal header, under the same key names."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from reelvec.models.clip.packing import Places

__all__ = [
    "CLIP_EPS",
    "HEADER_EPS",
    "Adaptable",
    "Block",
    "LayerNorm",
    "Transformer",
    "quick_gelu",
]

CLIP_EPS = 1e-5
"""LayerNorm epsilon of CLIP's towers."""
HEADER_EPS = 1e-12
"""LayerNorm epsilon of the originals' temporal headers (until_module.LayerNorm)."""


def quick_gelu(x: Tensor) -> Tensor:
    """Give x * sigmoid(1.702 x), the approximation CLIP was trained with."""
    if torch.is_grad_enabled():
        return x * torch.sigmoid(1.702 * x)
    return (1.702 * x).sigmoid_().mul_(x)  # the same numbers in one buffer


class LayerNorm(nn.LayerNorm):
    """LayerNorm computed in the precision of its own weights (fp32), cast back to the input's."""

    def forward(self, input: Tensor) -> Tensor:
        """Normalise the last axis of `input`."""
        return super().forward(input.to(self.weight.dtype)).to(input.dtype)


class Adaptable(nn.Module):
    """A module whose matrices may have adapters beside them.

    Attributes:
        matrices: name of each matrix -> the parameter that it is, or is rows of.
        adapters: matrix -> what is added to its product. They belong to whoever put them here: no
            part of this module's parameters, nor of its state.
    """

    matrices: ClassVar[Mapping[str, str]]

    def __init__(self) -> None:
        super().__init__()
        self.adapters: dict[str, nn.Module] = {}

    def adapted(self, name: str, x: Tensor, product: Tensor) -> Tensor:
        """`product` of the matrix `name` and `x`, with what its adapter adds."""
        adapter = self.adapters.get(name)
        return product if adapter is None else product + adapter(x)


class Attention(Adaptable):
    """Multi-head self-attention with the fused projection of `nn.MultiheadAttention`'s keys."""

    matrices = MappingProxyType(
        {**dict.fromkeys("qkv", "in_proj_weight"), "out_proj": "out_proj.weight"}
    )

    def __init__(self, width: int, *, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.in_proj_weight = nn.Parameter(torch.empty(3 * width, width))
        self.in_proj_bias = nn.Parameter(torch.zeros(3 * width))
        self.out_proj = nn.Linear(width, width)
        nn.init.xavier_uniform_(self.in_proj_weight)
        nn.init.zeros_(self.out_proj.bias)

    def forward(
        self,
        x: Tensor,
        *,
        mask: Tensor | None = None,
        causal: bool = False,
        first_only: bool = False,
        places: Places | None = None,
    ) -> Tensor:
        """Attend over `x` [B, L, W]; `mask` is added to scores and broadcasts to [B, heads, L, L].

        With `first_only` only the first token asks: [B, 1, W]. With `places` x is [N, W].
        """
        width = x.shape[-1]
        batch, length = places.shape if places else x.shape[:2]
        if first_only:
            query = self._project(x[:, 0], "q")  # in two axes: one plain product, whoever asks
            key, value = self._project(x, "kv").chunk(2, dim=-1)
        else:
            joined = self._project(x, "qkv")
            query, key, value = (places.spread(joined) if places else joined).chunk(3, dim=-1)
        asking = 1 if first_only else length
        split = (self.heads, width // self.heads)
        attended = functional.scaled_dot_product_attention(
            query.view(batch, asking, *split).transpose(1, 2),
            key.view(batch, length, *split).transpose(1, 2),
            value.view(batch, length, *split).transpose(1, 2),
            attn_mask=None if mask is None else mask.to(query.dtype),
            is_causal=causal,
        )
        attended = attended.transpose(1, 2).reshape(batch, asking, width)
        attended = places.pack(attended) if places else attended
        return self.adapted("out_proj", attended, self.out_proj(attended))

    def _project(self, x: Tensor, names: str) -> Tensor:
        """Some of query, key and value, which stand side by side in "qkv"."""
        weight, bias = self.in_proj_weight, self.in_proj_bias
        if names != "qkv":  # a slice's gradient is a copy of the whole
            first, width = "qkv".index(names), x.shape[-1]
            rows = slice(first * width, (first + len(names)) * width)
            weight, bias = weight[rows], bias[rows]
        joined = functional.linear(x, weight, bias)
        if self.adapters.keys().isdisjoint(names):
            return joined
        parts = zip(names, joined.chunk(len(names), dim=-1), strict=True)
        return torch.cat([self.adapted(name, x, part) for name, part in parts], dim=-1)


class Mlp(Adaptable):
    """c_fc, QuickGELU, c_proj; hidden width four times the model's."""

    matrices = MappingProxyType({"c_fc": "c_fc.weight", "c_proj": "c_proj.weight"})

    def __init__(self, width: int) -> None:
        super().__init__()
        self.c_fc = nn.Linear(width, 4 * width)
        self.c_proj = nn.Linear(4 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        """Apply to the last axis."""
        hidden = quick_gelu(self.adapted("c_fc", x, self.c_fc(x)))
        return self.adapted("c_proj", hidden, self.c_proj(hidden))


class Block(nn.Module):
    """x += attention(ln_1(x)); x += mlp(ln_2(x)) (specs/clip4clip-clip2video.md 1.1)."""

    def __init__(self, width: int, *, heads: int, eps: float = CLIP_EPS) -> None:
        super().__init__()
        self.attn = Attention(width, heads=heads)
        self.ln_1 = LayerNorm(width, eps=eps)
        self.mlp = Mlp(width)
        self.ln_2 = LayerNorm(width, eps=eps)

    def forward(
        self,
        x: Tensor,
        mask: Tensor | None = None,
        causal: bool = False,
        first_only: bool = False,
        places: Places | None = None,
    ) -> Tensor:
        """[B, L, W] -> [B, L, W], or [B, 1, W] with `first_only`, or [N, W] where `places` are."""
        attended = self.attn(
            self.ln_1(x), mask=mask, causal=causal, first_only=first_only, places=places
        )
        x = (x[:, :1] if first_only else x) + attended
        out: Tensor = x + self.mlp(self.ln_2(x))
        return out


class Transformer(nn.Module):
    """A stack of blocks under `resblocks`.

    Attributes:
        activation_checkpointing: recompute block activations in the backward pass.
    """

    def __init__(self, width: int, *, layers: int, heads: int, eps: float = CLIP_EPS) -> None:
        super().__init__()
        self.width = width
        self.heads = heads
        self.activation_checkpointing = False
        self.resblocks = nn.ModuleList(Block(width, heads=heads, eps=eps) for _ in range(layers))

    def forward(
        self,
        x: Tensor,
        *,
        mask: Tensor | None = None,
        causal: bool = False,
        first_only: bool = False,
    ) -> Tensor:
        """Blocks in order over `x` [B, L, W].

        Args:
            x: tokens.
            mask: added to attention scores, broadcast to [B, heads, L, L].
            causal: each token sees itself and what stands before it.
            first_only: give the first token only, [B, 1, W] (what follows needs no other).
        """
        last = len(self.resblocks) - 1
        for i in range(len(self.resblocks)):
            x = self._block(i, x, mask, causal, first_only and i == last, None)
        return x[:, :1] if first_only else x

    def of_real(self, x: Tensor, real: Tensor, *, mask: Tensor) -> Tensor:
        """Apply the blocks to the real tokens of `x` [B, L, W] only; ignore the output at padding.

        All layers but attention work token by token, so padding costs them nothing.

        Args:
            x: tokens.
            real: bool [B, L].
            mask: as in `forward`; keeps real tokens from seeing others.
        """
        if bool(real.all()) or not bool(real.any()):
            return self.forward(x, mask=mask)
        places = Places(real)
        x = places.pack(x)
        for i in range(len(self.resblocks)):
            x = self._block(i, x, mask, False, False, places)
        return places.spread(x)

    def _block(self, i: int, x: Tensor, *given: Tensor | bool | Places | None) -> Tensor:
        if self.activation_checkpointing and torch.is_grad_enabled():
            out: Tensor = checkpoint(self.resblocks[i], x, *given, use_reentrant=False)
        else:
            out = self.resblocks[i](x, *given)
        return out
