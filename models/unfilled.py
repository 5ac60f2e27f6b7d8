"""Models that are built for their shapes alone, or for numbers that a file brings.

For its shapes nothing is drawn, filled or copied. On its meta device torch works out the shape of
each filling in Python, whose first call imports `torch._dynamo`: two CPU seconds of a command, and
one more at its end. For a file's numbers no random ones are drawn: of a ViT-B/32 they take a second
and touch all its memory, to be overwritten.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Set
from contextlib import contextmanager
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.nn import init
from torch.overrides import TorchFunctionMode

__all__ = ["undrawn", "unfilled"]

_DRAWINGS = {
    *(init.normal_, init.uniform_, init.trunc_normal_, init.kaiming_uniform_),
    *(init.kaiming_normal_, init.xavier_uniform_, init.xavier_normal_),
}
"""What draws a tensor whole. `Tensor.normal_` and `uniform_` are none of these: bounded draws, as
those of `transformers`, call them until all numbers fit, and would do so for ever."""
_FILLINGS = {
    *_DRAWINGS,
    *(Tensor.normal_, Tensor.uniform_),
    *(Tensor.zero_, Tensor.fill_, Tensor.copy_, Tensor.mul_),
    *(init.constant_, init.zeros_, init.ones_, init.eye_),
}
"""In place: they change numbers, and no shape."""
_DRAWN_FULL = {torch.randn, torch.rand}
_MADE_FULL = {*_DRAWN_FULL, torch.zeros, torch.ones}
_BY_A_NUMBER = {Tensor.mul, Tensor.__mul__, Tensor.__rmul__, Tensor.div, Tensor.__truediv__}


class _Undrawn(TorchFunctionMode):
    """Leaves out what draws random numbers; whatever else there is torch does as ever."""

    in_place: ClassVar[Set[Any]] = _DRAWINGS
    made_full: ClassVar[Set[Any]] = _DRAWN_FULL

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        del types
        named = dict(kwargs or {})
        if func in self.in_place:
            return args[0] if args else named["tensor"]
        if func in self.made_full:
            named.pop("generator", None)
            return torch.empty(*args, **named)
        return func(*args, **named)


class _Unfilled(_Undrawn):
    """Leaves out all that changes numbers alone."""

    in_place = _FILLINGS
    made_full = _MADE_FULL

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        named = dict(kwargs or {})
        if func in _BY_A_NUMBER and all(isinstance(x, int | float) for x in args[1:]):
            return args[0]
        if func is torch.eye:  # of one side, or two; `init.eye_` fills what is there
            return named["out"] if "out" in named else torch.empty(args[0], args[-1], **named)
        return super().__torch_function__(func, types, args, named)


@contextmanager
def unfilled() -> Iterator[None]:
    """Modules that are built in the block lie on the meta device and are sooner there."""
    with torch.device("meta"), _Unfilled():
        yield


@contextmanager
def undrawn() -> Iterator[None]:
    """Modules that are built in the block hold any numbers where others hold random ones.

    For who loads all of them strictly. Torch's generator is left as it was, so that a training,
    which goes on drawing from it, is none of those.
    """
    before = torch.get_rng_state()
    try:
        with _Undrawn():
            yield
    finally:
        torch.set_rng_state(before)
