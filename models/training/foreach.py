"""One operation on many tensors, with the bits of one tensor after the other on a CPU."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["limit_each", "scale"]

Tensors = tuple[Tensor, ...] | list[Tensor]


def limit_each(gradients: Tensors, *, norm: float) -> None:
    """Scale down each gradient that is longer than `norm`, as `clip_grad_norm_` does with one."""
    shares = torch._foreach_norm(gradients)
    torch._foreach_add_(shares, 1e-6)
    torch._foreach_reciprocal_(shares)
    torch._foreach_mul_(shares, norm)
    torch._foreach_clamp_max_(shares, 1.0)
    torch._foreach_mul_(gradients, shares)


def scale(tensors: Tensors, factor: float) -> None:
    """Multiply in place; in half precision one by one, since foreach rounds otherwise there."""
    if tensors[0].dtype not in (torch.float16, torch.bfloat16):
        torch._foreach_mul_(tensors, factor)
        return
    for tensor in tensors:
        tensor.mul_(factor)
