"""What the families' temporal parts share: masks, pooling, new parts and parts taken from CLIP."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import torch
from torch import Tensor, nn

from reelvec.models.clip.blocks import Transformer

__all__ = [
    "HEADER_STD",
    "MASKED",
    "MaskLayout",
    "copy_text_blocks",
    "frame_weights",
    "init_as_originals",
    "key_mask",
    "pool",
    "unit",
]

MaskLayout = Literal["fixed", "legacy"]

HEADER_STD = 0.02
"""Spread of new linear maps and embeddings (specs/clip4clip-clip2video.md 7.2)."""
MASKED = -1e6
"""Added to the score of a masked key. Finite as in the originals: a softmax over masked keys alone
stays a softmax."""


def unit(x: Tensor) -> Tensor:
    """`x` divided by its L2 norm along the last axis; no epsilon, so a zero vector gives NaN."""
    out: Tensor = x / torch.linalg.vector_norm(x, dim=-1, keepdim=True)
    return out


def pool(frame_features: Tensor, mask: Tensor) -> Tensor:
    """One unit vector a video: unit frames, their mean over the mask, unit again.

    Args:
        frame_features: [V, F, D].
        mask: [V, F], 1 where a frame is real; a row of zeros gives NaN, never a zero vector.

    Returns:
        [V, D].
    """
    weights = mask.to(frame_features.dtype)
    total = (unit(frame_features) * weights[..., None]).sum(dim=1)
    count = weights.sum(dim=1, keepdim=True)
    return unit(total / count.masked_fill(count == 0, 1.0))


def frame_weights(sentence: Tensor, frame_features: Tensor) -> Tensor:
    """Softmax over a video's frames of their cosine with its own sentence, [n, F].

    Args:
        sentence: [n, D].
        frame_features: [n, F, D] of the videos they belong to.

    Source: specs/more-heads.md 4.4; no temperature, so that weights differ little.
    """
    cosines = (unit(frame_features) @ unit(sentence)[..., None]).squeeze(2)
    return torch.softmax(cosines, dim=1)


def key_mask(
    mask: Tensor, *, heads: int, dtype: torch.dtype, layout: MaskLayout = "fixed"
) -> Tensor:
    """What attention adds to its scores: 0 at real keys, -1e6 at masked ones.

    Args:
        mask: [B, L], 1 at real keys.
        heads: of the attention.
        dtype: of the scores.
        layout: `legacy` gives head h of row b the mask of row (b * heads + h) mod B, as the
            released CLIP2Video and AdaCLIP do (specs/clip4clip-clip2video.md 2.2): scores then
            depend on the batch.

    Returns:
        [B, 1, 1, L], or [B, heads, 1, L] in the legacy layout.
    """
    added = (1.0 - mask.to(dtype)) * MASKED
    if layout == "fixed":
        return added[:, None, None, :]
    return added.repeat(heads, 1).view(len(mask), heads, 1, -1)


@torch.no_grad()
def init_as_originals(module: nn.Module) -> None:
    """Every linear map and embedding below `module` N(0, 0.02), their biases 0.

    Source: specs/clip4clip-clip2video.md 7.2.
    """
    for part in module.modules():
        if isinstance(part, nn.Linear | nn.Embedding):
            nn.init.normal_(part.weight, std=HEADER_STD)
        if isinstance(part, nn.Linear) and part.bias is not None:
            nn.init.zeros_(part.bias)


@torch.no_grad()
def copy_text_blocks(target: Transformer, clip: Mapping[str, Tensor], *, first: int = 0) -> None:
    """Start blocks 0, 1, … from CLIP's text blocks `first`, `first` + 1, …, as far as there are."""
    for i, block in enumerate(target.resblocks):
        prefix = f"transformer.resblocks.{first + i}."
        for name, tensor in block.state_dict().items():
            if prefix + name in clip:
                tensor.copy_(clip[prefix + name])
