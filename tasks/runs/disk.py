"""What a store's files take, by what they are: the sum is what `du` says of it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass

from reelvec.storage import layout
from reelvec.storage.commits.artifact import Artifact, Snapshot
from reelvec.storage.errors import RefusedError, StoreError
from reelvec.storage.roots import Root, open_root
from reelvec.tasks.runs.holdings import ArtifactKey, Holdings

__all__ = ["DiskUse", "bytes_of_artifacts", "disk_use"]

_IN_FORCE = "in force"
_RECORDS = "records"
_SUPERSEDED = "superseded"
_UNNAMED = "named by no snapshot"
_DERIVED = "for search, made anew when missing"
_BY_NAME = {
    layout.RUNS: "records of runs",
    layout.DROPS: "records of runs",
    layout.ALIASES: "what names stand for",
    layout.GATES: "reports of the gate",
    layout.FORGOTTEN: "which videos were forgotten",
    layout.REPORTS: "copies of the last reports",
    layout.KNOWN: "what was found in weights files",
    layout.AT_WORK: "records of runs",
    layout.FORMATS: "the store's format",
    layout.WRITERS: "who writes here now",
    layout.SCRATCH: "files being written, or left by a killed writer",
    layout.DAMAGED: "files that repair set aside",
    "logs": "logs of trainings",
    "sources": "videos drawn by reelvec",
}


@dataclass(frozen=True, slots=True)
class DiskUse:
    """Files of one sort; folders count with what is in them."""

    kind: str
    """Of artifacts, or the name of what lies in the store beside them."""
    what: str
    files: int
    bytes: int
    """As the disk gives them away (in blocks, each file once); of an object store, their sizes."""


def disk_use(store: str) -> list[DiskUse]:
    """Every file of the store, by kind and by what it is there for.

    Raises:
        StoreError: the store cannot be listed.
    """
    root = open_root(store)
    sorts = _Sorts(root)
    counted: dict[tuple[str, str], list[int]] = defaultdict(lambda: [0, 0])
    for path, size, is_file in root.walk():
        row = counted[sorts.of(path)]
        row[0] += is_file
        row[1] += size
    order = {kind: place for place, kind in enumerate(layout.KINDS)}
    return [
        DiskUse(kind, what, files, size)
        for (kind, what), (files, size) in sorted(
            counted.items(), key=lambda row: (order.get(row[0][0], len(order)), row[0])
        )
    ]


def bytes_of_artifacts(root: Root) -> Mapping[ArtifactKey, int]:
    """What each artifact takes, all its files together."""
    sizes: dict[ArtifactKey, int] = defaultdict(int)
    for path, size, _ in root.walk():
        kind, _, rest = path.partition("/")
        if kind in layout.KINDS and rest:
            sizes[kind, rest.partition("/")[0]] += size
    return sizes


class _Sorts:
    """What each file of a store is there for."""

    def __init__(self, root: Root) -> None:
        self._latest: dict[ArtifactKey, Snapshot | None] = {}
        self._parts: dict[ArtifactKey, dict[str, str]] = {}
        self._owners = _owners(root)
        for artifact in Artifact.all(root):
            self._parts[artifact.kind, artifact.fingerprint] = _parts_of(artifact)

    def of(self, path: str) -> tuple[str, str]:
        """(kind, what) of a file or folder."""
        top, _, rest = path.partition("/")
        fingerprint, _, inside = rest.partition("/")
        parts = self._parts.get((top, fingerprint))
        if not top:
            return "store", "its own folder"
        if parts is None:
            return top, _RECORDS if top in layout.KINDS else _BY_NAME.get(top, "not reelvec's")
        folder = inside.partition("/")[0]
        if folder == layout.DERIVED:
            return top, _DERIVED
        if folder not in ("parts", "receipts") or "/" not in inside:
            return top, _RECORDS
        owner = self._owners.get((top, fingerprint), "of no run that has ended")
        return top, owner or parts.get(inside, _UNNAMED)


def _owners(root: Root) -> dict[ArtifactKey, str]:
    """What is to be said of artifacts instead of their files' state; "": a kept run needs it."""
    try:
        holdings = Holdings(root)
        dropped = dict.fromkeys(holdings.of(holdings.dropped), "of dropped runs")
        return dropped | dict.fromkeys(holdings.of(holdings.kept), "")
    except RefusedError:
        raise
    except StoreError:  # damaged, which verify says: then who needs what is not known
        return {(artifact.kind, artifact.fingerprint): "" for artifact in Artifact.all(root)}


def _parts_of(artifact: Artifact) -> dict[str, str]:
    """What each part and receipt is, as far as the latest snapshot knows it."""
    try:
        latest = artifact.latest()
    except RefusedError:
        raise
    except StoreError:
        return {}
    if latest is None:
        return {}
    known = dict.fromkeys(latest.settled, _SUPERSEDED)
    known |= {entry.part: _IN_FORCE for entry in latest.entries}
    return known | {layout.receipt_of(part): what for part, what in known.items()}
