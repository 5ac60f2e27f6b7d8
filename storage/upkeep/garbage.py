"""Removes what no kept snapshot reaches, and nothing that anybody may still publish or read.

What is younger than `min_age_seconds` is left alone (a writer may be about to publish it), as are
pinned snapshots and those that aliases stand for. The rest is written down, looked at once more,
and then deleted: see `storage.commits.retention` for why that is safe beside running writers and
readers.
"""

from __future__ import annotations

import dataclasses
import itertools
import shutil
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass

from reelvec.storage import layout
from reelvec.storage.at_once import at_once
from reelvec.storage.commits.aliases import kept_by_aliases
from reelvec.storage.commits.artifact import Artifact
from reelvec.storage.commits.retention import (
    Removal,
    finish_removal,
    pinned_numbers,
    removals_after,
    write_removal,
)
from reelvec.storage.derived import stale_of
from reelvec.storage.places.contract import Writer
from reelvec.storage.roots import Root
from reelvec.storage.upkeep.sparing import Left, spare, spare_scratch

__all__ = ["CHECKPOINT_GRACE_SECONDS", "Collected", "GcOptions", "gc", "gc_artifact"]

_DAY = 86_400.0
CHECKPOINT_GRACE_SECONDS = 120.0
"""How long a checkpoint no longer in force stays, for whoever is reading it without a pin."""

Writers = Callable[[], Sequence[Writer]]
"""Who writes in the store at this moment."""


@dataclass(frozen=True, slots=True)
class GcOptions:
    """What is kept."""

    keep_snapshots: int = 3
    """Newest snapshots of each artifact that are kept; at least 1."""
    min_age_seconds: float = _DAY
    """Unpublished files, and snapshots replaced by a newer one, are left alone for so long."""
    superseded_seconds: float | None = None
    """The same for snapshots alone, and for what was published and is in force no more; None: as
    long as min_age_seconds."""
    pin_expires_seconds: float = 30 * _DAY
    """A pin older than this belongs to a reader that was killed."""
    protect: frozenset[tuple[str, int]] = frozenset()
    """(fingerprint, snapshot number) pairs that are kept whatever their age."""
    unneeded: frozenset[tuple[str, str]] = frozenset()
    """(kind, fingerprint) of artifacts that only dropped runs had: all they hold goes, at once."""
    keep_moves: int = 3
    """Newest records of each alias whose snapshots are kept, so that it can be rolled back."""
    dry_run: bool = False
    """Only say what would be removed."""

    @property
    def superseded_for(self) -> float:
        """Seconds that what is superseded stays."""
        given = self.superseded_seconds
        return self.min_age_seconds if given is None else given

    def for_artifact(self, artifact: Artifact) -> GcOptions:
        """Those of one artifact: what a training superseded is promised to nobody."""
        if (artifact.kind, artifact.fingerprint) in self.unneeded:
            nothing: frozenset[tuple[str, int]] = frozenset()
            return dataclasses.replace(
                self, keep_snapshots=1, superseded_seconds=0.0, protect=nothing, keep_moves=1
            )
        if artifact.kind == "checkpoint":
            soon = min(self.superseded_for, CHECKPOINT_GRACE_SECONDS)
            return dataclasses.replace(self, keep_snapshots=1, superseded_seconds=soon)
        return self


@dataclass(frozen=True, slots=True)
class Collected:
    """What was (or, in a dry run, would be) removed from one artifact."""

    kind: str
    fingerprint: str
    snapshots: tuple[int, ...]
    files: tuple[str, ...]
    bytes: int
    left: tuple[Left, ...] = ()
    """What would have gone, but a writer may need it, or it lies behind a link."""


def gc(root: Root, *, options: GcOptions | None = None) -> list[Collected]:
    """Collects every artifact, and stray scratch files; answers for those with something to say.

    Beside writers it leaves what they may need, however small `min_age_seconds` is.

    Raises:
        IntegrityError: a snapshot is damaged, so that what it reaches is unknown; nothing of its
            artifact is removed.
    """
    options = options or GcOptions()
    collected = [
        gc_artifact(artifact, options=options, writers=root.writers)
        for artifact in Artifact.all(root)
    ]
    collected += [_collect_derived(artifact, options=options) for artifact in Artifact.all(root)]
    collected.append(_collect_scratch(root, options=options))
    return [found for found in collected if found.snapshots or found.files or found.left]


