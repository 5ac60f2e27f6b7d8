"""Collect: gc with what it must know of runs, and what killed trainings left beside the store.

What kept runs read stays. What only dropped runs had goes at once, unless a run is at work: it may
have begun before they were dropped, and use it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass

from reelvec.storage import layout
from reelvec.storage.at_work import forget_stopped, runs_at_work
from reelvec.storage.roots import Root, open_root
from reelvec.storage.runs import RunRecord
from reelvec.storage.upkeep.garbage import Collected, GcOptions, gc
from reelvec.tasks.runs.holdings import Holdings
from reelvec.tasks.temporary import remove_dead_folders

__all__ = ["StoreCollected", "collect_store"]


@dataclass(frozen=True, slots=True)
class StoreCollected:
    """What was (or, in a dry run, would be) removed, and what was left for a reason."""

    removed: tuple[Collected, ...]
    left: Mapping[str, tuple[str, ...]]
    """Why -> files and folders below the root that would have gone otherwise."""

    @property
    def files(self) -> int:
        """Parts and receipts."""
        return sum(len(one.files) for one in self.removed)

    @property
    def bytes(self) -> int:
        """Of these files."""
        return sum(one.bytes for one in self.removed)


def collect_store(
    store: str, *, keep: int = 3, hours: float = 24.0, dry_run: bool = False
) -> StoreCollected:
    """Remove what no kept snapshot reaches and no kept run needs.

    Args:
        store: its root.
        keep: newest snapshots kept of each artifact, and newest records of each alias whose
            snapshots are kept, 1 or more.
        hours: what is younger is left alone, but for what is promised to nobody.
        dry_run: only say what would be removed.

    Raises:
        IntegrityError: a record, an identity or a snapshot is damaged, so that what is needed is
            unknown.
        StoreError: the store cannot be written.
    """
    root = open_root(store)
    holdings = Holdings(root)
    unneeded = holdings.of(holdings.dropped) - holdings.of(holdings.kept)
    left: dict[str, list[str]] = defaultdict(list)
    if unneeded and (busy := _at_work(root)):
        left[f"only dropped runs had it, but {busy}: run gc again when that has ended"] = [
            layout.artifact(kind, fingerprint) for kind, fingerprint in sorted(unneeded)
        ]
        unneeded = frozenset()
    options = GcOptions(
        keep_snapshots=keep,
        min_age_seconds=hours * 3600,
        keep_moves=keep,
        protect=_read_by(holdings.kept),
        unneeded=unneeded,
        dry_run=dry_run,
    )
    collected = gc(root, options=options)
    for one in (one for found in collected for one in found.left):
        left[one.why].append(one.path)
    if not dry_run:
        _sweep(root)
    return StoreCollected(
        tuple(found for found in collected if found.snapshots or found.files),
        {why: tuple(paths) for why, paths in left.items()},
    )


def _at_work(root: Root) -> str:
    """Who may use what dropped runs had; "": nobody."""
    for run in runs_at_work(root):
        if not run.stopped:
            return f"the run ({run.name}) is at work"
    known = [writer for writer in root.writers() if writer.known]
    return f"{known[0].who} writes here" if known else ""


def _read_by(runs: list[RunRecord]) -> frozenset[tuple[str, int]]:
    """Snapshots that are read for each name: of its last run, and of its last that has tables."""
    last = {run.name: run for run in runs}
    with_tables = {run.name: run for run in runs if run.has_tables}
    records = [*last.values(), *with_tables.values()]
    return frozenset(place for run in records for place in run.artifacts.values())


def _sweep(root: Root) -> None:
    """What killed runs and trainings left, of which nobody reads anything."""
    forget_stopped(root)
    remove_dead_folders()
