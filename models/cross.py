"""The cross encoder of tightTransf and DRL's xti: a sentence and frames, one pass a pair.

Source: specs/clip4clip-clip2video.md 1.5.
"""

from __future__ import annotations

from torch import Tensor, nn

from reelvec.models.clip.blocks import HEADER_EPS, LayerNorm, Transformer, quick_gelu
from reelvec.models.noise import Noise
from reelvec.models.temporal import key_mask

__all__ = ["CrossEncoder"]


class _Positions(nn.Module):
    def __init__(self, positions: int, width: int) -> None:
        super().__init__()
        self.position_embeddings = nn.Embedding(positions, width)


class _Pooler(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.ln_pool = LayerNorm(width, eps=HEADER_EPS)
        self.dense = nn.Linear(width, width)

    def forward(self, first: Tensor) -> Tensor:
        return quick_gelu(self.dense(self.ln_pool(first)))


class CrossEncoder(nn.Module):
    """A scorer of a sentence with frames, under `cross.*` key names."""

    def __init__(self, width: int, *, positions: int, layers: int, heads: int) -> None:
        super().__init__()
        self.embeddings = _Positions(positions, width)
        self.dropout = nn.Dropout(0.1)
        self.transformer = Transformer(width, layers=layers, heads=heads, eps=HEADER_EPS)
        self.pooler = _Pooler(width)

    def forward(self, tokens: Tensor, mask: Tensor, *, noise: Noise | None = None) -> Tensor:
        """Pooled first tokens [B, D] of sequences [B, L, D] with key mask [B, L].

        `noise` [B]: of the dropout; None: as torch draws it, in training alone.
        """
        positions = self.embeddings.position_embeddings.weight
        x = tokens + positions[: tokens.shape[1]].to(tokens.dtype)
        share = self.dropout.p
        x = self.dropout(x) if noise is None else noise.dropout(x, share=share, site="cross")
        added = key_mask(mask, heads=self.transformer.heads, dtype=x.dtype)
        first = self.transformer(x, mask=added, first_only=True)[:, 0]
        out: Tensor = self.pooler(first)
        return out
