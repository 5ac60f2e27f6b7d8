"""Running statistics of batch norm, moved once a step, however a batch is cut.

A layer in training normalises with the statistics of the rows it is given, and moves its running
ones. A step encodes a batch in parts, and each part twice: the running statistics would move that
often. Here they move once, by mean and variance of all rows of the first pass.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

__all__ = ["BatchStatistics", "moved_once"]


class _Layer:
    """One batch norm during a step."""

    def __init__(self, norm: _BatchNorm, mean: Tensor, variance: Tensor, count: Tensor) -> None:
        self.norm, self.momentum = norm, norm.momentum
        self.running = (mean, variance, count)
        self.before = tuple(tensor.clone() for tensor in self.running)
        self.seen: list[tuple[int, Tensor, Tensor]] = []
        norm.momentum = 1.0  # the running statistics are then those of the rows just seen
        self.hook = norm.register_forward_hook(self._see)

    def _see(self, _: nn.Module, given: tuple[Tensor, ...], __: Any) -> None:
        mean, variance, _count = self.running
        numbers = given[0].numel() // given[0].shape[1]  # of a channel
        self.seen.append((numbers, mean.clone(), variance.clone()))

    def settle(self) -> None:
        """Move the running statistics from where they were, by all that was seen."""
        self.hook.remove()
        self.norm.momentum = self.momentum
        mean, variance, count = self.running
        for tensor, old in zip(self.running, self.before, strict=True):
            tensor.copy_(old)
        if not self.seen:
            return
        count += 1
        share = 1.0 / float(count) if self.momentum is None else self.momentum
        new_mean, new_variance = _pooled(self.seen)
        mean.mul_(1 - share).add_(new_mean, alpha=share)
        variance.mul_(1 - share).add_(new_variance, alpha=share)


class BatchStatistics:
    """The layers of a model whose running statistics move in training."""

    def __init__(self, model: nn.Module) -> None:
        self._layers = []
        for norm in model.modules():
            if not isinstance(norm, _BatchNorm) or not norm.training:
                continue
            running = norm.running_mean, norm.running_var, norm.num_batches_tracked
            if all(tensor is not None for tensor in running):
                self._layers.append(_Layer(norm, *running))  # type: ignore[arg-type]

    def close_pass(self) -> None:
        """What is encoded from here on was encoded before."""
        for layer in self._layers:
            layer.hook.remove()

    def settle(self) -> None:
        """Move the running statistics once."""
        for layer in self._layers:
            layer.settle()

    @property
    def tensors(self) -> Iterable[Tensor]:
        """The running statistics."""
        return [tensor for layer in self._layers for tensor in layer.running]


@contextmanager
def moved_once(model: nn.Module) -> Iterator[BatchStatistics]:
    """A step of `model`: its running statistics move once, when the block ends."""
    statistics = BatchStatistics(model)
    try:
        yield statistics
    finally:
        with torch.no_grad():
            statistics.settle()


def _pooled(seen: list[tuple[int, Tensor, Tensor]]) -> tuple[Tensor, Tensor]:
    """Mean and unbiased variance of several sets of numbers, from theirs."""
    counts = [numbers for numbers, _, _ in seen]
    means = torch.stack([mean for _, mean, _ in seen])
    variances = torch.stack([variance for _, _, variance in seen])
    numbers = torch.tensor(counts, dtype=means.dtype, device=means.device)[:, None]
    mean = (numbers * means).sum(0) / sum(counts)
    squares = ((numbers - 1) * variances + numbers * (means - mean) ** 2).sum(0)
    return mean, squares / max(sum(counts) - 1, 1)
