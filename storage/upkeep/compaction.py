"""Many small parts into few large ones, in memory that does not grow with them.

Parts are copied as they are stored (a JPEG is not encoded again), superseded rows are left
behind, and one snapshot replaces the old parts by the new, where the old ones stood. A row somebody
supersedes meanwhile stays superseded (`storage.commits.merging.Change.replace`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

from reelvec.configs.schema import CompactionConfig
from reelvec.storage.at_once import at_once
from reelvec.storage.commits.artifact import Artifact, Snapshot
from reelvec.storage.commits.merging import Entry
from reelvec.storage.commits.views import PartRef
from reelvec.storage.errors import NotFiniteError
from reelvec.storage.upkeep.copying import copy_parts
from reelvec.storage.vectors import check_finite

__all__ = ["EVERYTHING", "Merge", "compact", "plan_compaction"]

_MIB = 1 << 20

EVERYTHING = CompactionConfig(
    least_parts=2, small_mb=256.0, superseded=0.0, target_mb=256.0, limit_mb=float("inf")
)
"""Merges whatever can be merged: for a person who asks for it, not for every night."""


@dataclass(frozen=True, slots=True)
class Merge:
    """Neighbouring parts of one table that become one."""

    parts: tuple[PartRef, ...]

    @property
    def bytes(self) -> int:
        """Bytes of the parts as they are."""
        return sum(part.entry.bytes for part in self.parts)


def plan_compaction(snapshot: Snapshot, *, options: CompactionConfig = EVERYTHING) -> list[Merge]:
    """What `compact` would merge, within the options' limit; reads receipts of such parts."""
    chosen: list[Merge] = []
    room = options.limit_mb * _MIB
    for table in snapshot.tables:
        for merge in _merges(snapshot.parts(table), options=options):
            if merge.bytes <= room:
                chosen.append(merge)
                room -= merge.bytes
    return chosen


def compact(artifact: Artifact, *, options: CompactionConfig = EVERYTHING) -> Snapshot | None:
    """Merges neighbouring small parts of each table, and rewrites parts with superseded rows.

    All others are left alone, and so is what lists no inputs (a checkpoint). Returns the snapshot
    that holds the result (the latest one where there was nothing to do; None where there is none).

    Raises:
        IntegrityError: a part is damaged; nothing is published.
        StoreError: no room for the new parts, or parts of a kind that cannot be merged; nothing is
            published.
    """
    snapshot = artifact.latest()
    if snapshot is None:
        return None
    merges = plan_compaction(snapshot, options=options)
    if not merges:
        return snapshot
    with artifact.pinned(snapshot.number):
        made, replaced = [], []
        for merge in merges:
            with suppress(NotFiniteError):  # parts of before such rows were refused: left alone
                made.append(copy_parts(artifact, merge.parts, check=check_finite))
                replaced += [part.part for part in merge.parts]
        note = f"compacted {len(replaced)} parts into {len(made)}"
        return artifact.publish(add=made, replace=replaced, note=note)


def _merges(parts: Sequence[PartRef], *, options: CompactionConfig) -> Iterator[Merge]:
    """Runs of neighbours worth merging. A part that is left alone ends a run: rows keep order."""
    for is_due, neighbours in groupby(parts, lambda part: _is_due(part.entry, options=options)):
        run = list(neighbours) if is_due else []
        if run and _is_worth(run, options=options):
            yield from _merges_of(run, options=options)


def _merges_of(run: Sequence[PartRef], *, options: CompactionConfig) -> Iterator[Merge]:
    target = min(options.target_mb, options.limit_mb) * _MIB
    group: list[PartRef] = []
    first = ("", "")
    for part, like in zip(run, at_once(run[0].artifact.root, _likeness, run), strict=True):
        fits = sum(other.entry.bytes for other in group) + part.entry.bytes <= target
        if group and not (fits and like == first):
            if _is_worth(group, options=options):
                yield Merge(tuple(group))
            group = []
        group.append(part)
        first = like if len(group) == 1 else first
    if _is_worth(group, options=options):
        yield Merge(tuple(group))


def _is_due(entry: Entry, *, options: CompactionConfig) -> bool:
    if not (entry.counts.planned or entry.dropped):
        return False  # no table of outcomes (a checkpoint): nothing to merge
    return entry.bytes < options.small_mb * _MIB or _is_hollow(entry, options=options)


def _is_hollow(entry: Entry, *, options: CompactionConfig) -> bool:
    gone = len(entry.dropped)
    return gone > options.superseded * (gone + entry.counts.planned)


def _likeness(part: PartRef) -> tuple[str, str]:
    """What parts that become one have alike: read from the receipt."""
    return part.receipt.schema, Path(part.part).suffix


def _is_worth(group: Sequence[PartRef], *, options: CompactionConfig) -> bool:
    hollow = any(_is_hollow(part.entry, options=options) for part in group)
    return hollow or len(group) >= options.least_parts
