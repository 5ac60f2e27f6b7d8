"""What every file's tensors must be before anything is done with them: named, bounded, finite."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch

from reelvec.storage.errors import WeightsError

__all__ = ["MAX_TENSORS", "check_finite", "check_tensors"]

MAX_TENSORS = 100_000
"""Of one file; the largest models we read have a thousand."""
UNFOLDED = 2, 64 << 20
"""Tensors that share bytes take them once in a file and once each in memory: together at most twice
the file and 64 MiB."""
_MAX_NAME = 1_000
_MAX_AXES = 16
_KINDS = frozenset(
    {
        *(torch.float64, torch.float32, torch.float16, torch.bfloat16),
        *(torch.float8_e4m3fn, torch.float8_e5m2),
        *(torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8, torch.bool),
    }
)
_SHOWN = 3
_BOUNDS = {
    f"{of}_{end}": float(limit)
    for of in ("input", "output")
    for end, limit in (("min", "-inf"), ("max", "inf"))
}
"""Of what a layer takes and gives, where a model cuts that; infinite ones cut nothing."""


def check_tensors(tensors: Mapping[str, torch.Tensor], *, path: Path) -> None:
    """Refuses names and shapes that would cost more than the file they stand in.

    Raises:
        WeightsError: too many tensors, a name that cannot be printed, a type that no model here
            has, or tensors that unfold to more than `UNFOLDED`.
    """
    if len(tensors) > MAX_TENSORS:
        raise WeightsError(
            f"{path} names {len(tensors):,} tensors; {MAX_TENSORS:,} are the most", path=str(path)
        )
    for name, tensor in tensors.items():
        if len(name) > _MAX_NAME or not name.isprintable():
            raise WeightsError(
                f"{path} has a tensor whose name cannot be printed, or is longer than"
                f" {_MAX_NAME} characters: {name[:40]!a}",
                path=str(path),
            )
        if tensor.ndim > _MAX_AXES:
            raise WeightsError(f"{path}: {name} has {tensor.ndim:,} axes", path=str(path))
        if tensor.dtype not in _KINDS:
            raise WeightsError(
                f"{path}: {name} is of type {tensor.dtype}, which no model here reads; save it as"
                " float32, float16 or bfloat16",
                path=str(path),
            )
    times, more = UNFOLDED
    held, most = sum(t.nbytes for t in tensors.values()), times * path.stat().st_size + more
    if held > most:
        raise WeightsError(
            f"{path} holds {path.stat().st_size:,} bytes, but its tensors would take {held:,}:"
            " they show the same numbers again and again; save them as contiguous tensors",
            path=str(path),
        )


def _unfinished(tensors: Mapping[str, torch.Tensor]) -> dict[str, int]:
    """Names of tensors that hold a NaN or an infinity, with how many.

    One pass at the speed of memory: what is finite has a finite smallest and largest number.
    """
    found = {}
    for name, tensor in tensors.items():
        counts = tensor.is_floating_point() and tensor.numel() and not _is_open_bound(name, tensor)
        if counts and not _is_finite(tensor):
            found[name] = int((~torch.isfinite(tensor.float())).sum())
    return found


def _is_open_bound(name: str, tensor: torch.Tensor) -> bool:
    """Whether it is one infinity that says that nothing is cut: Gemma's layers hold such bounds."""
    limit = _BOUNDS.get(name.rpartition(".")[2])
    return limit is not None and tensor.numel() == 1 and float(tensor) == limit


def check_finite(tensors: Mapping[str, torch.Tensor], *, source: str) -> None:
    """Refuses weights that hold a NaN or an infinity.

    Args:
        tensors: by name.
        source: the file, for the message.

    Raises:
        WeightsError: names the tensors.
    """
    found = _unfinished(tensors)
    if found:
        named = ", ".join(f"{name} ({count:,})" for name, count in list(found.items())[:_SHOWN])
        more = f" and {len(found) - _SHOWN} more" if len(found) > _SHOWN else ""
        raise WeightsError(
            f"({source}) holds numbers that are NaN or infinite, in {named}{more}; every vector"
            " made with them would be none: take an earlier checkpoint, from before the training"
            " diverged",
            path=source,
        )


def _is_finite(tensor: torch.Tensor) -> bool:
    smallest, largest = torch.aminmax(tensor if tensor.itemsize > 1 else tensor.float())
    return bool(torch.isfinite(smallest) and torch.isfinite(largest))
