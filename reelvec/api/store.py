"""A store opened for reading: its runs, what it holds, and whether that is as it was written."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from reelvec.api.run import Run
from reelvec.storage import layout
from reelvec.storage.errors import MissingArtifactError
from reelvec.storage.places.local import LocalRoot
from reelvec.storage.roots import Root, open_root
from reelvec.storage.runs import list_runs
from reelvec.tasks.runs.status import ArtifactStatus, describe_store

if TYPE_CHECKING:
    from reelvec.storage.upkeep.verify import Damage

__all__ = ["Store", "open_store"]

_FEWEST_DIGITS = 6


def open_store(store: str | Path) -> Store:
    """The store at a folder's path, a file:// or an s3://bucket/prefix URI; nothing is created.

    A store that a run has just begun counts, be it empty. An object store is asked for a list.

    Raises:
        MissingArtifactError: no store is there.
        StoreError: none can be there (a file, an unknown scheme), or it cannot be listed.
    """
    root = open_root(store)
    if not _holds_store(root):
        raise MissingArtifactError(f"no store at ({store}): {_why_not(root)}", path=root.uri)
    return Store(root)


class Store:
    """A store as it is now: `runs` and `run` look anew on each call.

    Attributes:
        uri: where it is.
    """

    def __init__(self, root: Root) -> None:
        self.uri = root.uri
        self._root = root

    def runs(self) -> list[Run]:
        """Every recorded run, oldest start first.

        Raises:
            IntegrityError: a record is damaged.
        """
        return [Run(self._root, record) for record in list_runs(self._root)]

    def run(self, name: str | None = None) -> Run:
        """One run: the last of that name, or of any name, that has tables.

        Args:
            name: of a run, or the first digits (6 or more) of its identifier. Where no run of that
                name has tables, it is the last one.

        Raises:
            MissingArtifactError: no run is called so, or none has tables; says which there are.
        """
        runs = self.runs()[::-1]
        if not runs:
            raise MissingArtifactError(
                f"no run in the store ({self.uri}); `reelvec demo` or `reelvec embed VIDEOS` makes"
                " one, and --store names another store",
                path=self.uri,
            )
        chosen = runs if name is None else _named(runs, name, store=self.uri)
        with_tables = next((run for run in chosen if run.has_tables), None)
        if with_tables is None and name is None:
            raise MissingArtifactError(
                f"no run in the store ({self.uri}) has tables yet ({_names(runs)} ended before);"
                " `reelvec run` with the stage embed makes them",
                path=self.uri,
            )
        return with_tables or chosen[0]

    def status(self) -> list[ArtifactStatus]:
        """What the store holds, an entry an artifact; reads snapshots and identities, no part."""
        return describe_store(self.uri)

    def verify(self) -> list[Damage]:
        """Reads every byte: damaged or missing files, and which inputs they concern; [] is good."""
        from reelvec.storage.upkeep.verify import verify_store

        return verify_store(self._root)

    def __repr__(self) -> str:
        return f"Store({self.uri})"


def _named(runs: Sequence[Run], name: str, *, store: str) -> list[Run]:
    """The runs of that name, or the one with that identifier, in their order."""
    found = [run for run in runs if run.name == name]
    if not found and len(name) >= _FEWEST_DIGITS:
        found = [run for run in runs if run.identifier.startswith(name.lower())]
    if not found:
        raise MissingArtifactError(
            f"no run is called ({name}) in the store ({store}); there are: {_names(runs)}",
            path=store,
        )
    return found


def _names(runs: Iterable[Run]) -> str:
    return ", ".join(dict.fromkeys(run.name for run in runs))


def _why_not(root: Root) -> str:
    if not isinstance(root, LocalRoot):
        why = "nothing of a store is below it"
    elif root.local_folder.is_dir():
        why = "the folder there holds none"
    else:
        why = "no such folder is there"
    return f"{why}; name another (--store), or make one with `reelvec run` or `reelvec embed` first"


def _holds_store(root: Root) -> bool:
    """Names alone would not do: anybody's folder may have one called runs or frames."""
    names = root.list("")
    if layout.SCRATCH in names:
        return True
    kinds = [kind for kind in layout.KINDS if kind in names]
    if any(layout.is_fingerprint(name) for kind in kinds for name in root.list(kind)):
        return True
    return any(name.endswith(".json") for name in root.list(layout.RUNS))