def _collect_derived(artifact: Artifact, *, options: GcOptions) -> Collected:
    """What was derived from snapshots that are gone; no reader loses what it has mapped."""
    stale = list(stale_of(artifact.root, artifact))
    if not options.dry_run:
        for one in stale:
            shutil.rmtree(one.folder, ignore_errors=True)
    files = tuple(file for one in stale for file in one.files)
    size = sum(one.bytes for one in stale)
    return Collected(artifact.kind, artifact.fingerprint, (), files, size)


def _collect_scratch(root: Root, *, options: GcOptions) -> Collected:
    names = root.list(layout.SCRATCH)
    left = tuple(spare_scratch(root, names, writers=root.writers()))
    stray = {f"{layout.SCRATCH}/{name}" for name in names} - {one.path for one in left}
    stray = set(_older(root, sorted(stray), seconds=options.min_age_seconds))
    size = _sizes(root, sorted(stray))
    if not options.dry_run:
        root.delete(*sorted(stray))
    return Collected("scratch", "", (), tuple(sorted(stray)), size, left)


def gc_artifact(artifact: Artifact, *, options: GcOptions, writers: Writers = tuple) -> Collected:
    """Collects one artifact, finishing first what a killed gc began.

    `writers` says who is at work, and is asked again once what shall go is written down: who
    begins after that sees it.
    """
    root, folder = artifact.root, artifact.folder
    unneeded = (artifact.kind, artifact.fingerprint) in options.unneeded
    options = options.for_artifact(artifact)
    if not options.dry_run:
        for removal in removals_after(root, folder, number=0):
            if not removal.done:
                root.sync(layout.removal(folder, removal.number))
                _carry_out(artifact, removal, options=options, writers=writers)
        if unneeded:
            _empty(artifact)
    latest = artifact.latest()
    numbers = artifact.numbers()
    retired = _retired(artifact, numbers, options=options)
    if unneeded and options.dry_run and latest is not None and latest.entries:
        retired |= {latest.number} - _in_use(
            artifact, options=options
        )  # as if it were emptied already
    reachable = _reachable(artifact, set(numbers) - retired)
    files = _unreachable(artifact, reachable, retired=retired, options=options)
    spared = spare(artifact, snapshots=retired, files=files, writers=writers())
    retired, files = set(spared.snapshots), sorted(spared.files)
    size = _sizes(root, [f"{folder}/{file}" for file in files])
    if not options.dry_run and (retired or files):
        try:
            removal = write_removal(
                root, folder, latest=latest.number if latest else 0, snapshots=retired, files=files
            )
        except FileExistsError:
            return Collected(artifact.kind, artifact.fingerprint, (), (), 0)  # another gc is at it
        removal = _carry_out(artifact, removal, options=options, writers=writers)
        retired, files = set(removal.snapshots), sorted(removal.files)
    return Collected(
        artifact.kind, artifact.fingerprint, tuple(sorted(retired)), tuple(files), size, spared.left
    )


def _empty(artifact: Artifact) -> None:
    """Publishes a snapshot that holds nothing, so that what there is goes like all superseded."""
    latest = artifact.latest()
    if latest is not None and latest.entries:
        artifact.publish(replace=[entry.part for entry in latest.entries], note="no run needs it")


def _retired(artifact: Artifact, numbers: list[int], *, options: GcOptions) -> set[int]:
    """Snapshots that may go: not among the newest, in use or protected, and replaced long ago."""
    root, folder = artifact.root, artifact.folder
    in_use = _in_use(artifact, options=options)
    retired = set()
    for number, newer in itertools.pairwise(numbers):
        kept = number in in_use or (artifact.fingerprint, number) in options.protect
        replaced_for = root.age_seconds(layout.snapshot(folder, newer))
        if not kept and replaced_for >= options.superseded_for:
            retired.add(number)
    return retired - set(numbers[-max(options.keep_snapshots, 1) :])


