"""Makes a damaged store valid again: what cannot be trusted leaves it, so that a run redoes it.

Nothing is invented. A damaged part, or one whose receipt is damaged, is taken out of force; the
next run then misses exactly its inputs. A damaged snapshot is replaced by the one before it (or,
where there is none, by what the receipts say), and the next run adopts what that one lacks. The
damaged files are set aside under ``.damaged/``. No writer may be at work meanwhile.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from reelvec.storage import layout
from reelvec.storage.commits.aliases import mend_alias
from reelvec.storage.commits.artifact import Artifact, Snapshot
from reelvec.storage.commits.merging import Entry
from reelvec.storage.commits.receipts import Receipt, check_receipt, read_receipt
from reelvec.storage.commits.retention import removals_after, retire_snapshot
from reelvec.storage.errors import RefusedError, StoreError
from reelvec.storage.roots import Root
from reelvec.storage.sealing import seal, unseal
from reelvec.storage.tables import identity_of
from reelvec.storage.upkeep.verify import Damage, verify_artifact, verify_records

__all__ = ["Repair", "Together", "repair_store"]

Together = Callable[[Snapshot, frozenset[str]], frozenset[str]]
"""Parts that leave force with the damaged ones, since without these they would mislead."""


@dataclass(frozen=True, slots=True)
class Repair:
    """One damage, and what was done about it."""

    damage: Damage
    done: str


def repair_store(root: Root, *, together: Together = lambda _, parts: parts) -> list[Repair]:
    """Repairs everything `verify_store` finds; an empty list: it found nothing.

    Raises:
        StoreError: the store cannot be written.
    """
    repairs = [
        repair for artifact in Artifact.all(root) for repair in _repair(artifact, together=together)
    ]
    for damage in verify_records(root):
        if damage.kind == layout.RUNS:
            _set_aside(root, damage.path)
            repairs.append(Repair(damage, "set aside; the runs before it are known"))
        elif damage.kind == layout.DROPS:
            _set_aside(root, damage.path)
            repairs.append(Repair(damage, "set aside; drop the runs it named again"))
        elif damage.kind == layout.FORGOTTEN:
            _set_aside(root, damage.path)
            said = "set aside; `reelvec forget` the videos it named again, or runs take them in"
            repairs.append(Repair(damage, said))
        elif damage.kind == layout.ALIASES:
            repairs.append(Repair(damage, _mend_alias(root, damage.path)))
        elif damage.kind == layout.FORMATS:
            repairs.append(Repair(damage, _mend_format(root, damage.path)))
    return repairs


def _repair(artifact: Artifact, *, together: Together) -> list[Repair]:
    """Small files first, since what is in force is known through them; then receipts and parts."""
    damages = verify_artifact(artifact)
    repairs: list[Repair] = []
    for place, mend in (
        ("identity.json", _mend_identity),
        ("removals", _mend_removal),
        ("pins", _mend_pin),
    ):
        for damage in damages:
            if _place(artifact, damage) == place:
                repairs.append(Repair(damage, mend(artifact, damage.path)))
    artifact = Artifact(artifact.root, kind=artifact.kind, fingerprint=artifact.fingerprint)
    if repairs:
        damages = verify_artifact(artifact)
    snapshots = [damage for damage in damages if _place(artifact, damage) == "snapshots"]
    if snapshots:
        repairs += _mend_snapshots(artifact, snapshots)
        damages = verify_artifact(artifact)
    contents = [d for d in damages if _place(artifact, d) in ("parts", "receipts")]
    if contents:
        repairs += _take_out(artifact, contents, together=together)
    return repairs


def _place(artifact: Artifact, damage: Damage) -> str:
    return damage.path.removeprefix(f"{artifact.folder}/").partition("/")[0]


def _set_aside(root: Root, *paths: str) -> None:
    """Moves files out of the way of readers, by copy and delete (no root renames)."""
    for path in paths:
        if root.exists(path):
            try:
                root.put_file(layout.damaged(path), root.local_path(path))
            except RefusedError:
                raise
            except StoreError:
                pass  # the disk cannot read it, so there is nothing to keep
            root.delete(path)


def _mend_identity(artifact: Artifact, path: str) -> str:
    """Restore the identity from a table; its fingerprint, the folder's name, proves it right."""
    _set_aside(artifact.root, path)
    for name in artifact.root.list(f"{artifact.folder}/parts"):
        identity = identity_of(artifact.root.local_path(f"{artifact.folder}/parts/{name}"))
        if identity is not None and layout.fingerprint(identity) == artifact.fingerprint:
            artifact.root.put_new(path, seal(identity, indent=2))
            return f"written anew from {name}"
    return "set aside; the next run of this identity writes it anew"


def _mend_pin(artifact: Artifact, path: str) -> str:
    """Write a pin anew from its name, which says all; a reader may still count on it."""
    _set_aside(artifact.root, path)
    number = layout.number_of(path.rpartition("/")[2])
    artifact.root.put_new(path, seal({"pinned": number}))
    return "written anew from its name"


def _mend_alias(root: Root, path: str) -> str:
    """Keep a copy of the damaged record, and its number: a lower one must not come into force."""
    root.put_file(layout.damaged(path), root.local_path(path))
    return mend_alias(root, path)


def _mend_format(root: Root, path: str) -> str:
    """Write the record anew from its name, at once: its absence would mean something else."""
    number = layout.number_of(path.rpartition("/")[2])
    _set_aside(root, path)
    if number is None:
        return "set aside; its name is none of ours"
    root.put_new(path, seal({"format": number}))
    return "written anew from its name"


