"""Whether a store is where a command looks for one: a mistyped path is no healthy store."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from reelvec.configs import ConfigError
from reelvec.flows.console.output import default_store

if TYPE_CHECKING:
    from reelvec.storage.roots import Root

__all__ = ["known_store", "root_at"]

_REMEDY = "give --store, or make one with `reelvec run` or `reelvec embed` first"


def root_at(where: str) -> Root:
    """The root at `where`, be there a store already or not.

    Raises:
        ConfigError: none can be there.
    """
    from reelvec.storage.errors import StoreError
    from reelvec.storage.roots import open_root

    try:
        return open_root(where)
    except StoreError as error:
        raise ConfigError(str(error), key="store") from None


def known_store(given: str | None) -> str:
    """Where the store is that a command reads: `given`, or the default one.

    A store that a run has just begun counts, be it empty. An object store is asked for a list.

    Raises:
        ConfigError: no store is there.
        StoreError: an object store cannot be listed.
    """
    from reelvec.storage.places.local import LocalRoot

    where = given or default_store()
    root = root_at(where)
    if _holds_store(root):
        return where
    if isinstance(root, LocalRoot):
        there = Path(root.uri).is_dir()
        why = "the folder there holds none" if there else "no such folder is there"
    else:
        why = "nothing of a store is below it"
    raise ConfigError(f"no store at ({where}): {why}; {_REMEDY}", key="store")


def _holds_store(root: Root) -> bool:
    """Names alone would not do: anybody's folder may have one called runs or frames."""
    from reelvec.storage import layout

    names = root.list("")
    if layout.SCRATCH in names:
        return True
    kinds = [kind for kind in layout.KINDS if kind in names]
    if any(layout.is_fingerprint(name) for kind in kinds for name in root.list(kind)):
        return True
    return any(name.endswith(".json") for name in root.list(layout.RUNS))
