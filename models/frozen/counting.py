"""MACs of a dual encoder of `transformers`, from its configuration."""

from __future__ import annotations

from typing import Any

from reelvec.models.costs import Macs, attention_macs, transformer_macs

__all__ = ["dual_encoder_macs"]


def dual_encoder_macs(config: Any, *, words: int, image_size: int, frames: int) -> Macs:
    """Of a text of `words` tokens and of `frames` frames.

    Args:
        config: CLIP's, MetaCLIP 2's or SigLIP's, as transformers reads it.
        words: tokens.
        image_size: height and width of a frame, pixels.
        frames: of a video.
    """
    text, vision = config.text_config, config.vision_config
    patches = (image_size // vision.patch_size) ** 2
    of_frame = patches * vision.num_channels * vision.patch_size**2 * vision.hidden_size
    of_text = _blocks(text, tokens=words)
    if hasattr(config, "projection_dim"):  # CLIP's: one token of each is projected
        of_frame += _blocks(vision, tokens=patches + 1)
        of_frame += vision.hidden_size * config.projection_dim
        of_text += text.hidden_size * config.projection_dim
    else:  # SigLIP's: frames are pooled by attention, texts projected to their own width
        of_frame += _blocks(vision, tokens=patches) + _pooling(vision, tokens=patches)
        of_text += text.hidden_size * getattr(text, "projection_size", text.hidden_size)
    return Macs(of_text, frames * of_frame)


def _blocks(tower: Any, *, tokens: int) -> int:
    return transformer_macs(
        tower.hidden_size,
        layers=tower.num_hidden_layers,
        tokens=tokens,
        hidden=tower.intermediate_size,
    )


def _pooling(tower: Any, *, tokens: int) -> int:
    mlp = 2 * int(tower.hidden_size) * int(tower.intermediate_size)
    return attention_macs(tower.hidden_size, queries=1, keys=tokens) + mlp