def _mend_removal(artifact: Artifact, path: str) -> str:
    """Write a removal anew: from its other file once gc is done, else from the store itself."""
    root, folder = artifact.root, artifact.folder
    number = layout.number_of(path.rpartition("/")[2]) or 0
    intent, done = layout.removal(folder, number), layout.removal(folder, number, done=True)
    body = _body_of(root, intent) or _body_of(root, done)
    if body is None:
        there = {layout.number_of(name) or 0 for name in root.list(f"{folder}/snapshots")}
        latest = max(there, default=0)
        body = {
            "latest": latest,
            "snapshots": sorted(set(range(1, latest)) - there),
            "files": [],  # those gc has deleted are gone, those it has not are found again
        }
    _set_aside(root, path)
    if path == done:
        body["snapshots"] = [
            n for n in body["snapshots"] if not root.exists(layout.snapshot(folder, n))
        ]
        body["files"] = [file for file in body["files"] if not root.exists(f"{folder}/{file}")]
    root.put_new(path, seal(body))
    return "written anew from what is there and what is gone"


def _body_of(root: Root, path: str) -> dict[str, Any] | None:
    try:
        return unseal(root.read(path), path=path)
    except RefusedError:
        raise
    except StoreError:
        return None


def _mend_snapshots(artifact: Artifact, damages: Iterable[Damage]) -> list[Repair]:
    """The newest is replaced under its number; an older one is retired, as gc would."""
    root, folder = artifact.root, artifact.folder
    damaged = {layout.number_of(d.path.rpartition("/")[2]) or 0: d for d in damages}
    numbers = artifact.numbers()
    latest = numbers[-1]
    repairs = []
    for number, damage in damaged.items():
        _set_aside(root, damage.path)
        if number != latest:
            retire_snapshot(root, folder, number=number, latest=latest)
            repairs.append(Repair(damage, "set aside; newer snapshots hold what is in force"))
    if latest in damaged:
        before = [number for number in numbers if number not in damaged]
        base = artifact.at(before[-1]) if before else None
        root.put_new(layout.snapshot(folder, latest), seal(_rebuilt(artifact, latest, base=base)))
        source = f"snapshot {base.number}" if base else "the receipts"
        repairs.append(Repair(damaged[latest], f"made anew from {source}; a run adopts the rest"))
    return repairs


def _rebuilt(artifact: Artifact, number: int, *, base: Snapshot | None) -> dict[str, Any]:
    entries = base.entries if base else _entries_of_receipts(artifact)
    return {
        "number": number,
        "parent": base.number if base else 0,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "entries": [entry.to_json() for entry in entries],
        "settled": sorted(base.settled) if base else [],
        "removals": base.removals if base else _removals_done(artifact),
        "note": "repaired",
    }


def _removals_done(artifact: Artifact) -> int:
    number = 0
    for removal in removals_after(artifact.root, artifact.folder, number=0):
        if not removal.done:
            break
        number = removal.number
    return number


def _entries_of_receipts(artifact: Artifact) -> tuple[Entry, ...]:
    """Every whole part, oldest first; of a key that several hold, the newest has it.

    Which rows were superseded is lost with the snapshots. The newest is the best guess, and a
    wrong one costs work only: the next run compares every row with what it was made from.
    """
    root, folder = artifact.root, artifact.folder
    aged: list[tuple[float, Receipt]] = []
    for name in root.list(f"{folder}/receipts"):
        path = f"{folder}/receipts/{name}"
        try:
            receipt = read_receipt(root, folder, f"receipts/{name}")
            check_receipt(receipt)
            artifact.verified_path(receipt.part, size=receipt.bytes, checksum=receipt.checksum)
        except RefusedError:
            raise
        except StoreError:
            continue
        aged.append((root.age_seconds(path), receipt))
    root.sync(*(f"{folder}/{receipt.path}" for _, receipt in aged))
    taken: dict[str, set[str]] = {}
    entries: list[Entry] = []
    for _, receipt in sorted(aged, key=lambda pair: pair[0]):
        known = taken.setdefault(receipt.table, set())
        dropped = known.intersection(receipt.keys)
        known.update(receipt.keys)
        if len(dropped) < len(receipt.keys) or not receipt.keys:
            entries.append(Entry.of(receipt, dropped=dropped))
    return tuple(reversed(entries))


def _take_out(
    artifact: Artifact, damages: Collection[Damage], *, together: Together
) -> list[Repair]:
    """Damaged parts out of force, snapshots that can never be whole again retired."""
    root, folder = artifact.root, artifact.folder
    damaged = frozenset(damage.part for damage in damages if damage.part)
    latest = artifact.latest()
    if latest is not None:
        in_force = damaged & {entry.part for entry in latest.entries}
        if in_force:
            replaced = together(latest, in_force)
            latest = artifact.publish(replace=replaced, note=f"repair: {len(replaced)} parts out")
        for number in artifact.numbers():
            if number != latest.number and _holds(artifact.at(number), damaged):
                retire_snapshot(root, folder, number=number, latest=latest.number)
    repairs = []
    for damage in damages:
        part = damage.part
        if part:
            _set_aside(root, f"{folder}/{part}", f"{folder}/{layout.receipt_of(part)}")
        else:
            _set_aside(root, *_orphan_files(artifact, damage.path))
        redo = "out of force; a run redoes its inputs" if damage.keys else "set aside"
        repairs.append(Repair(damage, redo))
    return repairs


def _holds(snapshot: Snapshot, parts: frozenset[str]) -> bool:
    return not parts.isdisjoint(entry.part for entry in snapshot.entries)


def _orphan_files(artifact: Artifact, path: str) -> list[str]:
    """A damaged file no snapshot holds, with the receipt that promises it."""
    name = path.removeprefix(f"{artifact.folder}/")
    if name.startswith("parts/"):
        return [path, f"{artifact.folder}/{layout.receipt_of(name)}"]
    return [path]
