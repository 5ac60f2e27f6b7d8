"""What a store holds: each artifact with its snapshot, rows, bytes, parts and counts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from reelvec.storage.commits.artifact import Artifact, Snapshot
from reelvec.storage.commits.receipts import Counts
from reelvec.storage.errors import MissingArtifactError, StoreError
from reelvec.storage.roots import open_root
from reelvec.storage.store_format import format_of_store

__all__ = ["ArtifactStatus", "describe_store", "full_fingerprint", "store_format"]

_FEWEST_DIGITS = 6


@dataclass(frozen=True, slots=True)
class PartStatus:
    """One part in force: its path below the artifact's folder, data rows, and superseded keys."""

    part: str
    table: str
    rows: int
    bytes: int
    checksum: str
    superseded: int


@dataclass(frozen=True, slots=True)
class ArtifactStatus:
    """An artifact at its latest snapshot; `snapshot` 0: it has none yet, and holds nothing."""

    kind: str
    fingerprint: str
    """32 hex digits."""
    identity: Mapping[str, Any]
    """What decides what its rows mean."""
    snapshot: int = 0
    rows: int = 0
    bytes: int = 0
    checksum: str = ""
    """Of what is in force, whatever the names and the order of publication."""
    parts: tuple[PartStatus, ...] = ()
    counts: Counts = field(default_factory=Counts)
    """Inputs over all tables: planned = ok + salvaged + quarantined."""


def describe_store(store: str) -> list[ArtifactStatus]:
    """One entry an artifact; reads snapshots and identities, no part."""
    artifacts = Artifact.all(open_root(store))
    return [_describe(artifact, artifact.latest()) for artifact in artifacts]


def store_format(store: str) -> int:
    """The format the store says it is in."""
    return format_of_store(open_root(store))


def full_fingerprint(store: str, *, kind: str, prefix: str) -> str:
    """The fingerprint of the one artifact of this kind that starts with `prefix`; "": of any kind.

    Raises:
        StoreError: fewer than 6 hex digits, or several artifacts start with them.
        MissingArtifactError: none does.
    """
    wanted = prefix.strip().lower()
    if len(wanted) < _FEWEST_DIGITS or set(wanted) - set("0123456789abcdef"):
        raise StoreError(
            f"({prefix}) is no identity: give its {_FEWEST_DIGITS} or more first hex digits, as "
            "`reelvec status` shows them",
            path=store,
        )
    there = [a.fingerprint for a in Artifact.all(open_root(store)) if kind in ("", a.kind)]
    matching = [fingerprint for fingerprint in there if fingerprint.startswith(wanted)]
    if not matching:
        raise MissingArtifactError(
            f"no identity{f' of {kind}' if kind else ''} in the store ({store}) starts with"
            f" ({prefix}); there are: "
            f"{', '.join(there) or 'none'}",
            path=store,
        )
    if len(matching) > 1:
        raise StoreError(
            f"({prefix}) may be any of these {kind or 'artifacts'}: {', '.join(matching)}; "
            "give more digits",
            path=store,
        )
    return matching[0]


def _describe(artifact: Artifact, snapshot: Snapshot | None) -> ArtifactStatus:
    if snapshot is None:
        return ArtifactStatus(artifact.kind, artifact.fingerprint, artifact.identity)
    return ArtifactStatus(
        kind=artifact.kind,
        fingerprint=artifact.fingerprint,
        identity=artifact.identity,
        snapshot=snapshot.number,
        rows=snapshot.rows,
        bytes=snapshot.bytes,
        checksum=snapshot.checksum,
        parts=tuple(
            PartStatus(
                part=entry.part,
                table=entry.table,
                rows=entry.rows,
                bytes=entry.bytes,
                checksum=entry.checksum,
                superseded=len(entry.dropped),
            )
            for entry in snapshot.entries
        ),
        counts=snapshot.counts(),
    )
