"""Which parameters are trained, decayed, and at which rate: rules by name, as the originals'.

Sources: specs/clip4clip-clip2video.md 3.3 and 3.5, specs/xclip-adaclip.md A2.2, A2.3 and B2.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any, Literal

import torch
from torch import nn

__all__ = ["clamp_logit_scale", "freeze", "is_frozen", "parameter_groups"]

Decay = Literal["by_name", "matrices"]
Order = Literal["clip4clip", "adaclip"]
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
    decay: Decay = "by_name",
    order: Order = "clip4clip",
) -> list[dict[str, Any]]:
    """Four groups {clip, other} x {decay, no decay}, each with params, names, lr, weight_decay.

    "clip" means that ``clip.`` occurs in the name (``transformerClip.`` does not hold it). Frozen
    parameters stay in their group, as in the originals, so that saved positions keep their meaning.

    Args:
        named: (name, parameter) pairs of the model.
        learning_rate: Peak rate outside ``clip.*``.
        clip_rate_factor: Times that for ``clip.*``.
        weight_decay: Of the decayed groups.
        decay: Which parameters decay: all but those with ``bias`` in their name (by_name, as the
            originals: CLIP's LayerNorm weights, embeddings and logit_scale decay), or those of two
            axes or more that are no embeddings (matrices).
        order: Order of the groups in a saved optimizer.
    """
    found: dict[tuple[bool, bool], list[tuple[str, nn.Parameter]]] = {}
    for name, parameter in named:
        key = ("clip." in name, _is_decayed(name, parameter, decay))
        found.setdefault(key, []).append((name, parameter))
    kinds = [(True, True), (False, True), (True, False), (False, False)]
    if order == "adaclip":
        kinds = [(True, True), (True, False), (False, True), (False, False)]
    return [
        {
            "params": [parameter for _, parameter in found.get((clip, decayed), [])],
            "param_names": [name for name, _ in found.get((clip, decayed), [])],
            "part": "clip" if clip else "other",
            "lr": learning_rate * (clip_rate_factor if clip else 1.0),
            "weight_decay": weight_decay if decayed else 0.0,
        }
        for clip, decayed in kinds
    ]


def is_frozen(name: str, *, freeze_layers: int) -> bool:
    """Whether a parameter is frozen when ``freeze_layers`` CLIP blocks are, from the bottom.

    Args:
        name: Full name; only ``clip.*`` is ever frozen.
        freeze_layers: -1 freezes nothing. n >= 0: position tables, token and class embeddings,
            conv1, ln_pre and blocks below n of both towers. A 3d patch (conv2) is trained; the
            originals test for it wrongly and then freeze nothing at all.
    """
    if freeze_layers < 0 or not name.startswith("clip."):
        return False
    inner = name.removeprefix("clip.")
    if inner.startswith(_ALWAYS_TRAINED) or "conv2." in inner:
        return False
    if inner.startswith(_BLOCKS):
        return int(inner.split("resblocks.")[1].split(".")[0]) < freeze_layers
    return True


def freeze(model: nn.Module, *, freeze_layers: int, legacy_3d: bool = False) -> list[str]:
    """Stop gradients of what `is_frozen` names; returns the frozen names.

    With ``legacy_3d`` a model that has a 3d patch is left wholly trainable, as in the originals.
    """
    names = [name for name, _ in model.named_parameters()]
    if legacy_3d and any("conv2." in name for name in names):
        return []
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


def _is_decayed(name: str, parameter: nn.Parameter, rule: str) -> bool:
    if rule == "by_name":
        return "bias" not in name
    return parameter.ndim >= 2 and "embedding" not in name
