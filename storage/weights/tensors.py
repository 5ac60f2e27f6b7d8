"""Safetensors: a header that says where each tensor lies, checked before anything is made of it."""

from __future__ import annotations

import struct
from pathlib import Path

import torch
from safetensors import safe_open

from reelvec.storage.errors import WeightsError
from reelvec.storage.weights.checks import MAX_TENSORS

__all__ = ["is_safetensors", "read_safetensors"]

_MAX_HEADER = 32 << 20
"""Bytes; the format allows 100 MB, which name millions of tensors. A thousand take 100 kB."""
_SPARSE = 1 << 30, 16
"""Files of holes: from this many bytes on, at least a 16th must be on the disk."""
_HEAD = struct.Struct("<Q")


def is_safetensors(path: Path) -> bool:
    """Whether a file begins as the format does: a little-endian length, then JSON."""
    with path.open("rb") as stream:
        head = stream.read(_HEAD.size + 1)
    return head[_HEAD.size :] == b"{"


def read_safetensors(path: Path) -> tuple[dict[str, torch.Tensor], dict[str, str]]:
    """Tensors by name (CPU), and the header's metadata.

    Raises:
        WeightsError: missing, cut, or with a header that lies.
    """
    try:
        _check_size(path)
        with safe_open(path, framework="pt", device="cpu") as file:
            names = list(file.keys())
            if len(names) > MAX_TENSORS:
                raise WeightsError(
                    f"{path} names {len(names):,} tensors; {MAX_TENSORS:,} are the most",
                    path=str(path),
                )
            return {name: file.get_tensor(name) for name in names}, file.metadata() or {}
    except WeightsError:
        raise
    except Exception as error:  # hostile headers may raise anything here
        cut = "its length is not what its header says: a download that did not end, or damage"
        why = cut if "not fully covered" in str(error) else "it is damaged or missing"
        raise WeightsError(
            f"{path} cannot be read as safetensors ({error}); {why}",
            path=str(path),
        ) from error


def _check_size(path: Path) -> None:
    """Refuses a header that is longer than the file or than any model's, and a file of holes."""
    status = path.stat()
    with path.open("rb") as stream:
        (length,) = _HEAD.unpack(stream.read(_HEAD.size))
    if length > status.st_size - _HEAD.size:
        raise WeightsError(
            f"{path} is cut: its header alone takes {length:,} bytes, and {status.st_size:,} are"
            " there; download it again",
            path=str(path),
        )
    if length > _MAX_HEADER:
        raise WeightsError(
            f"{path} has a header of {length:,} bytes; {_MAX_HEADER:,} are the most",
            path=str(path),
        )
    large, share = _SPARSE
    if status.st_size >= large and status.st_blocks * 512 < status.st_size // share:
        raise WeightsError(
            f"{path} says it takes {status.st_size:,} bytes, and {status.st_blocks * 512:,} are on"
            " the disk: a download that did not end, or no weights at all",
            path=str(path),
        )
