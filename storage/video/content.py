"""The identity of a file: a hash of its bytes, and what the file system says of it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import xxhash

from storage.video.probe import no_progress

__all__ = ["hash_file"]

CHUNK_BYTES = 2**20


def hash_file(path: str | Path, *, progress: Callable[[], None] = no_progress) -> str:
    """xxh3-128 of the bytes of `path`, hex; `progress` is called once a mebibyte.

    Raises:
        OSError: the file cannot be read.
    """
    digest = xxhash.xxh3_128()
    with Path(path).open("rb") as file:
        while chunk := file.read(CHUNK_BYTES):
            digest.update(chunk)
            progress()
    return digest.hexdigest()
