"""What a store holds: each artifact with its snapshot, rows, bytes, parts and counts."""

from __future__ import annotations

from typing import Any

from reelvec.storage.commits.artifact import Artifact, Snapshot
from reelvec.storage.errors import MissingArtifactError, StoreError
from reelvec.storage.roots import open_root
from reelvec.storage.store_format import format_of_store

__all__ = ["describe_store", "full_fingerprint", "store_format"]

_FEWEST_DIGITS = 6


def describe_store(store: str) -> list[dict[str, Any]]:
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
            f"no {kind or 'artifacts'} in the store ({store}) start with ({prefix}); there are: "
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


def _describe(artifact: Artifact, snapshot: Snapshot | None) -> dict[str, Any]:
    if snapshot is None:
        known: dict[str, Any] = {"snapshot": 0, "rows": 0, "bytes": 0, "checksum": "", "parts": []}
        counts = {"planned": 0, "ok": 0, "salvaged": 0, "quarantined": 0}
    else:
        known = {
            "snapshot": snapshot.number,
            "rows": snapshot.rows,
            "bytes": snapshot.bytes,
            "checksum": snapshot.checksum,
            "parts": [
                {
                    "part": entry.part,
                    "table": entry.table,
                    "rows": entry.rows,
                    "bytes": entry.bytes,
                    "checksum": entry.checksum,
                    "superseded": len(entry.dropped),
                }
                for entry in snapshot.entries
            ],
        }
        total = snapshot.counts()
        counts = {
            "planned": total.planned,
            "ok": total.ok,
            "salvaged": total.salvaged,
            "quarantined": total.quarantined,
        }
    return {
        "kind": artifact.kind,
        "fingerprint": artifact.fingerprint,
        "identity": artifact.identity,
        **known,
        "counts": counts,
    }
