"""Where a store lives: the one door to its root, whatever offers it.

Every reader and writer comes through here, so a store of a newer format is refused in one place.
"""

from __future__ import annotations

from pathlib import Path
from urllib.parse import unquote, urlsplit

from reelvec.storage.errors import AddressError
from reelvec.storage.places.contract import Root
from reelvec.storage.places.local import LocalRoot
from reelvec.storage.store_format import check_format

__all__ = ["Root", "open_root"]


def open_root(uri: str | Path) -> Root:
    """The root at `uri`: a folder's path, file:// or s3://bucket/prefix; opening creates nothing.

    Raises:
        FormatError: the store there is of a newer format than this program knows.
        AddressError: a file is there; the scheme is not known, or its package is not installed.
        StoreError: the disk or the object store does not answer.
    """
    root = _root_at(uri)
    check_format(root)
    return root


def _root_at(uri: str | Path) -> Root:
    parts = urlsplit(str(uri))
    if parts.scheme == "file":
        return _local_root(unquote(parts.path))
    if str(uri).startswith("s3://"):
        return _object_root(str(uri))
    if "://" in str(uri):
        raise AddressError(
            f"no store can be opened at {uri}: known are a folder's path, file:// and s3:// URIs",
            path=str(uri),
        )
    return _local_root(uri)


def _local_root(folder: str | Path) -> LocalRoot:
    root = LocalRoot(folder)
    if root.local_folder.is_file():
        raise AddressError(
            f"no store at ({folder}): it is a file, not a folder; give --store another path",
            path=root.uri,
        )
    return root


def _object_root(uri: str) -> Root:
    try:
        from reelvec.storage.places.object import ObjectRoot
    except ImportError as error:
        if (error.name or "").partition(".")[0] not in ("s3fs", "fsspec", "botocore"):
            raise
        raise AddressError(
            f"the store {uri} needs the extra s3, which is not installed here ({error.name} is "
            "missing): pip install 'reelvec[s3]', or pip install 's3fs>=2025.1'",
            path=uri,
        ) from error
    return ObjectRoot(uri)
