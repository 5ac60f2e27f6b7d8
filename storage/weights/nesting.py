"""The state dict in what a file holds: nested under some name, behind wrappers, beside others."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from reelvec.storage.weights.checks import MAX_TENSORS
from reelvec.storage.weights.pickles import Holder, PickleError

__all__ = ["is_nested", "plain", "state_in", "unwrapped"]

_USUAL = ("state_dict", "model_state_dict", "model")
"""Names a state dict is nested under; the first of them that holds one is taken."""
_TRAINER = ("optim", "sched", "scaler", "loss")
"""In names of what a trainer keeps beside the weights."""
_WRAPPERS = frozenset(
    {"_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module", "_forward_module"}
)
"""Modules that PyTorch puts around others, at any depth; no model has modules called so."""
_EVERYWHERE = "module."
"""Before all names of a model in (Distributed)DataParallel or an averaged one."""
_AVERAGED = "n_averaged"
"""A number beside the names of torch.optim.swa_utils.AveragedModel."""
_MAX_DEPTH = 64
_MAX_FACTS = 10_000


def state_in(content: Any) -> dict[str, torch.Tensor]:
    """Tensors by dotted name out of a state dict, a checkpoint that holds one, or a module.

    Of several dicts of tensors the one under a usual name counts.

    Raises:
        PickleError: several, none of them under a usual name; or modules that have no end.
    """
    return _found(content, set(), depth=0)


def is_nested(content: Mapping[Any, Any]) -> bool:
    """Whether the state dict is a value of the dict that is in the file."""
    usual = any(isinstance(content.get(name), dict) for name in _USUAL)
    return not isinstance(content, Holder) and (usual or not _own(content))


def unwrapped(state: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """`state` without what wrappers put into its names."""
    named = {
        ".".join(part for part in name.split(".") if part not in _WRAPPERS): tensor
        for name, tensor in state.items()
    }
    inner = {name: tensor for name, tensor in named.items() if name != _AVERAGED}
    while inner and all(name.startswith(_EVERYWHERE) for name in inner):
        named = inner = {name.removeprefix(_EVERYWHERE): inner[name] for name in inner}
    return named if len(named) >= len(state) - 1 else dict(state)


def plain(value: Any) -> Any:
    """Plain data out of what a pickle gave: what is none becomes its type's name."""
    return _plain(value, [_MAX_FACTS], depth=0)


def _plain(value: Any, left: list[int], *, depth: int) -> Any:
    left[0] -= 1
    if left[0] < 0 or depth > _MAX_DEPTH:
        return "…"
    if isinstance(value, dict):
        return {str(key): _plain(item, left, depth=depth + 1) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item, left, depth=depth + 1) for item in value]
    if isinstance(value, str | int | float | bool | None):
        return value
    return f"<{type(value).__name__}>"


def _own(content: Mapping[Any, Any]) -> dict[str, torch.Tensor]:
    """Tensors among the values of a dict."""
    return {str(name): value for name, value in content.items() if isinstance(value, torch.Tensor)}


def _found(content: Any, seen: set[int], *, depth: int) -> dict[str, torch.Tensor]:
    """`state_in`; what was `seen` (by its id) is not looked into again."""
    if not isinstance(content, dict) or id(content) in seen or depth > _MAX_DEPTH:
        return {}
    seen.add(id(content))
    for name in _USUAL:
        if state := _found(content.get(name), seen, depth=depth + 1):
            return state
    if isinstance(content, Holder):
        return _of_module(content)
    if own := _own(content):
        return own
    others = {
        str(name): state
        for name, value in content.items()
        if not any(word in str(name).lower() for word in _TRAINER)
        and (state := _found(value, seen, depth=depth + 1))
    }
    if len(others) > 1:
        raise PickleError(
            f"it holds {len(others)} state dicts ({', '.join(sorted(others)[:6])}); save the one"
            " that is meant alone"
        )
    return next(iter(others.values()), {})


def _of_module(module: Holder) -> dict[str, torch.Tensor]:
    """Tensors of a module and its submodules, by dotted name."""
    state: dict[str, torch.Tensor] = {}
    seen = 0

    def collect(module: Holder, prefix: str, depth: int) -> None:
        nonlocal seen
        seen += 1
        if seen > MAX_TENSORS or depth > _MAX_DEPTH:
            raise PickleError("its modules hold each other without end")
        for name, value in module.items():
            if isinstance(value, torch.Tensor):
                state[f"{prefix}{name}"] = value
            elif isinstance(value, Holder):
                collect(value, f"{prefix}{name}.", depth + 1)

    collect(module, "", 0)
    return state
