"""The published image towers of PE-core."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

__all__ = ["TRUNKS", "Trunk"]


@dataclass(frozen=True)
class Trunk:
    """Facts about an image tower that no tensor's shape tells."""

    heads: int
    rotary_grid: int
    class_token: bool = True


TRUNKS: Mapping[str, Trunk] = MappingProxyType(
    {
        "vit_pe_core_tiny_patch16_384": Trunk(heads=3, rotary_grid=24),
        "vit_pe_core_small_patch16_384": Trunk(heads=6, rotary_grid=24),
        "vit_pe_core_base_patch16_224": Trunk(heads=12, rotary_grid=14),
        "vit_pe_core_large_patch14_336": Trunk(heads=16, rotary_grid=24),
        "vit_pe_core_gigantic_patch14_448": Trunk(heads=16, rotary_grid=32, class_token=False),
    }
)
"""The published image towers by timm's names (timm, models/eva.py)."""
