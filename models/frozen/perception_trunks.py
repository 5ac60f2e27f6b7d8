"""The published image towers of PE-core, and their sizes by the shapes of their tensors."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from torch import Tensor

from reelvec.models.clip.architecture import MAX_LAYERS
from reelvec.models.errors import WeightsError
from reelvec.models.frozen.perception_towers import POOL_HEADS, ImageSizes

__all__ = ["TRUNKS", "Trunk", "shape_of", "sizes_of_trunk"]


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


def sizes_of_trunk(
    state: Mapping[str, Tensor], *, prefix: str, trunk: Trunk, side: int
) -> ImageSizes:
    """Sizes of an image tower: by its tensors' shapes, and by what no shape tells.

    Args:
        state: tensors by name, of which only shapes are read.
        prefix: of the tower's.
        trunk: what no shape tells.
        side: height and width of a frame, pixels.

    Raises:
        WeightsError: tensors that are missing, or sizes that exclude each other.
    """
    width, _, patch, _ = shape_of(state, prefix + "patch_embed.proj.weight", axes=4)
    hidden, _ = shape_of(state, prefix + "blocks.0.mlp.fc1.weight", axes=2)
    blocks = prefix + "blocks."
    layers = {key.removeprefix(blocks).split(".")[0] for key in state if key.startswith(blocks)}
    if len(layers) > MAX_LAYERS:
        raise WeightsError(f"{len(layers):,} blocks of the image tower; {MAX_LAYERS} are the most")
    if side % patch:
        raise WeightsError(f"a frame's side {side} is no multiple of the patches' {patch}")
    if width % (4 * trunk.heads) or width % POOL_HEADS:
        raise WeightsError(
            f"patches of width {width} do not fit {trunk.heads} heads of rotary pairs in two axes"
            f" and {POOL_HEADS} of pooling; the configuration must name the tensors' own tower"
        )
    return ImageSizes(
        width=width,
        layers=len(layers),
        heads=trunk.heads,
        hidden=hidden,
        patch_size=patch,
        grid=side // patch,
        rotary_grid=trunk.rotary_grid,
        class_token=trunk.class_token,
    )


def shape_of(state: Mapping[str, Tensor], key: str, *, axes: int) -> tuple[int, ...]:
    """The shape of a tensor that must be there.

    Raises:
        WeightsError: it is not, or has another number of axes.
    """
    if key not in state or state[key].ndim != axes:
        held = tuple(state[key].shape) if key in state else "missing"
        raise WeightsError(
            f"{key} is {held}, and sizes are read off its {axes} axes; the file is not whole"
        )
    return tuple(state[key].shape)
