"""Input of the wrong shape, said with the shape that is taken."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from reelvec.models.errors import InputError

__all__ = ["check_shape"]


def check_shape(name: str, x: Tensor, wanted: Sequence[int | str], *, remedy: str = "") -> None:
    """Raise InputError unless `x` has the shape `wanted`, in which a letter is any number."""
    fits = x.ndim == len(wanted) and all(
        isinstance(number, str) or number == found
        for number, found in zip(wanted, x.shape, strict=True)
    )
    if not fits:
        raise InputError(
            f"{name} of shape {tuple(x.shape)}: this model takes "
            f"[{', '.join(map(str, wanted))}]{remedy}"
        )
