"""Find the store of a command; a mistyped path is an error, not an empty store."""

from __future__ import annotations

from typing import TYPE_CHECKING

import reelvec
from reelvec.configs import ConfigError
from reelvec.flows.console.options import default_store

if TYPE_CHECKING:
    from reelvec.storage.roots import Root

__all__ = ["known_store", "opened_store", "root_at"]


def root_at(where: str) -> Root:
    """The root at `where`, be there a store already or not.

    Raises:
        ConfigError: none can be there.
        StoreError: it is of a newer format, or cannot be read.
    """
    from reelvec.storage.errors import AddressError
    from reelvec.storage.roots import open_root

    try:
        return open_root(where)
    except AddressError as error:
        raise ConfigError(str(error), key="store") from None


def opened_store(given: str | None) -> reelvec.Store:
    """The store that a command reads, `given` or the default one, as the Python API opens it.

    Raises:
        ConfigError: no store is there.
        StoreError: it cannot be read.
    """
    from reelvec.storage.errors import MissingArtifactError

    where = given or default_store()
    root_at(where)
    try:
        return reelvec.open(where)
    except MissingArtifactError as error:
        raise ConfigError(str(error), key="store") from None


def known_store(given: str | None) -> str:
    """Where that store is, as it was given.

    Raises:
        ConfigError: no store is there.
        StoreError: it cannot be read.
    """
    opened_store(given)
    return given or default_store()
