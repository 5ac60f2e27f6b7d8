"""What gc leaves though no kept snapshot reaches it: what a live writer may need, and links.

A process that began to write some seconds ago has seen snapshots that were in force since, and
nothing older. Its own parts are younger than it is; parts of others that nobody has published it
may be about to adopt, whatever their age.
"""

from __future__ import annotations

import itertools
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass

from reelvec.storage import layout
from reelvec.storage.at_once import at_once
from reelvec.storage.commits.artifact import Artifact
from reelvec.storage.places.contract import Writer
from reelvec.storage.roots import Root

__all__ = ["Left", "Spared", "spare", "spare_scratch"]


@dataclass(frozen=True, slots=True)
class Left:
    """A file (below the root) that gc found and left, and why."""

    path: str
    why: str


@dataclass(frozen=True, slots=True)
class Spared:
    """What may go of what was to go, and what is left."""

    snapshots: frozenset[int]
    files: frozenset[str]
    left: tuple[Left, ...]


def spare(
    artifact: Artifact,
    *,
    snapshots: Collection[int],
    files: Collection[str],
    writers: Sequence[Writer],
) -> Spared:
    """Takes from what is to go of an artifact what writers may need, and what lies behind links.

    Args:
        artifact: whose.
        snapshots: numbers that are to go.
        files: parts and receipts that are to go, below its folder.
        writers: who is at work, asked for after the files were listed.
    """
    if not snapshots and not files:
        return Spared(frozenset(), frozenset(), ())
    root, folder = artifact.root, artifact.folder
    left: list[Left] = []
    numbers = artifact.numbers()
    next_of = dict(itertools.pairwise(numbers))
    kept: set[int] = set()
    needed: dict[str, str] = {}  # files of snapshots that are kept, and why those are
    for number in sorted(snapshots):
        path = layout.snapshot(folder, number)
        replaced = layout.snapshot(folder, next_of.get(number, number))
        why = _why_left(root, path, age_of=replaced, writers=writers)
        if why and root.exists(path):
            kept.add(number)
            left.append(Left(path, why))
            needed |= dict.fromkeys(_files_of(artifact, [number]), why)
    published = _files_of(artifact, numbers) | _settled(artifact)

    def why_young(file: str) -> str:
        path = f"{folder}/{file}"
        return _why_left(root, path, age_of=path, writers=writers)

    asked = sorted(files)
    young = dict(zip(asked, at_once(root, why_young, asked), strict=True))
    gone: set[str] = set()
    for group in _with_their_receipts(files):
        reasons = [needed.get(file, "") for file in group]
        paths = [f"{folder}/{file}" for file in group]
        reasons += [young[file] for file in group]
        if published.isdisjoint(group):
            reasons += [f"not published yet, and {_says(w)}" for w in writers if w.known]
        why = next(filter(None, reasons), "")
        if why:
            left += [Left(path, why) for path in paths]
        else:
            gone.update(group)
    return Spared(frozenset(snapshots) - kept, frozenset(gone), tuple(left))


def _with_their_receipts(files: Iterable[str]) -> Iterable[list[str]]:
    """Parts and receipts in groups that go or stay together."""
    groups: dict[str, list[str]] = {}
    for file in sorted(files):
        key = layout.receipt_of(file) if file.startswith("parts/") else file
        groups.setdefault(key, []).append(file)
    return groups.values()


def spare_scratch(root: Root, names: Iterable[str], *, writers: Sequence[Writer]) -> Iterator[Left]:
    """Files in the making that stay, and whatever lies among them that is not the store's."""
    for name in names:
        path = f"{layout.SCRATCH}/{name}"
        why = _why_left(root, path, age_of=path, writers=writers)
        if not why and not layout.is_scratch(name):
            why = "it is no file of a store's"
        if why:
            yield Left(path, why)


def _why_left(root: Root, path: str, *, age_of: str, writers: Sequence[Writer]) -> str:
    if link := root.link_on(path):
        return f"{link} is a symbolic link, which no store has: nothing behind it is removed"
    oldest = max(writers, key=lambda writer: writer.seconds, default=None)
    if oldest is None or not root.exists(age_of) or root.age_seconds(age_of) > oldest.seconds + 1:
        return ""
    return _says(oldest)


def _says(writer: Writer) -> str:
    verb = "has been" if writer.known else "may have been"
    return f"{writer.who} {verb} writing here for {_time(writer.seconds)}"


def _time(seconds: float) -> str:
    for unit, length in (("hours", 3600.0), ("minutes", 60.0)):
        if seconds >= 2 * length:
            return f"{seconds / length:.0f} {unit}"
    return f"{seconds:.0f} seconds"


def _files_of(artifact: Artifact, numbers: Iterable[int]) -> set[str]:
    """Parts, receipts and layers of snapshots, as far as they are there."""
    root, folder = artifact.root, artifact.folder
    files: set[str] = set()
    for number in numbers:
        if root.exists(layout.snapshot(folder, number)):
            snapshot = artifact.at(number)
            files |= _with_receipts(entry.part for entry in snapshot.entries)
            files |= snapshot.layer_files
    return files


def _settled(artifact: Artifact) -> set[str]:
    latest = artifact.latest()
    return _with_receipts(latest.settled) if latest is not None else set()


def _with_receipts(parts: Iterable[str]) -> set[str]:
    return {file for part in parts for file in (part, layout.receipt_of(part))}
