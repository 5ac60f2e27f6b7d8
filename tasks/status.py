"""What a store holds: each artifact with its snapshot, rows, bytes, parts and counts."""

from __future__ import annotations

from typing import Any

from storage.roots import open_root
from storage.snapshots import Artifact, Snapshot

__all__ = ["describe_store"]


def describe_store(store: str) -> list[dict[str, Any]]:
    """One entry an artifact; reads snapshots and identities, no part."""
    artifacts = Artifact.all(open_root(store))
    return [_describe(artifact, artifact.latest()) for artifact in artifacts]


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
