"""What was found in a weights file, kept in the store: who has nothing to do reads no tensor.

A record is good for files with the marks they had when they were read (`FileMark`), and for the
code that read them; with any others it is as if there were none. It lies on this machine, as inodes
do, and nothing else of a store depends on it.
"""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, Self

import xxhash

from reelvec.storage import layout
from reelvec.storage.errors import IntegrityError, ReelvecError
from reelvec.storage.file_marks import FileMark
from reelvec.storage.places.sources import local_file
from reelvec.storage.roots import Root
from reelvec.storage.sealing import seal, unseal
from reelvec.storage.weights.paths import PREFIX, is_pretrained

__all__ = ["KnownWeights", "WeightsMark", "keep", "recall"]

MAKERS = ("models", "storage/weights", "tasks/weights", "tasks/training/opening.py")
"""Of the package: what decides a file's tensors, their names and the model they are of."""


@dataclass(frozen=True, slots=True)
class WeightsMark:
    """A weights file, or the files of a folder, as they lay when they were looked at."""

    weights: str
    files: tuple[tuple[str, FileMark], ...] = ()
    """Name and mark, by name; none: nothing is known of such a name, as of one of a hub."""

    @classmethod
    def of(cls, weights: str) -> Self:
        """The mark of `model.weights`: a path, an address or hf:FOLDER.

        Raises:
            StoreError: an address whose file cannot be fetched.
        """
        if is_pretrained(weights):
            paths = _files_in(Path(weights.removeprefix(PREFIX)).expanduser())
        else:
            paths = [Path(os.path.realpath(local_file(weights)))]  # of a link to itself, too
        marks = tuple((path.name, FileMark.at(str(path))) for path in paths)
        return cls(weights, marks if all(mark.bytes for _, mark in marks) else ())


@dataclass(frozen=True, slots=True)
class KnownWeights:
    """What was found in a weights file."""

    hash: str = ""
    """`weights_hash` of its tensors, which are finite; "": not known."""
    choice: Mapping[str, Any] = field(default_factory=dict)
    """Which model it is of, as `reelvec embed` asks; plain data. Empty: not known."""


def recall(root: Root, mark: WeightsMark) -> KnownWeights:
    """What is known of files that lie as `mark` says; nothing where that is nothing."""
    path = _path(root, mark)
    try:
        body = unseal(path.read_bytes(), path=str(path))
        if mark.files and body["of"] == _key(mark):
            return KnownWeights(**body["known"])
    except (OSError, IntegrityError, ValueError, KeyError, TypeError):
        pass  # none is there, or one that nobody can read: it is made again
    return KnownWeights()


def keep(root: Root, mark: WeightsMark, *, found: KnownWeights) -> None:
    """Keep what was found beside what is known; nothing where the store is not there, or refuses.

    Args:
        root: the store.
        mark: made before the files were read.
        found: what is new; what it leaves out stays.
    """
    if not (mark.files and root.local_folder.is_dir()):
        return
    before = recall(root, mark)
    known = KnownWeights(found.hash or before.hash, found.choice or before.choice)
    path = _path(root, mark)
    body = {"of": _key(mark), "known": dataclasses.asdict(known)}
    with suppress(OSError, ReelvecError):  # they are read again, no more
        path.parent.mkdir(parents=True, exist_ok=True)
        scratch = root.new_scratch(path.suffix)
        try:
            scratch.write_bytes(seal(body))
            scratch.replace(path)
        finally:
            scratch.unlink(missing_ok=True)


def _files_in(folder: Path) -> list[Path]:
    """None where it cannot be listed: whoever reads it says why."""
    try:
        return sorted(path for path in folder.iterdir() if path.is_file())
    except OSError:
        return []


def _path(root: Root, mark: WeightsMark) -> Path:
    name = xxhash.xxh3_128_hexdigest(mark.weights.encode(errors="surrogateescape"))
    return root.local_folder / layout.known_weights(name)


def _key(mark: WeightsMark) -> str:
    """A digest of the marks and of the code."""
    marks = [[name, *dataclasses.astuple(of)] for name, of in mark.files]
    return xxhash.xxh3_128_hexdigest(json.dumps(marks).encode() + _code())


@cache
def _code() -> bytes:
    digest, package = xxhash.xxh3_128(), Path(__file__).parents[2]
    for maker in MAKERS:
        place = package / maker
        for source in [place] if place.is_file() else sorted(place.rglob("*.py")):
            digest.update(source.read_bytes())
    return digest.digest()
