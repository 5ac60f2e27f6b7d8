"""Weights files of every kind, opened and looked into once a process.

A run asks what model a file is of, whether it fits, what its hash is, and starts from it. Tensors
that show the file itself take no memory, so they stay at hand until the start is committed; what is
small (hash and shapes) stays for longer. A file whose mark has changed is opened anew.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import TypeVar

from torch import Tensor

from reelvec.models.conversion.names import our_names
from reelvec.models.errors import ModelError
from reelvec.models.frozen.kinds import own_input_of
from reelvec.storage.errors import WeightsError
from reelvec.storage.file_marks import FileMark
from reelvec.storage.places.sources import local_file
from reelvec.storage.roots import Root
from reelvec.storage.weights.checkpoints import WeightsFile, open_weights, weights_hash
from reelvec.storage.weights.checks import check_finite
from reelvec.storage.weights.known import WeightsMark, recall
from reelvec.storage.weights.paths import is_pretrained
from reelvec.storage.weights.pretrained import find_pretrained, pretrained_files, read_pretrained

__all__ = [
    "close_weights",
    "hash_of_weights",
    "open_any",
    "open_finite",
    "read_start",
    "shapes_of_weights",
]

T = TypeVar("T")
Key = tuple[str, tuple[tuple[str, FileMark], ...]]
"""A weights name, and the marks of its files."""

_MOST_OPEN = 2
"""Files: a model's, and that of its policy."""
_MOST_FACTS = 16


class _Opened:
    """A weights file that is open, and what follows from its tensors."""

    def __init__(self, weights: str) -> None:
        self._weights = weights
        self.file = _read(weights, known=False)

    @cached_property
    def tensors(self) -> dict[str, Tensor]:
        """The file's, which are finite."""
        check_finite(self.file.tensors, source=self._weights)
        return self.file.tensors

    def hash(self) -> str:
        """`weights_hash` of the tensors."""
        return weights_hash(self.tensors)

    def shapes(self) -> dict[str, Tensor]:
        """The tensors without their numbers; a checkpoint's packed small files as they are."""
        return _shapes_of(self.tensors)


_OPEN: dict[Key, _Opened] = {}
_HASHES: dict[Key, str] = {}
_SHAPES: dict[Key, dict[str, Tensor]] = {}


def open_any(weights: str) -> WeightsFile:
    """What `read_start` reads, finite or not, under names of ours where they can be told.

    Raises:
        WeightsError: as `read_start`.
    """
    return _opened(weights, _key(weights)).file


def open_finite(weights: str) -> WeightsFile:
    """As `open_any`; its tensors are finite.

    Raises:
        WeightsError: as `read_start`.
    """
    opened = _opened(weights, _key(weights))
    return replace(opened.file, tensors=opened.tensors)


def read_start(weights: str) -> dict[str, Tensor]:
    """Tensors of `model.weights`: a file of any kind we read, or hf:FOLDER_OR_NAME.

    Others may be given the same tensors: they are read, never written to.

    Raises:
        WeightsError: missing, damaged, unsafe, of an unknown kind, or not finite.
    """
    return _opened(weights, _key(weights)).tensors


def hash_of_weights(weights: str) -> str:
    """`weights_hash` of what `read_start` reads; of the same files it is made once a process.

    Raises:
        WeightsError: as `read_start`.
    """
    return _fact(_HASHES, weights, _Opened.hash)


def shapes_of_weights(weights: str, *, root: Root | None = None) -> dict[str, Tensor]:
    """What `read_start` reads, without its numbers; packed small files are as they are.

    Args:
        weights: its name.
        root: a store. Where that knows the files, as they lie now, their numbers were looked at
            when it came to know them, and are not again.

    Raises:
        WeightsError: as `read_start`.
    """
    key = _key(weights)
    unread = key not in _SHAPES and key not in _OPEN
    if unread and root is not None and recall(root, WeightsMark.of(weights)).hash:
        shapes = _shapes_of(_read(weights, known=True).tensors)
        _keep(_SHAPES, key, shapes, most=_MOST_FACTS)
    return _fact(_SHAPES, weights, _Opened.shapes)


def close_weights() -> None:
    """Let go of the files that are open; what was found in them stays known."""
    _OPEN.clear()


def _fact(known: dict[Key, T], weights: str, find: Callable[[_Opened], T]) -> T:
    key = _key(weights)
    if key not in known:
        _keep(known, key, find(_opened(weights, key)), most=_MOST_FACTS)
    return known[key]


def _keep(kept: dict[Key, T], key: Key, value: T, *, most: int) -> None:
    """Keep a value; the oldest goes where there are too many."""
    kept[key] = value
    while len(kept) > most:
        del kept[next(iter(kept))]


def _opened(weights: str, key: Key) -> _Opened:
    if key in _OPEN:
        return _OPEN[key]
    opened = _Opened(weights)
    if opened.file.in_place:
        _keep(_OPEN, key, opened, most=_MOST_OPEN)
    return opened


def _key(weights: str) -> Key:
    if is_pretrained(weights):
        paths = sorted(path for path in find_pretrained(weights).iterdir() if path.is_file())
    else:
        paths = [Path(os.path.realpath(local_file(weights)))]  # of a link to itself, too
    return weights, tuple((path.name, FileMark.at(str(path))) for path in paths)


def _shapes_of(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {key: x if key == "files" else x.to("meta") for key, x in tensors.items()}


def _read(weights: str, *, known: bool) -> WeightsFile:
    if is_pretrained(weights):
        try:
            own_input_of(pretrained_files(weights))  # before a large file is looked for
        except ModelError as error:
            raise WeightsError(f"({weights}): {error}", path=weights) from None
        container = "Hugging Face folder (safetensors)"
        return WeightsFile(read_pretrained(weights), container, {}, in_place=True)
    path = local_file(weights)
    file = open_weights(path, known=known)
    tensors = our_names(file.tensors)
    if not any(name.endswith("visual_projection.weight") for name in file.tensors):
        return replace(file, tensors=tensors)
    _check_configuration(path.parent / "config.json")
    container = f"{file.container}, transformers' names (read as OpenAI's CLIP: quick GELU)"
    return replace(file, tensors=tensors, container=container, in_place=False)


def _check_configuration(path: Path) -> None:
    """Refuses a lone file of a folder whose configuration tells of another CLIP than OpenAI's."""
    try:
        document = json.loads(path.read_bytes()) if path.is_file() else {}
        towers = [document.get(name) or {} for name in ("text_config", "vision_config")]
        activations = {tower.get("hidden_act", "quick_gelu") for tower in towers}
    except (OSError, ValueError, AttributeError, TypeError, RecursionError):
        return  # somebody else's configuration
    if activations != {"quick_gelu"}:
        raise WeightsError(
            f"({path}) says this CLIP's activation is {', '.join(map(str, sorted(activations)))},"
            f" and a file alone is read with quick_gelu; give the folder, hf:{path.parent}",
            path=str(path),
        )
