"""Read a checkpoint's small files out of the tensor storage.weights.pretrained packs them into.

Packed are a line of JSON {name: bytes}, then the contents in the order of the names.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from reelvec.models.errors import WeightsError

__all__ = ["OPEN_CLIP_CONFIG", "is_open_clip", "json_file", "unpacked"]

OPEN_CLIP_CONFIG = "open_clip_config.json"
"""The one small file of a checkpoint in OpenCLIP's layout; no other layout has it packed."""


def unpacked(files: Tensor) -> dict[str, bytes]:
    """Contents by name of packed files (uint8).

    Raises:
        WeightsError: they are not packed as storage.weights.pretrained does it.
    """
    data = files.numpy().tobytes()
    head, _, body = data.partition(b"\n")
    try:
        sizes = json.loads(head)
        listed = sorted((str(name), int(size)) for name, size in sizes.items())
    except (ValueError, TypeError, AttributeError, RecursionError):
        raise WeightsError("the tensor `files` holds no packed files; it is damaged") from None
    contents, at = {}, 0
    for name, size in listed:
        contents[Path(name).name] = body[at : at + size]
        at += size
    return contents


def is_open_clip(files: Tensor) -> bool:
    """Whether packed files are of OpenCLIP's layout, and not of transformers'."""
    return OPEN_CLIP_CONFIG in unpacked(files)


def json_file(files: Mapping[str, bytes], name: str, *, remedy: str) -> dict[str, Any]:
    """A JSON object among unpacked files.

    Args:
        files: contents by name.
        name: the file that is wanted.
        remedy: what a person does where it is not there.

    Raises:
        WeightsError: no such file, or no JSON object in it.
    """
    if name not in files:
        raise WeightsError(
            f"the checkpoint has no {name} (files beside its tensors:"
            f" {', '.join(sorted(files)) or 'none'}); {remedy}"
        )
    try:
        document = json.loads(files[name])
    except (ValueError, RecursionError) as error:
        raise WeightsError(f"the checkpoint's {name} is no JSON ({error}); {remedy}") from None
    if not isinstance(document, dict):
        raise WeightsError(f"the checkpoint's {name} is no JSON object; {remedy}")
    return document
