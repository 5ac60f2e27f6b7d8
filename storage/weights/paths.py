"""Names of weights files: what is there to read, and outputs that are whole or not there at all.

A person names these files, anywhere; the store's parts have their own protocol (storage.roots).
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from reelvec.storage.errors import WeightsError
from reelvec.storage.layout import RUNS
from reelvec.storage.places.failures import explained

__all__ = [
    "CONFIGURATIONS",
    "PREFIX",
    "check_output",
    "existing_file",
    "is_pretrained",
    "new_output",
]

PREFIX = "hf:"
"""Begins a weights name of Hugging Face's layout: hf:FOLDER, hf:ORG/NAME, hf:ORG/NAME@REVISION."""

CONFIGURATIONS = ("config.json", "open_clip_config.json")
"""A checkpoint's folder has one of them: transformers' layout, and OpenCLIP's."""


def is_pretrained(name: str) -> bool:
    """Whether a weights name is of a checkpoint in Hugging Face's layout."""
    return name.startswith(PREFIX)


def existing_file(path: Path) -> Path:
    """`path`, where it is a file.

    Raises:
        WeightsError: there is nothing, or a folder; a folder of Hugging Face's layout and a store
            are told how they are named.
    """
    try:
        if path.is_file():
            return path
    except (OSError, ValueError) as error:  # a name the system does not take
        why = error.strerror if isinstance(error, OSError) else str(error)
        raise WeightsError(f"no weights file at ({path!s:.200}): {why}") from None
    if path.is_dir():
        raise WeightsError(
            f"({path}) is a folder, no weights file; {_folder_remedy(path)}", path=str(path)
        )
    raise WeightsError(f"no weights file at ({path}); check the name", path=str(path))


def _folder_remedy(folder: Path) -> str:
    configured = any((folder / name).is_file() for name in CONFIGURATIONS)
    if configured and any(folder.glob("*.safetensors")):
        return f"it looks like a checkpoint of Hugging Face, which is named hf:{folder}"
    if (folder / RUNS).is_dir():
        return f"it looks like a store, whose model is given by --store {folder}"
    return "name a file in it"


def check_output(path: Path, *, force: bool = False) -> None:
    """Refuses an output that cannot or must not be written; writes nothing.

    Args:
        path: the file to write.
        force: whether a file that is there may be replaced.

    Raises:
        WeightsError: `path` is there, or its folder is not.
    """
    if path.exists() and not path.is_file():
        kind = "a folder" if path.is_dir() else "no ordinary file"
        raise WeightsError(f"({path}) is {kind}; name the file to write", path=str(path))
    if path.exists() and not force:
        raise WeightsError(
            f"({path}) exists already; --force overwrites it, or name another file",
            path=str(path),
        )
    folder = Path(os.path.realpath(path)).parent
    if not folder.is_dir():
        raise WeightsError(
            f"no folder ({folder}) to write ({path.name}) into; make it (mkdir -p) or name another",
            path=str(path),
        )


@contextmanager
def new_output(path: Path, *, force: bool = False) -> Iterator[Path]:
    """A name beside `path` to write to; takes the place of `path` on clean exit, else is dropped.

    A process that is killed leaves `path` as it was, and at worst a ``.reelvec-*.part`` beside it.
    Where `path` is a link, what it points to is replaced.

    Raises:
        WeightsError: as `check_output`; also where somebody else made `path` in the meantime.
        StoreError: a folder that cannot be written, or a full disk.
    """
    check_output(path, force=force)
    target = Path(os.path.realpath(path))
    scratch = target.parent / f".reelvec-{os.getpid()}-{secrets.token_hex(4)}.part"
    try:
        with explained("write", path=path):
            yield scratch
            with scratch.open("rb") as stream:
                os.fsync(stream.fileno())  # before the name: a power cut leaves no half file
        check_output(path, force=force)
        with explained("write", path=path):
            scratch.replace(target)
    finally:
        scratch.unlink(missing_ok=True)