def _in_use(artifact: Artifact, *, options: GcOptions) -> set[int]:
    """Snapshots that readers hold on to, or that aliases stand for.

    Pins are looked at first: who moves an alias lets go of its pin when the record is written.
    """
    root, folder = artifact.root, artifact.folder
    pinned = pinned_numbers(root, folder, expires_seconds=options.pin_expires_seconds)
    unneeded = (artifact.kind, artifact.fingerprint) in options.unneeded
    seconds = 0.0 if unneeded else options.min_age_seconds
    named = kept_by_aliases(root, keep=options.keep_moves, seconds=seconds)
    return pinned | {number for fingerprint, number in named if fingerprint == artifact.fingerprint}


def _reachable(artifact: Artifact, numbers: Iterable[int]) -> set[str]:
    """Parts, receipts and layers of these snapshots."""
    parts: set[str] = set()
    layers: set[str] = set()
    for snapshot in map(artifact.at, numbers):
        parts.update(entry.part for entry in snapshot.entries)
        layers |= snapshot.layer_files
    return _files_of(parts) | layers


def _files_of(parts: Iterable[str]) -> set[str]:
    return {file for part in parts for file in (part, layout.receipt_of(part))}


def _unreachable(
    artifact: Artifact,
    reachable: Collection[str],
    *,
    retired: Collection[int],
    options: GcOptions,
) -> list[str]:
    """Files that nobody reaches and nobody touched for long, a part with its receipt."""
    root, folder = artifact.root, artifact.folder
    superseded = _reachable(artifact, retired) | _settled(artifact)
    groups: dict[str, list[str]] = {}
    for name in root.list(f"{folder}/parts"):
        groups.setdefault(layout.receipt_of(f"parts/{name}"), []).append(f"parts/{name}")
    for name in root.list(f"{folder}/receipts"):
        groups.setdefault(f"receipts/{name}", []).append(f"receipts/{name}")
    layers = [f"{layout.LAYERS}/{name}" for name in root.list(f"{folder}/{layout.LAYERS}")]
    groups |= {layer: [layer] for layer in layers}
    unused = [group for group in groups.values() if not any(file in reachable for file in group)]
    files: list[str] = []
    ages = ((True, options.superseded_for), (False, options.min_age_seconds))
    for was_published, seconds in ages:
        some = [g for g in unused if any(file in superseded for file in g) == was_published]
        paths = [f"{folder}/{file}" for group in some for file in group]
        older = set(_older(root, paths, seconds=seconds))
        files += [
            file
            for group in some
            if all(f"{folder}/{file}" in older for file in group)
            for file in group
        ]
    return sorted(files)


def _settled(artifact: Artifact) -> set[str]:
    """Parts that were published once and are in force no more, with their receipts."""
    latest = artifact.latest()
    return _files_of(latest.settled) if latest is not None else set()


def _carry_out(
    artifact: Artifact, removal: Removal, *, options: GcOptions, writers: Writers
) -> Removal:
    """Deletes what a removal lists, except what was published, pinned or named meanwhile."""
    root, folder = artifact.root, artifact.folder
    going = removal.snapshots - _in_use(artifact, options=options)
    in_use = _reachable(artifact, set(artifact.numbers()) - going)
    spared = spare(
        artifact,
        snapshots=going,
        files=removal.files - in_use,
        writers=writers(),
    )
    removal = dataclasses.replace(removal, snapshots=spared.snapshots, files=spared.files)
    root.delete(*(layout.snapshot(folder, number) for number in sorted(removal.snapshots)))
    root.delete(*(f"{folder}/{file}" for file in sorted(removal.files, reverse=True)))
    finish_removal(root, folder, removal)
    pins = [f"{folder}/pins/{name}" for name in root.list(f"{folder}/pins")]
    expired = _older(root, pins, seconds=options.pin_expires_seconds)
    root.delete(*(pin for pin in expired if not root.link_on(pin)))
    return removal


def _older(root: Root, paths: Sequence[str], *, seconds: float) -> list[str]:
    def is_older(path: str) -> bool:
        return root.exists(path) and root.age_seconds(path) >= seconds

    older = at_once(root, is_older, paths)
    return [path for path, is_one in zip(paths, older, strict=True) if is_one]


def _sizes(root: Root, paths: Sequence[str]) -> int:
    """Bytes of all of them that are there."""
    return sum(at_once(root, lambda path: root.size(path) if root.exists(path) else 0, paths))
