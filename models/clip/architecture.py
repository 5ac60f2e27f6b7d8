"""Sizes of the two CLIP towers: named, or read from a state dict."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Self

from reelvec.models.errors import OptionsError, WeightsError

if TYPE_CHECKING:  # sizes are asked for where no tensor is read
    from torch import Tensor

__all__ = ["ARCHITECTURES", "MAX_LAYERS", "SMALLEST", "Architecture", "architecture"]


_PUBLISHED_HEAD_DIM = 64
"""Of all published CLIPs."""

MAX_LAYERS = 512
"""Of a tower or a header; a file that asks for more would build them for ever."""
_MAX_SIDE = 16_384
"""Pixels of a frame's side, and positions of a caption."""
_MAX_WIDTH = 65_536


@dataclass(frozen=True)
class Architecture:
    """Sizes of both towers (specs/clip4clip-clip2video.md 1.1).

    Heads are width // head_dim in both towers; the published systems all have head_dim 64.
    """

    embed_dim: int
    image_size: int
    vision_layers: int
    vision_width: int
    patch_size: int
    text_width: int
    text_layers: int
    context_length: int = 77
    vocab_size: int = 49408
    head_dim: int = _PUBLISHED_HEAD_DIM

    def __post_init__(self) -> None:
        self._check_bounds()
        for name in ("vision_width", "text_width"):
            width = getattr(self, name)
            if width % self.head_dim:
                raise OptionsError(
                    f"{name} {width} is no multiple of head_dim {self.head_dim}; "
                    "give the head_dim these weights were trained with"
                )
        if self.image_size % self.patch_size:
            raise OptionsError(
                f"image_size {self.image_size} is no multiple of patch_size {self.patch_size}"
            )

    def _check_bounds(self) -> None:
        most = {"vision_layers": MAX_LAYERS, "text_layers": MAX_LAYERS}
        most |= {"image_size": _MAX_SIDE, "context_length": _MAX_SIDE, "embed_dim": _MAX_WIDTH}
        most |= {"vision_width": _MAX_WIDTH, "text_width": _MAX_WIDTH}
        for name, value in vars(self).items():
            largest = most.get(name)
            least = 0 if name.endswith("layers") else 1
            if type(value) is not int or value < least or (largest is not None and value > largest):
                raise OptionsError(
                    f"{name} ({value!s:.40}) cannot be; it must be a whole number from {least}"
                    f"{f' to {largest:,}' if largest else ' up'}"
                )

    @property
    def vision_heads(self) -> int:
        """Attention heads of the vision tower."""
        return self.vision_width // self.head_dim

    @property
    def text_heads(self) -> int:
        """Attention heads of the text tower."""
        return self.text_width // self.head_dim

    @property
    def grid(self) -> int:
        """Patches a side."""
        return self.image_size // self.patch_size

    @classmethod
    def from_state(cls, state: Mapping[str, Tensor], *, head_dim: int | None = None) -> Self:
        """Sizes of a CLIP in OpenAI layout (keys without prefix), from its tensors' shapes.

        Args:
            state: OpenAI CLIP state dict; only shapes are read.
            head_dim: width of an attention head, which no shape tells; None: that of our named
                sizes where these are some of them, else 64.

        Raises:
            WeightsError: no vision transformer in the state (ResNet CLIPs have no `visual.proj`).
        """
        if "visual.proj" not in state or "visual.conv1.weight" not in state:
            raise WeightsError(
                "no `visual.proj` among the tensors: this is no CLIP with a vision transformer "
                "(ResNet CLIPs are not supported); give a ViT archive"
            )
        try:
            width, _, _, patch = state["visual.conv1.weight"].shape
            grid = round((state["visual.positional_embedding"].shape[0] - 1) ** 0.5)
            sizes = {
                "embed_dim": state["text_projection"].shape[1],
                "image_size": patch * grid,
                "vision_layers": _layers(state, "visual.transformer.resblocks."),
                "vision_width": width,
                "patch_size": patch,
                "text_width": state["ln_final.weight"].shape[0],
                "text_layers": _layers(state, "transformer.resblocks."),
                "context_length": state["positional_embedding"].shape[0],
                "vocab_size": state["token_embedding.weight"].shape[0],
            }
        except KeyError as error:
            raise WeightsError(f"CLIP tensor {error} is missing; the file is not whole") from None
        except (ValueError, IndexError) as error:
            raise WeightsError(f"CLIP tensors of shapes that no CLIP has ({error})") from None
        return cls(**sizes, head_dim=head_dim or _head_dim(sizes))


def _layers(state: Mapping[str, Tensor], prefix: str) -> int:
    last = (".attn.in_proj_weight", ".attn.net.in_proj_weight")  # the second: a shifted block
    return sum(k.startswith(prefix) and k.endswith(last) for k in state)


def _head_dim(sizes: Mapping[str, int]) -> int:
    """Of the named sizes that agree in all else: `micro` read back must not have fewer heads."""
    for known in ARCHITECTURES.values():
        if sizes.items() <= vars(known).items():
            return known.head_dim
    return _PUBLISHED_HEAD_DIM


_VIT_B_32 = Architecture(
    embed_dim=512,
    image_size=224,
    vision_layers=12,
    vision_width=768,
    patch_size=32,
    text_width=512,
    text_layers=12,
)
_VIT_L_14 = Architecture(
    embed_dim=768,
    image_size=224,
    vision_layers=24,
    vision_width=1024,
    patch_size=14,
    text_width=768,
    text_layers=12,
)

ARCHITECTURES: Mapping[str, Architecture] = MappingProxyType(
    {
        # a training step of 32 pairs of 4 frames takes 0.26 s of one CPU core; the text tower is
        # as deep as the four layers the temporal headers are started from
        "tiny": Architecture(
            embed_dim=128,
            image_size=64,
            vision_layers=3,
            vision_width=128,
            patch_size=16,
            text_width=128,
            text_layers=4,
        ),
        # for questions a larger model only answers more slowly: configs/presets/motion.yaml
        "micro": Architecture(
            embed_dim=64,
            image_size=32,
            vision_layers=3,
            vision_width=64,
            patch_size=8,
            text_width=64,
            text_layers=2,
            head_dim=16,
        ),
        # the smallest that tells drawn things apart: many models in minutes (configs/papers.yaml)
        "nano": Architecture(
            embed_dim=32,
            image_size=32,
            vision_layers=2,
            vision_width=32,
            patch_size=16,
            text_width=32,
            text_layers=2,
            head_dim=8,
        ),
        "ViT-B/32": _VIT_B_32,
        "ViT-B/16": replace(_VIT_B_32, patch_size=16),
        "ViT-L/14": _VIT_L_14,
        "ViT-L/14@336px": replace(_VIT_L_14, image_size=336),
    }
)
"""Named sizes; the keys are the names OpenAI gave, and `nano`, `micro` and `tiny`."""

SMALLEST = "tiny"
"""The one a CPU core trains; also what is tried where there are no weights at all."""


def architecture(name: str) -> Architecture:
    """The sizes called `name`.

    Raises:
        OptionsError: no such name; the message lists them and the nearest.
    """
    if name in ARCHITECTURES:
        return ARCHITECTURES[name]
    near = difflib.get_close_matches(name, ARCHITECTURES, n=1)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    raise OptionsError(f"no architecture {name!r}: there are {', '.join(ARCHITECTURES)}{hint}")
