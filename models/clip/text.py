"""CLIP's text tower: token ids to one vector a token."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from reelvec.models.clip.architecture import Architecture
from reelvec.models.clip.blocks import Block, LayerNorm, Transformer

__all__ = ["TextTower"]


class TextTower(nn.Module):
    """CLIP's causal transformer; padding needs no mask, since it stands after all real tokens."""

    def __init__(self, sizes: Architecture) -> None:
        super().__init__()
        width = sizes.text_width
        self.token_embedding = nn.Embedding(sizes.vocab_size, width)
        self.positional_embedding = nn.Parameter(torch.empty(sizes.context_length, width))
        self.transformer = Transformer(width, layers=sizes.text_layers, heads=sizes.text_heads)
        self.ln_final = LayerNorm(width)
        self.text_projection = nn.Parameter(torch.empty(width, sizes.embed_dim))
        self._reset()

    @torch.no_grad()
    def _reset(self) -> None:
        """Initialise as CLIP does (openai/CLIP, model.py, initialize_parameters)."""
        nn.init.normal_(self.token_embedding.weight, std=0.02)
        nn.init.normal_(self.positional_embedding, std=0.01)
        width, layers = self.transformer.width, len(self.transformer.resblocks)
        out_std = width**-0.5 * (2 * layers) ** -0.5
        for block in self.transformer.resblocks:
            if isinstance(block, Block):
                nn.init.normal_(block.attn.in_proj_weight, std=width**-0.5)
                nn.init.normal_(block.attn.out_proj.weight, std=out_std)
                nn.init.normal_(block.mlp.c_fc.weight, std=(2 * width) ** -0.5)
                nn.init.normal_(block.mlp.c_proj.weight, std=out_std)
        nn.init.normal_(self.text_projection, std=width**-0.5)

    def encode_text(self, tokens: Tensor) -> Tensor:
        """Ids int64 [T, L] to projected states of every token [T, L, D].

        The sentence is the state at the first largest id (the end token): `tokens.argmax(1)`.
        """
        dtype = self.text_projection.dtype
        x = self.token_embedding(tokens).to(dtype)
        x = x + self.positional_embedding[: tokens.shape[1]].to(dtype)
        x = self.ln_final(self.transformer(x, causal=True))
        out: Tensor = x @ self.text_projection.to(x.dtype)
        return out
