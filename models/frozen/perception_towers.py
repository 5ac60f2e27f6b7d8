"""The two towers of Meta's Perception Encoder (core), under the keys it is published with.

Keys are OpenCLIP's, with the image tower as timm names it below `visual.trunk`. Sources: Bolya et
al., "Perception Encoder" (arXiv:2504.13181); timm, models/eva.py and layers/pos_embed_sincos.py
(Apache-2.0); OpenCLIP, transformer.py (MIT).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from reelvec.models.clip.blocks import CLIP_EPS, LayerNorm, Transformer
from reelvec.models.costs import attention_macs, transformer_macs

__all__ = [
    "POOL_HEADS",
    "ImageSizes",
    "ImageTower",
    "PerceptionTowers",
    "TextSizes",
    "by_heads",
    "image_macs",
    "turned",
]

POOL_HEADS, POOL_RATIO, TEXT_RATIO = 8, 4, 4
"""Heads of the attention pooling; hidden widths of its and the text tower's MLPs over their own."""
_TEMPERATURE = 10_000.0
_STD = 0.02


@dataclass(frozen=True)
class ImageSizes:
    """Sizes of the image tower; the patches are `grid` x `grid`."""

    width: int
    layers: int
    heads: int
    hidden: int
    patch_size: int
    grid: int
    rotary_grid: int
    """Patches a side that the rotary positions are counted in, whatever `grid` is."""
    class_token: bool


@dataclass(frozen=True)
class TextSizes:
    """Sizes of the text tower."""

    width: int
    layers: int
    heads: int
    context_length: int
    vocab_size: int


class RotaryAttention(nn.Module):
    """Self-attention with rotary position embedding of queries and keys."""

    def __init__(self, width: int, *, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)

    def forward(self, x: Tensor, turns: Tensor) -> Tensor:
        """[B, N, W] -> [B, N, W]; `turns` [2, N, W / heads / 2] as `rotary_turns` gives them."""
        query, key, value = (
            by_heads(part, heads=self.heads) for part in self.qkv(x).chunk(3, dim=-1)
        )
        attended = functional.scaled_dot_product_attention(
            turned(query, turns), turned(key, turns), value
        )
        out: Tensor = self.proj(attended.transpose(1, 2).flatten(2))
        return out


