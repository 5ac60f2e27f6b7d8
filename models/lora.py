"""LoRA: frozen towers that learn by products of two narrow matrices beside their own.

W x becomes W x + alpha / rank * B A x (Hu et al. 2022). B begins at zero, so training begins with
the model as it was. Adapters are the model's under `lora.`; the blocks only refer to them. What a
model with adapters gives, a plain one gives with the weights of `plain_state`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from reelvec.models.clip.blocks import Adaptable, Transformer
from reelvec.models.errors import OptionsError
from reelvec.models.family import ClipFamily, RetrievalModel

__all__ = [
    "LoraOptions",
    "adapt",
    "adapter_state",
    "check_lora",
    "load_adapted",
    "plain_state",
]

_LORA = "lora."
_SCALE = "clip.logit_scale"
_TOWERS = {"text": "clip.transformer", "visual": "clip.visual.transformer"}
_JOINED = "qkv"
"""Targets that are rows of attn.in_proj_weight, in this order."""


@dataclass(frozen=True)
class LoraOptions:
    """Which matrices are adapted, and how.

    Attributes:
        rank: rows of A, columns of B.
        alpha: the product is multiplied with alpha / rank.
        targets: matrices of a block: q, k, v, out_proj, c_fc, c_proj.
        towers: text, visual.
        first_block: blocks below it have no adapters.
        rate_factor: the rate of adapters is the learning rate times this.
    """

    rank: int
    alpha: float
    targets: tuple[str, ...]
    towers: tuple[str, ...]
    first_block: int = 0
    rate_factor: float = 1.0


class _Adapter(nn.Module):
    """What is added to the product of one matrix, or of some of its rows.

    Attributes:
        key: name of the matrix in the model.
        rows: which of it.
        down, up: A [rank, columns] and B [rows, rank].
    """

    def __init__(
        self, key: str, weight: Tensor, *, rows: slice, options: LoraOptions, draw: torch.Generator
    ) -> None:
        """Adapt these rows of `weight`, in its type and on its device."""
        super().__init__()
        self.key, self.rows = key, rows
        count, width = weight[rows].shape
        bound = width**-0.5
        start = torch.empty(options.rank, width).uniform_(-bound, bound, generator=draw)
        self.down = nn.Parameter(start.to(weight))
        self.up = nn.Parameter(weight.new_zeros(count, options.rank))
        self.scale = options.alpha / options.rank

    def forward(self, x: Tensor) -> Tensor:
        """Give alpha / rank * B A x, over the last axis."""
        return functional.linear(functional.linear(x, self.down), self.up * self.scale)


def check_lora(model: RetrievalModel, options: LoraOptions) -> None:
    """Refuse a model that cannot be adapted so.

    Raises:
        OptionsError: no CLIP towers, or none that may change; no block to adapt; a rank that is no
            saving.
    """
    if not isinstance(model, ClipFamily):
        raise OptionsError(
            f"a {type(model).__name__} has no CLIP towers to adapt: set train.lora=null"
        )
    if not any(parameter.requires_grad for parameter in model.clip.parameters()):
        raise OptionsError(
            "freeze_clip keeps what CLIP gives as it is, and train.lora changes it: set one of them"
        )
    for tower in options.towers:
        stack = _stack(model, tower)
        if options.first_block >= len(stack.resblocks):
            raise OptionsError(
                f"train.freeze_layers ({options.first_block}) leaves none of the"
                f" {len(stack.resblocks)} blocks of the {tower} tower to adapt; lower it, or leave"
                " the tower out of train.lora.towers"
            )
        if options.rank > stack.width:
            raise OptionsError(
                f"train.lora.rank ({options.rank}) is larger than the width of the {tower} tower"
                f" ({stack.width}); 4 to 64 are usual"
            )


def adapt(model: RetrievalModel, options: LoraOptions, *, seed: int) -> None:
    """Freeze the towers' own weights, but for the scale of scores, and add adapters.

    Where they begin depends on the seed, the options and the sizes of the towers alone.

    Raises:
        OptionsError: as `check_lora`.
    """
    check_lora(model, options)
    for name, parameter in model.named_parameters():
        if name.startswith("clip.") and name != _SCALE:
            parameter.requires_grad_(False)
    draw = torch.Generator().manual_seed(seed)
    towers = nn.ModuleDict()
    for tower in options.towers:
        blocks = towers[tower] = nn.ModuleDict()
        resblocks = _stack(model, tower).resblocks
        for number in range(options.first_block, len(resblocks)):
            start = f"{_TOWERS[tower]}.resblocks.{number}"
            made = _adapted(resblocks[number], start, options=options, draw=draw)
            blocks[str(number)] = made
    model.add_module("lora", towers)
    model.rate_factors = {**model.rate_factors, _LORA: options.rate_factor}


def _stack(model: RetrievalModel, tower: str) -> Transformer:
    stack = model.get_submodule(_TOWERS[tower])
    if not isinstance(stack, Transformer):
        raise TypeError(f"{_TOWERS[tower]} is a {type(stack).__name__}, no stack of blocks")
    return stack


def _adapted(
    block: nn.Module, start: str, *, options: LoraOptions, draw: torch.Generator
) -> nn.ModuleDict:
    """The adapters of a block whose name is `start`, put in their places."""
    made = nn.ModuleDict()
    for part, module in block.named_modules():
        if not isinstance(module, Adaptable):
            continue
        for target in options.targets:
            if target not in module.matrices:
                continue
            key = module.matrices[target]
            weight, rows = module.get_parameter(key), slice(None)
            if target in _JOINED:
                first, width = _JOINED.index(target), weight.shape[1]
                rows = slice(first * width, (first + 1) * width)
            name = f"{start}.{part}.{key}"
            adapter = _Adapter(name, weight, rows=rows, options=options, draw=draw)
            made[target] = module.adapters[target] = adapter
    return made


@torch.no_grad()
def plain_state(model: RetrievalModel) -> dict[str, Tensor]:
    """The tensors, by name, of the plain model that gives the same; what is adapted is copied."""
    state = {n: x for n, x in model.state_dict().items() if not n.startswith(_LORA)}
    adapters = _adapters(model)
    for key in {adapter.key for adapter in adapters}:
        state[key] = state[key].clone()
    for adapter in adapters:
        state[adapter.key][adapter.rows] += adapter.up @ adapter.down * adapter.scale
    return state


def adapter_state(model: RetrievalModel) -> dict[str, Tensor]:
    """The adapters' own tensors, by name; of a plain model none."""
    return {n: x for n, x in model.state_dict().items() if n.startswith(_LORA)}


def load_adapted(
    model: RetrievalModel, plain: Mapping[str, Tensor], adapters: Mapping[str, Tensor]
) -> None:
    """Set a model to what `plain_state` and `adapter_state` gave of it.

    What is adapted keeps the values it has here: it was never trained.
    """
    own = model.state_dict()
    kept = {adapter.key: own[adapter.key] for adapter in _adapters(model)}
    model.load_state_dict({**plain, **kept, **adapters})


def _adapters(model: RetrievalModel) -> list[_Adapter]:
    return [module for module in model.modules() if isinstance(module, _Adapter)]
