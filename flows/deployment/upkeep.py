"""Upkeep of a store in a flow run: what came of it is in the run's log and artifacts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from prefect import get_run_logger
from prefect.artifacts import create_table_artifact

from reelvec.storage.errors import ReelvecError
from reelvec.storage.roots import open_root
from reelvec.storage.upkeep.verify import Damage, verify_store
from reelvec.tasks.upkeep.affected import affected_videos
from reelvec.tasks.upkeep.collect import StoreCollected, collect_store
from reelvec.tasks.upkeep.compact import Compacted, compact_store

__all__ = ["collect", "compact", "verify"]

_SHOWN_VIDEOS = 5


class DamageFoundError(ReelvecError):
    """A store holds other bytes than were written."""


def verify(store: str) -> list[Damage]:
    """Compare every part with its receipt.

    Returns:
        Nothing: no part is damaged.

    Raises:
        DamageFoundError: some are; the table artifact `damage` lists them.
    """
    root = open_root(store)
    damages = verify_store(root)
    if damages:
        rows = [
            {"path": one.path, "what": one.what, "videos": _names(videos)}
            for one, videos in zip(damages, affected_videos(root, damages), strict=True)
        ]
        _publish("damage", rows, "Files that are not as they were written")
        raise DamageFoundError(
            f"{len(damages)} files of the store ({store}) are not as they were written, the first"
            f" is {damages[0].path}: {damages[0].what}; `reelvec repair --store {store}` redoes"
            " what was lost"
        )
    get_run_logger().info(f"{store}: every part, receipt and snapshot is as it was written")
    return damages


def collect(store: str, *, keep: int, hours: float, dry_run: bool) -> StoreCollected:
    """Remove what nothing needs, as `collect_store` does."""
    done = collect_store(store, keep=keep, hours=hours, dry_run=dry_run)
    verb = "would be removed" if dry_run else "removed"
    get_run_logger().info(f"{store}: {done.files} files ({done.bytes / 2**20:,.1f} MiB) {verb}")
    rows = [
        {
            "kind": one.kind,
            "identity": one.fingerprint,
            "snapshots": len(one.snapshots),
            "files": len(one.files),
            "MiB": round(one.bytes / 2**20, 1),
        }
        for one in done.removed
    ]
    _publish("removed", rows, f"What is {verb}")
    left = [
        {"why": why, "files": len(paths), "first": paths[0]} for why, paths in done.left.items()
    ]
    _publish("left", left, "What would have gone otherwise, and why it stays")
    return done


def compact(store: str, *, kind: str, identity: str, dry_run: bool) -> list[Compacted]:
    """Merge small parts, as `compact_store` does."""
    merged = compact_store(store, kind=kind, identity=identity, dry_run=dry_run)
    words = f"{len(merged)} artifacts have parts to merge" if merged else "no small parts to merge"
    get_run_logger().info(f"{store}: {words}")
    rows = [asdict(one) for one in merged]
    _publish("compacted", rows, "What would be merged" if dry_run else "What was merged")
    return merged


def _publish(key: str, rows: Sequence[Mapping[str, Any]], description: str) -> None:
    """Rows as a table artifact; no rows: none."""
    if rows:
        create_table_artifact(table=[dict(row) for row in rows], key=key, description=description)


def _names(videos: Sequence[str]) -> str:
    more = len(videos) - _SHOWN_VIDEOS
    return ", ".join(videos[:_SHOWN_VIDEOS]) + (f" and {more} more" if more > 0 else "")