class Mlp(nn.Module):
    """fc1, exact GELU, fc2."""

    def __init__(self, width: int, *, hidden: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(width, hidden)
        self.fc2 = nn.Linear(hidden, width)

    def forward(self, x: Tensor) -> Tensor:
        """Apply to the last axis."""
        out: Tensor = self.fc2(functional.gelu(self.fc1(x)))
        return out


class ImageBlock(nn.Module):
    """x += attention(norm1(x)); x += mlp(norm2(x))."""

    def __init__(self, sizes: ImageSizes) -> None:
        super().__init__()
        self.norm1 = LayerNorm(sizes.width, eps=CLIP_EPS)
        self.attn = RotaryAttention(sizes.width, heads=sizes.heads)
        self.norm2 = LayerNorm(sizes.width, eps=CLIP_EPS)
        self.mlp = Mlp(sizes.width, hidden=sizes.hidden)

    def forward(self, x: Tensor, turns: Tensor) -> Tensor:
        """[B, N, W] -> [B, N, W]."""
        x = x + self.attn(self.norm1(x), turns)
        out: Tensor = x + self.mlp(self.norm2(x))
        return out


class AttentionPool(nn.Module):
    """One learned query over all tokens, then a residual MLP."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.latent = nn.Parameter(torch.empty(1, 1, width))
        self.q = nn.Linear(width, width)
        self.kv = nn.Linear(width, 2 * width)
        self.proj = nn.Linear(width, width)
        self.norm = LayerNorm(width, eps=CLIP_EPS)
        self.mlp = Mlp(width, hidden=POOL_RATIO * width)
        nn.init.normal_(self.latent, std=width**-0.5)

    def forward(self, x: Tensor) -> Tensor:
        """[B, N, W] -> [B, W]."""
        query = self.q(self.latent).expand(len(x), -1, -1)
        parts = (query, *self.kv(x).chunk(2, dim=-1))
        query, key, value = (by_heads(part, heads=POOL_HEADS) for part in parts)
        attended = functional.scaled_dot_product_attention(query, key, value)
        pooled = self.proj(attended.transpose(1, 2).flatten(1))
        out: Tensor = pooled + self.mlp(self.norm(pooled))
        return out


class ImageTower(nn.Module):
    """Frames to vectors: patches, learned and rotary positions, blocks, pooling, projection.

    Args:
        sizes: of the tower.
        embed_dim: numbers of a vector.
    """

    turns: Tensor

    def __init__(self, sizes: ImageSizes, *, embed_dim: int) -> None:
        super().__init__()
        width, patch = sizes.width, sizes.patch_size
        tokens = sizes.grid**2 + sizes.class_token
        self.patch_embed = nn.ModuleDict(
            {"proj": nn.Conv2d(3, width, patch, stride=patch, bias=False)}
        )
        self.cls_token: nn.Parameter | None = None
        if sizes.class_token:
            self.cls_token = nn.Parameter(_STD * torch.randn(1, 1, width))
        self.pos_embed = nn.Parameter(_STD * torch.randn(1, tokens, width))
        self.norm_pre = LayerNorm(width, eps=CLIP_EPS)
        self.blocks = nn.ModuleList(ImageBlock(sizes) for _ in range(sizes.layers))
        self.norm = LayerNorm(width, eps=CLIP_EPS)
        self.attn_pool = AttentionPool(width)
        self.head = nn.Linear(width, embed_dim)
        self.register_buffer("turns", rotary_turns(sizes), persistent=False)

    def forward(self, frames: Tensor) -> Tensor:
        """Normalised frames [N, 3, S, S] to features [N, D], in the type of the weights."""
        patches = self.patch_embed["proj"](frames.to(self.head.weight.dtype))
        x = patches.flatten(2).transpose(1, 2)
        if self.cls_token is not None:
            x = torch.cat([self.cls_token.expand(len(x), -1, -1), x], dim=1)
        x = self.norm_pre(x + self.pos_embed)
        for block in self.blocks:
            x = block(x, self.turns)
        out: Tensor = self.head(self.attn_pool(self.norm(x)))
        return out


class TextMlp(nn.Module):
    """CLIP's c_fc and c_proj with the exact GELU between them."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.c_fc = nn.Linear(width, TEXT_RATIO * width)
        self.c_proj = nn.Linear(TEXT_RATIO * width, width)

    def forward(self, x: Tensor) -> Tensor:
        """Apply to the last axis."""
        out: Tensor = self.c_proj(functional.gelu(self.c_fc(x)))
        return out


class TextTower(nn.Module):
    """CLIP's causal transformer with the exact GELU; padding stands last and needs no mask."""

    def __init__(self, sizes: TextSizes, *, embed_dim: int) -> None:
        super().__init__()
        width = sizes.width
        self.token_embedding = nn.Embedding(sizes.vocab_size, width)
        self.positional_embedding = nn.Parameter(_STD * torch.randn(sizes.context_length, width))
        self.transformer = Transformer(width, layers=sizes.layers, heads=sizes.heads)
        for block in self.transformer.resblocks:
            block.mlp = TextMlp(width)
        self.ln_final = LayerNorm(width, eps=CLIP_EPS)
        self.text_projection = nn.Parameter(width**-0.5 * torch.randn(width, embed_dim))

    def forward(self, tokens: Tensor) -> Tensor:
        """Ids int64 [T, L] to features [T, D]: the state at the largest id, the end token."""
        x = self.token_embedding(tokens) + self.positional_embedding
        x = self.transformer(x, causal=True)
        ends = x[torch.arange(len(x), device=x.device), tokens.argmax(dim=1)]
        out: Tensor = self.ln_final(ends) @ self.text_projection
        return out


class PerceptionTowers(nn.Module):
    """Both towers and the temperature, with random weights, in fp32."""

    def __init__(self, image: ImageSizes, text: TextSizes, *, embed_dim: int) -> None:
        super().__init__()
        self.visual = nn.ModuleDict({"trunk": ImageTower(image, embed_dim=embed_dim)})
        self.text = TextTower(text, embed_dim=embed_dim)
        self.logit_scale = nn.Parameter(torch.tensor(math.log(1 / 0.07)))

    def encode_frames(self, frames: Tensor) -> Tensor:
        """Normalised frames [N, 3, S, S] to features [N, D]."""
        out: Tensor = self.visual["trunk"](frames)
        return out

    def encode_text(self, tokens: Tensor) -> Tensor:
        """Ids int64 [T, L] to features [T, D]."""
        out: Tensor = self.text(tokens)
        return out


def image_macs(sizes: ImageSizes, *, embed_dim: int, frames: int) -> int:
    """Multiply-accumulates of the image tower (see `models.costs`) on the frames of a video."""
    width, patches = sizes.width, sizes.grid**2
    tokens = patches + sizes.class_token
    blocks = transformer_macs(width, layers=sizes.layers, tokens=tokens, hidden=sizes.hidden)
    pool = attention_macs(width, queries=1, keys=tokens) + 2 * POOL_RATIO * width**2
    of_patches = patches * 3 * sizes.patch_size**2 * width
    once = width**2  # the learned query is the same for all frames
    return frames * (of_patches + blocks + pool - once + width * embed_dim) + once


def rotary_turns(sizes: ImageSizes) -> Tensor:
    """Cosine and sine of every token's angles: [2, N, head width / 2].

    The first half of the angles is the column's, the second the row's. A class token stands at
    place 0, which turns nothing, and the patches' places then begin at 1.
    """
    bands = sizes.width // sizes.heads // 4
    speeds = 1.0 / _TEMPERATURE ** (torch.arange(bands, dtype=torch.float32) / bands)
    places = torch.arange(sizes.grid, dtype=torch.float32) + sizes.class_token
    along = (places / sizes.grid * sizes.rotary_grid)[:, None] * speeds
    shape = (sizes.grid, sizes.grid, bands)
    both = (along[None].expand(shape), along[:, None].expand(shape))
    angles = torch.cat(both, dim=-1).flatten(0, 1)
    if sizes.class_token:
        angles = torch.cat([torch.zeros_like(angles[:1]), angles])
    return torch.stack([angles.cos(), angles.sin()])


def by_heads(x: Tensor, *, heads: int) -> Tensor:
    """[B, N, W] -> [B, heads, N, W / heads]."""
    return x.view(*x.shape[:-1], heads, x.shape[-1] // heads).transpose(1, 2)


def turned(x: Tensor, turns: Tensor) -> Tensor:
    """Rotate each pair of neighbouring numbers on the last axis of `x` [..., N, K]."""
    cos, sin = turns.to(x.dtype)
    first, second = x[..., 0::2], x[..., 1::2]
    pairs = torch.stack([first * cos - second * sin, second * cos + first * sin], dim=-1)
    return pairs.flatten(-2)
