"""Optimizers as the originals use them, and AdamW, all with their schedule inside.

Sources: specs/clip4clip-clip2video.md 3.3 and 3.5, specs/xclip-adaclip.md A2.2, A2.3 and B2,
specs/more-heads.md 2.4.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

from reelvec.models.training.foreach import limit_each, scale
from reelvec.models.training.parameters import parameter_groups
from reelvec.models.training.schedules import multiplier

__all__ = [
    "AdamW",
    "BertAdam",
    "OptimizerOptions",
    "build_optimizer",
    "rates",
]

_AT_ONCE, _AT_ONCE_ON_CPU = 1 << 25, 1 << 17
"""Numbers of parameters moved by one call of an operation (a tensor is never cut): few calls on a
GPU, what a cache holds on a CPU."""


@dataclass(frozen=True, slots=True)
class OptimizerOptions:
    """How parameters are moved.

    Attributes:
        name: bert_adam (no bias correction, as most originals), adamw, or transformers_adamw
            (X-Pool's).
        learning_rate: Peak rate of parameters outside ``clip.*``.
        clip_rate_factor: The rate of ``clip.*`` is the learning rate times this.
        weight_decay: Decoupled decay, scaled by the rate, of all but names with ``bias``, as the
            originals (CLIP's LayerNorm weights, embeddings and logit_scale *are* decayed);
            transformers_adamw decays those too.
        schedule, warmup, total_steps: See `models.training.schedules.multiplier`.
        betas, eps: Of the moments; eps stands outside the root.
        max_grad_norm: bert_adam's limit per parameter, after the loop's global limit; -1: none.
    """

    name: Literal["bert_adam", "adamw", "transformers_adamw"] = "bert_adam"
    learning_rate: float = 1e-4
    clip_rate_factor: float = 1e-3
    weight_decay: float = 0.2
    schedule: str = "warmup_cosine"
    warmup: float = 0.1
    total_steps: float = -1
    betas: tuple[float, float] = (0.9, 0.98)
    eps: float = 1e-6
    max_grad_norm: float = 1.0


class BertAdam(torch.optim.Optimizer):
    """Adam without bias correction, epsilon outside the root, decoupled decay.

    m = b1 m + (1-b1) g;  v = b2 v + (1-b2) g^2;  p -= rate * (m / (sqrt(v) + e) + decay * p).
    Many parameters are moved by one operation (foreach), on a CPU to the bits of one by one.
    Moments have the parameter's dtype (fp16 for fp16 weights, as the originals train). Parameters
    without a gradient are left alone entirely. State: ``step``, ``next_m``, ``next_v`` (tensors),
    under the names of the original checkpoints, whose integer ``step`` is accepted on loading.

    Args:
        params: Parameters or groups; a group may set its own ``lr`` and ``weight_decay``.
        options: The rest; its learning_rate is the default ``lr``.
    """

    def __init__(self, params: Any, *, options: OptimizerOptions) -> None:
        _check(options)
        super().__init__(
            params,
            {
                "lr": options.learning_rate,
                "schedule": options.schedule,
                "warmup": options.warmup,
                "t_total": options.total_steps,
                "b1": options.betas[0],
                "b2": options.betas[1],
                "e": options.eps,
                "weight_decay": options.weight_decay,
                "max_grad_norm": options.max_grad_norm,
            },
        )

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """Move every parameter that has a gradient.

        Raises:
            RuntimeError: A sparse gradient.
        """
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            for step, parameters in self._alike(group):
                self._move(parameters, group, rate=_rate(group, step))
        return loss

    def _alike(self, group: Mapping[str, Any]) -> Iterator[tuple[int, list[Tensor]]]:
        """Parameters with a gradient that are moved at once, and their steps so far.

        They have one type and place, and together about _AT_ONCE numbers.
        """
        sets: dict[tuple[int, torch.dtype, torch.device], list[Tensor]] = {}
        sizes: dict[tuple[int, torch.dtype, torch.device], int] = {}
        for parameter in group["params"]:
            if parameter.grad is None:
                continue
            if parameter.grad.is_sparse:
                raise RuntimeError("BertAdam has no sparse form; use dense embeddings")
            state = self.state[parameter]
            if not state:
                state["step"] = torch.zeros((), dtype=torch.int64)
                state["next_m"] = torch.zeros_like(parameter)
                state["next_v"] = torch.zeros_like(parameter)
            key = (int(state["step"]), parameter.dtype, parameter.device)
            sets.setdefault(key, []).append(parameter)
            sizes[key] = sizes.get(key, 0) + parameter.numel()
            if sizes[key] >= (_AT_ONCE_ON_CPU if parameter.device.type == "cpu" else _AT_ONCE):
                del sizes[key]
                yield key[0], sets.pop(key)
        for (step, _, _), held in sets.items():
            yield step, held

    def _move(self, parameters: list[Tensor], group: Mapping[str, Any], *, rate: float) -> None:
        if group["max_grad_norm"] > 0:
            gradients = [p.grad for p in parameters if p.grad is not None]
            limit_each(gradients, norm=group["max_grad_norm"])
        updates = self._updates(parameters, group)
        if group["weight_decay"] > 0:
            torch._foreach_add_(updates, torch._foreach_mul(parameters, group["weight_decay"]))
        scale(updates, rate)
        torch._foreach_sub_(parameters, updates)

    def _updates(self, parameters: list[Tensor], group: Mapping[str, Any]) -> Any:
        """Moments one step on, and m / (sqrt(v) + e) of each parameter."""
        gradients = [p.grad for p in parameters if p.grad is not None]
        states = [self.state[p] for p in parameters]
        m, v = [s["next_m"] for s in states], [s["next_v"] for s in states]
        scale(m, group["b1"])
        torch._foreach_add_(m, gradients, alpha=1 - group["b1"])
        scale(v, group["b2"])
        torch._foreach_addcmul_(v, gradients, gradients, value=1 - group["b2"])
        roots = torch._foreach_sqrt(v)
        torch._foreach_add_(roots, group["e"])
        for state in states:
            state["step"] += 1
        return torch._foreach_div(m, roots)


class TransformersAdamW(BertAdam):
    """AdamW as transformers had it: bias-corrected, epsilon outside the root, decay at the end.

    p -= rate * sqrt(1 - b2^n) / (1 - b1^n) * m / (sqrt(v) + e), then p -= rate * decay * p.
    State and options as BertAdam's; there is no limit per parameter.
    """

    def _move(self, parameters: list[Tensor], group: Mapping[str, Any], *, rate: float) -> None:
        updates = self._updates(parameters, group)
        taken = int(self.state[parameters[0]]["step"])
        corrected = (1 - group["b2"] ** taken) ** 0.5 / (1 - group["b1"] ** taken)
        scale(updates, rate * corrected)
        torch._foreach_sub_(parameters, updates)
        scale(parameters, 1 - rate * group["weight_decay"])


class AdamW(torch.optim.AdamW):
    """torch's fused AdamW with a schedule of its own: both optimizers are driven alike."""

    def __init__(self, params: Any, *, options: OptimizerOptions) -> None:
        _check(options)
        super().__init__(
            params,
            lr=options.learning_rate,
            betas=options.betas,
            eps=options.eps,
            weight_decay=options.weight_decay,
            fused=True,
        )
        for group in self.param_groups:
            group["peak_lr"] = group["lr"]
            group["schedule"] = options.schedule
            group["warmup"] = options.warmup
            group["t_total"] = options.total_steps
            group["updates"] = 0

    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """Move every parameter that has a gradient, at the scheduled rate."""
        for group in self.param_groups:
            group["lr"] = _rate({**group, "lr": group["peak_lr"]}, group["updates"])
            group["updates"] += 1
        return super().step(closure)  # type: ignore[no-any-return,unused-ignore]


def build_optimizer(model: nn.Module, *, options: OptimizerOptions) -> BertAdam | AdamW:
    """The optimizer of a model, with its parameter groups."""
    groups = parameter_groups(
        model.named_parameters(),
        learning_rate=options.learning_rate,
        clip_rate_factor=options.clip_rate_factor,
        weight_decay=options.weight_decay,
        rate_factors=getattr(model, "rate_factors", {}),
    )
    if options.name == "bert_adam":
        return BertAdam(groups, options=options)
    if options.name == "adamw":
        return AdamW(groups, options=options)
    if options.name == "transformers_adamw":
        decayed = [group | {"weight_decay": options.weight_decay} for group in groups]
        return TransformersAdamW(decayed, options=options)
    raise ValueError(
        f"optimizer={options.name!r} is unknown; use bert_adam, adamw or transformers_adamw"
    )


def rates(optimizer: torch.optim.Optimizer) -> dict[str, float]:
    """The rate of the *next* step for each part: ``{"clip": …, "other": …}`` (empty parts out).

    A part of other rates (`rate_factors`) is called by how its first name begins.
    """
    next_rates: dict[str, float] = {}
    for group in optimizer.param_groups:
        if not group["params"]:
            continue
        if "updates" in group:
            peak, taken = group["peak_lr"], group["updates"]
        else:
            steps = [
                int(optimizer.state[p]["step"]) for p in group["params"] if p in optimizer.state
            ]
            peak, taken = group["lr"], max(steps, default=0)
        next_rates[group.get("part", "other")] = _rate({**group, "lr": peak}, taken)
    return next_rates


def _rate(group: Mapping[str, Any], step: int) -> float:
    factor = multiplier(
        group["schedule"], step=step, total_steps=group["t_total"], warmup=group["warmup"]
    )
    return float(group["lr"] * factor)


def _check(options: OptimizerOptions) -> None:
    multiplier(options.schedule, step=0, total_steps=options.total_steps, warmup=options.warmup)
    if options.learning_rate <= 0 or options.eps < 0 or options.weight_decay < 0:
        raise ValueError(
            f"learning_rate={options.learning_rate}, eps={options.eps}, weight_decay="
            f"{options.weight_decay}: the rate must be above 0, the others 0 or more"
        )
    if not all(0 <= beta < 1 for beta in options.betas):
        raise ValueError(f"betas={options.betas}: each must lie in 0 <= beta < 1")
