"""Which parameters are trained, decayed, and at which rate: rules by name, as the originals'.

Sources: specs/clip4clip-clip2video.md 3.3 and 3.5, specs/xclip-adaclip.md A2.2, A2.3 and B2.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any

import torch
from torch import nn

__all__ = ["clamp_logit_scale", "freeze", "is_frozen", "parameter_groups"]

Named = Iterable[tuple[str, nn.Parameter]]
_MAX_LOGIT_SCALE = math.log(100)
_ALWAYS_TRAINED = ("ln_final.", "text_projection", "logit_scale", "visual.ln_post.", "visual.proj")
_BLOCKS = ("visual.transformer.resblocks.", "transformer.resblocks.")


def parameter_groups(
    named: Named,
    *,
    learning_rate: float,
    clip_rate_factor: float,
    weight_decay: float,
    rate_factors: Mapping[str, float] = MappingProxyType({}),
) -> list[dict[str, Any]]:
    """Four groups {clip, other} x {decay, no decay}, each with params, names, lr, weight_decay.

    With `rate_factors` two more for each factor, called by the first name that has it.

    "clip" means that ``clip.`` occurs in the name (``transformerClip.`` does not hold it). Frozen
    parameters stay in their group, as in the originals, so that saved positions keep their meaning.

    Args:
        named: (name, parameter) pairs of the model.
        learning_rate: Peak rate outside ``clip.*``.
        clip_rate_factor: Times that for ``clip.*``.
        weight_decay: Of the decayed groups: all parameters but those with ``bias`` in their name,
            as in the originals (CLIP's LayerNorm weights, embeddings and logit_scale decay too).
        rate_factors: How names begin -> times the learning rate for these.
    """
    factors = {"clip": clip_rate_factor, "other": 1.0}
    own = {start: _called(factor, rate_factors) for start, factor in rate_factors.items()}
    factors |= {part: rate_factors[part] for part in own.values()}
    groups: dict[tuple[str, bool], list[tuple[str, nn.Parameter]]] = {}
    for name, parameter in named:
        part = next((part for start, part in own.items() if name.startswith(start)), "")
        key = (part or ("clip" if "clip." in name else "other"), "bias" not in name)
        groups.setdefault(key, []).append((name, parameter))
    return [
        {
            "params": [parameter for _, parameter in groups.get((part, decayed), [])],
            "param_names": [name for name, _ in groups.get((part, decayed), [])],
            "part": part,
            "lr": learning_rate * factors[part],
            "weight_decay": weight_decay if decayed else 0.0,
        }
        for decayed in (True, False)
        for part in factors
    ]


def _called(factor: float, rate_factors: Mapping[str, float]) -> str:
    """The part of a factor: the first name that has it."""
    return next(start for start, other in rate_factors.items() if other == factor)


def is_frozen(name: str, *, freeze_layers: int) -> bool:
    """Whether a parameter is frozen when ``freeze_layers`` CLIP blocks are, from the bottom.

    Args:
        name: Full name; only ``clip.*`` is ever frozen.
        freeze_layers: -1 freezes nothing. n >= 0: position tables, token and class embeddings,
            conv1, ln_pre and blocks below n of both towers. A 3d patch (conv2) is trained; the
            originals test for it wrongly and then freeze nothing at all, as -1 does.
    """
    if freeze_layers < 0 or not name.startswith("clip."):
        return False
    inner = name.removeprefix("clip.")
    if inner.startswith(_ALWAYS_TRAINED) or "conv2." in inner:
        return False
    if inner.startswith(_BLOCKS):
        return int(inner.split("resblocks.")[1].split(".")[0]) < freeze_layers
    return True


def freeze(model: nn.Module, *, freeze_layers: int) -> list[str]:
    """Stop gradients of what `is_frozen` names; returns the frozen names."""
    names = [name for name, _ in model.named_parameters()]
    frozen = [name for name in names if is_frozen(name, freeze_layers=freeze_layers)]
    for name in frozen:
        model.get_parameter(name).requires_grad_(False)
    return frozen


@torch.no_grad()
def clamp_logit_scale(model: nn.Module) -> None:
    """Hold CLIP's logit scale at ln 100 or below; the originals do so after each step."""
    for name, parameter in model.named_parameters():
        if name.endswith("logit_scale"):
            parameter.clamp_(max=_MAX_LOGIT_SCALE)
