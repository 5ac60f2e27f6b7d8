"""Paths below a root: relative, with forward slashes, and never out of it."""

from __future__ import annotations

from reelvec.storage.errors import StoreError

__all__ = ["split_path"]

_NO_NAMES = frozenset(("", ".", ".."))  # the first part of an absolute path is empty


def split_path(path: str) -> list[str]:
    """The parts of a path below a root, refused where it could lead out of it.

    Raises:
        StoreError: it is absolute, or has '..', '.', empty or NUL parts.
    """
    parts = path.split("/")
    if "\0" in path or not _NO_NAMES.isdisjoint(parts):
        raise StoreError(
            f"{path!r} is no path inside a store: relative, without '..', empty or NUL parts",
            path=path,
        )
    return parts
