"""Removals and pins: how gc and the other processes tell each other what is in use.

gc writes down what it is about to delete before it deletes anything, then looks again at what
was published and pinned meanwhile. A publisher or reader does the opposite: publishes or pins,
then looks at the removals. Whatever the interleaving, at least one of the two sees the other, so
nothing in use is ever deleted unnoticed, without locks and without trusting clocks.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass

from reelvec.storage import layout
from reelvec.storage.errors import IntegrityError
from reelvec.storage.roots import Root
from reelvec.storage.sealing import seal, unseal

__all__ = [
    "Removal",
    "finish_removal",
    "last_removal",
    "pinned_numbers",
    "removals_after",
    "retire_snapshot",
    "write_removal",
]


@dataclass(frozen=True, slots=True)
class Removal:
    """Snapshot numbers and files (below the artifact's folder) gc wants to delete.

    `latest` is the newest snapshot when it was written. Once `done`, both lists hold only what
    was deleted: what turned out to be in use by then is left out, and stays.
    """

    number: int
    latest: int
    snapshots: frozenset[int]
    files: frozenset[str]
    done: bool


def last_removal(root: Root, folder: str) -> Removal | None:
    """The newest removal; None where gc never removed anything."""
    hint = [layout.number_of(name) or 0 for name in root.list(f"{folder}/removals")]
    newer = removals_after(root, folder, number=max(hint, default=0) - 1)
    return newer[-1] if newer else None


def removals_after(root: Root, folder: str, *, number: int) -> list[Removal]:
    """Removals with a larger number, oldest first, found by probing (no listing is trusted)."""
    removals: list[Removal] = []
    number = max(number, 0) + 1
    while root.exists(layout.removal(folder, number)):
        removals.append(_read_removal(root, folder, number))
        number += 1
    return removals


def _read_removal(root: Root, folder: str, number: int) -> Removal:
    intent, carried_out = layout.removal(folder, number), layout.removal(folder, number, done=True)
    done = root.exists(carried_out)
    try:
        path = carried_out if done else intent
        body = unseal(root.read(path), path=path)
    except IntegrityError:
        if not done:
            raise
        body = unseal(root.read(intent), path=intent)  # what was wanted covers what was done
    return Removal(
        number=number,
        latest=body["latest"],
        snapshots=frozenset(body["snapshots"]),
        files=frozenset(body["files"]),
        done=done,
    )


def write_removal(
    root: Root,
    folder: str,
    *,
    latest: int,
    snapshots: Collection[int],
    files: Sequence[str],
) -> Removal:
    """Writes down what is going to be deleted, before anything is deleted.

    Raises:
        FileExistsError: another gc wrote one at the same moment.
    """
    last = last_removal(root, folder)
    number = last.number + 1 if last else 1
    body = {"latest": latest, "snapshots": sorted(snapshots), "files": sorted(files)}
    root.put_new(layout.removal(folder, number), seal(body))
    return Removal(number, latest, frozenset(snapshots), frozenset(files), done=False)


def finish_removal(root: Root, folder: str, removal: Removal) -> None:
    """Says that everything `removal` lists is deleted."""
    body = {
        "latest": removal.latest,
        "snapshots": sorted(removal.snapshots),
        "files": sorted(removal.files),
    }
    with suppress(FileExistsError):  # another gc carried it out at the same time
        root.put_new(layout.removal(folder, removal.number, done=True), seal(body))


def retire_snapshot(root: Root, folder: str, *, number: int, latest: int) -> None:
    """Removes one snapshot that a newer one has replaced."""
    while True:
        try:
            removal = write_removal(root, folder, latest=latest, snapshots=[number], files=[])
        except FileExistsError:
            continue  # gc wrote one at this moment: take the next number
        root.delete(layout.snapshot(folder, number))
        finish_removal(root, folder, removal)
        return


def pinned_numbers(root: Root, folder: str, *, expires_seconds: float) -> set[int]:
    """Snapshots readers hold on to; a pin older than the limit belongs to a dead reader."""
    numbers: set[int] = set()
    for name in root.list(f"{folder}/pins"):
        number = layout.number_of(name)
        path = f"{folder}/pins/{name}"
        if number is not None and root.exists(path) and root.age_seconds(path) < expires_seconds:
            numbers.add(number)
    return numbers
