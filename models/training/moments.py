"""What an optimizer remembers, as tensors and plain numbers, and back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

__all__ = ["export_optimizer", "import_optimizer"]


def export_optimizer(optimizer: torch.optim.Optimizer) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """State as tensors named ``{parameter}/{slot}``, and the plain numbers of the groups (JSON)."""
    tensors: dict[str, Tensor] = {}
    for group in optimizer.param_groups:
        for name, parameter in zip(group["param_names"], group["params"], strict=True):
            for slot, value in optimizer.state.get(parameter, {}).items():
                tensors[f"{name}/{slot}"] = torch.as_tensor(value).detach()
    groups = [
        {key: value for key, value in group.items() if key not in {"params", "param_names"}}
        for group in optimizer.param_groups
    ]
    return tensors, {"groups": groups}


def import_optimizer(
    optimizer: torch.optim.Optimizer, tensors: Mapping[str, Tensor], numbers: Mapping[str, Any]
) -> None:
    """Restore what `export_optimizer` gave, by parameter name.

    Raises:
        ValueError: State of a parameter the optimizer lacks, or another number of groups.
    """
    if len(numbers["groups"]) != len(optimizer.param_groups):
        raise ValueError(
            f"{len(numbers['groups'])} saved groups, {len(optimizer.param_groups)} here: the "
            "checkpoint belongs to another optimizer; start it anew or keep its options"
        )
    slots: dict[str, dict[str, Tensor]] = {}
    for key, value in tensors.items():
        name, slot = key.rsplit("/", 1)
        slots.setdefault(name, {})[slot] = value
    for group, saved in zip(optimizer.param_groups, numbers["groups"], strict=True):
        group.update({k: tuple(v) if isinstance(v, list) else v for k, v in saved.items()})
        for name, parameter in zip(group["param_names"], group["params"], strict=True):
            for slot, value in slots.pop(name, {}).items():
                counts = slot == "step" and not group.get("fused")
                place = "cpu" if counts else parameter.device
                optimizer.state[parameter][slot] = value.detach().clone().to(place)
    if slots:
        raise ValueError(
            f"state of unknown parameters, e.g. {sorted(slots)[:3]}: it is another model's"
        )
