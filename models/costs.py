"""What a model costs: parameters, and multiply-accumulates (MACs) of a text and of a video.

Counted from sizes, without computing anything: matrix products and convolutions of inference, for
a text of full length and a video with all its frames. Norms, activations, softmax and sums are left
out, as the papers leave them out. tests/models/test_costs.py holds every family's count to what
torch.utils.flop_counter sees.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from torch import nn

from reelvec.models.clip.architecture import Architecture

__all__ = [
    "Costs",
    "Macs",
    "attention_macs",
    "convolutions",
    "costs_of",
    "frame_macs",
    "header_macs",
    "lstm_macs",
    "text_macs",
    "tower_macs",
    "transformer_macs",
]

_MLP = 4
"""A block's hidden width over its own."""


@dataclass(frozen=True)
class Macs:
    """Multiply-accumulates of one text and of one video."""

    text: int
    video: int

    def __add__(self, other: Macs) -> Macs:
        return Macs(self.text + other.text, self.video + other.video)


@dataclass(frozen=True)
class Costs:
    """What a model costs; `macs` is None of a family that does not count."""

    parameters: int
    macs: Macs | None

    def as_dict(self) -> dict[str, int]:
        """parameters, and macs_per_text and macs_per_video where they are known."""
        known = {"parameters": self.parameters}
        if self.macs is not None:
            known |= {"macs_per_text": self.macs.text, "macs_per_video": self.macs.video}
        return known


@runtime_checkable
class Counted(Protocol):
    """A family that says what its encoders cost."""

    def macs(self) -> Macs:
        """Of a text of `max_words` tokens and of a video of `max_frames` frames."""


def costs_of(model: nn.Module) -> Costs:
    """The costs of a model, whose numbers are not looked at: it may lie on the meta device."""
    parameters = sum(parameter.numel() for parameter in model.parameters())
    return Costs(parameters, model.macs() if isinstance(model, Counted) else None)


def tower_macs(sizes: Architecture, *, words: int, frames: int, linear_patch: str = "2d") -> Macs:
    """Both CLIP towers: a text of `words` tokens, a video of `frames` frames."""
    of_frame = frame_macs(sizes, linear_patch=linear_patch)
    return Macs(text=text_macs(sizes, words=words), video=frames * of_frame)


def text_macs(sizes: Architecture, *, words: int) -> int:
    """The text tower; every token's state is projected."""
    blocks = transformer_macs(sizes.text_width, layers=sizes.text_layers, tokens=words)
    return blocks + words * sizes.text_width * sizes.embed_dim


def frame_macs(sizes: Architecture, *, linear_patch: str = "2d") -> int:
    """The vision tower on one frame; the last block asks for the class token alone."""
    width, patches = sizes.vision_width, sizes.grid**2
    slices = 3 if linear_patch == "3d" else 1
    blocks = transformer_macs(
        width, layers=sizes.vision_layers, tokens=patches + 1, first_only=True
    )
    return patches * slices * 3 * sizes.patch_size**2 * width + blocks + width * sizes.embed_dim


def transformer_macs(
    width: int, *, layers: int, tokens: int, first_only: bool = False, hidden: int | None = None
) -> int:
    """Blocks of attention and an MLP.

    Args:
        width: of a token.
        layers: blocks.
        tokens: of the sequence; attention sees all pairs, causal or not.
        first_only: only the first token goes on from the last block.
        hidden: of the MLP; None: four times the width.
    """
    asking = [tokens] * layers
    if first_only and layers:
        asking[-1] = 1
    return sum(
        attention_macs(width, queries=queries, keys=tokens)
        + 2 * queries * width * (hidden or _MLP * width)
        for queries in asking
    )


def attention_macs(width: int, *, queries: int, keys: int) -> int:
    """Projections of queries, keys, values and output; products of queries with keys, and sums."""
    return width * width * (2 * queries + 2 * keys) + 2 * queries * keys * width


def header_macs(header: str, width: int, *, layers: int, frames: int) -> Macs:
    """A temporal header of CLIP4Clip over all frames, by its name."""
    if header == "seqTransf":
        return Macs(0, transformer_macs(width, layers=layers, tokens=frames))
    return Macs(0, lstm_macs(width, hidden=width, steps=frames) if header == "seqLSTM" else 0)


def lstm_macs(width: int, *, hidden: int, steps: int) -> int:
    """One layer in one direction: four gates."""
    return steps * 4 * hidden * (width + hidden)


def convolutions(module: nn.Module, *, side: int) -> int:
    """Convolutions and linear maps of a network that is run in the order of its modules.

    Args:
        module: squeeze-and-excitation's convolutions are called fc1 and fc2, and see one pixel.
        side: height and width of the image, pixels.
    """
    total = 0
    for name, part in module.named_modules():
        if isinstance(part, nn.Linear):
            total += part.in_features * part.out_features
        if not isinstance(part, nn.Conv2d):
            continue
        kernel = part.kernel_size[0]
        pixels = 1
        if name.rpartition(".")[2] not in ("fc1", "fc2"):
            side = (side + 2 * int(part.padding[0]) - kernel) // part.stride[0] + 1
            pixels = side * side
        total += pixels * part.out_channels * (part.in_channels // part.groups) * kernel * kernel
    return total
