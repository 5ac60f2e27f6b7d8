"""A store opened for reading: its runs, what it holds, and whether that is as it was written."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from reelvec.api.run import Run
from reelvec.storage import layout
from reelvec.storage.errors import MissingArtifactError
from reelvec.storage.naming import choose_run
from reelvec.storage.places.local import LocalRoot
from reelvec.storage.roots import Root, open_root
from reelvec.storage.runs import list_runs
from reelvec.tasks.runs.status import ArtifactStatus, describe_store, store_format

if TYPE_CHECKING:
    from reelvec.storage.upkeep.verify import Damage
    from reelvec.tasks.runs.disk import DiskUse

__all__ = ["Store", "open"]


def open(store: str | Path) -> Store:
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
    """A store for reading: `run` gives its tables as they are now, `runs` its history.

    Each call looks anew.

    Attributes:
        uri: where it is.
    """

    def __init__(self, root: Root) -> None:
        self.uri = root.uri
        self._root = root

    def runs(self, *, dropped: bool = False) -> list[Run]:
        """Every recorded run as it ended, oldest start first; those that were dropped if asked for.

        Where gc has retired a snapshot of it, the latest one that took its place is read.

        Raises:
            IntegrityError: a record is damaged.
        """
        records = list_runs(self._root, dropped=dropped)
        return [Run(self._root, record, as_ended=True) for record in records]

    def run(self, name: str | None = None) -> Run:
        """The run that is searched: what `current` stands for, else the last that has tables.

        A run is read as the store stands now: with what was published for it since. What an alias
        stands for is read at the snapshots it was given, unless it follows its run.

        Args:
            name: of a run (the last of that name that has tables), or of an alias. The first digits
                (6 or more) of an identifier name one run, as it ended.

        Raises:
            MissingArtifactError: no run is called so, or it was dropped; says which there are.
            AliasError: an alias cannot be followed.
        """
        chosen = choose_run(self._root, name)
        return Run(self._root, chosen.record, as_ended=chosen.as_ended)

    @property
    def format(self) -> int:
        """Version of the store's format."""
        return store_format(self.uri)

    def status(self) -> list[ArtifactStatus]:
        """What the store holds, an entry an artifact; reads snapshots and identities, no part."""
        return describe_store(self.uri)

    def disk(self) -> list[DiskUse]:
        """What every file takes, by kind and by what it is there for: the sum is what `du` says."""
        from reelvec.tasks.runs.disk import disk_use

        return disk_use(self.uri)

    def verify(self) -> list[Damage]:
        """Reads every byte: damaged or missing files, and which inputs they concern; [] is good."""
        from reelvec.storage.upkeep.verify import verify_store

        return verify_store(self._root)

    def __repr__(self) -> str:
        return f"Store({self.uri})"


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
    if layout.FORMATS in names and root.exists(layout.store_format(1)):
        return True
    return any(name.endswith(".json") for name in root.list(layout.RUNS))
