"""Rows taken out of an artifact for good: no snapshot and no file of it holds them afterwards.

In three steps, each of which may be killed and done again: parts in force that hold such rows are
written anew without them and published (`rewrite`); what stood for the snapshots of before is moved
by whoever knows of it; then these snapshots, their pins, the parts and receipts go (`remove`), in
gc's own protocol, so that publishers and gc see it. Other rows keep their bits and their order.

No writer may be at work meanwhile. A reader of a removed snapshot keeps what it has mapped, and is
told that the rest is gone.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property

from reelvec.storage import layout
from reelvec.storage.at_once import at_once
from reelvec.storage.commits.artifact import Artifact, Snapshot
from reelvec.storage.commits.receipts import ledger_columns
from reelvec.storage.commits.retention import finish_removal, write_removal
from reelvec.storage.errors import IntegrityError, MissingArtifactError
from reelvec.storage.upkeep.copying import copy_parts, without

__all__ = ["Erasure", "Holder", "remove", "rewrite"]


class Holder:
    """An artifact with everything that lies in its folder, whatever a snapshot says of it."""

    def __init__(self, artifact: Artifact) -> None:
        self.artifact = artifact

    @cached_property
    def snapshots(self) -> tuple[Snapshot, ...]:
        """Those that are kept, oldest first.

        Raises:
            IntegrityError: one is damaged, so that what it holds is not known.
        """
        return tuple(self.artifact.at(number) for number in self.artifact.numbers())

    @property
    def latest(self) -> Snapshot | None:
        """The one in force."""
        return self.snapshots[-1] if self.snapshots else None

    @cached_property
    def named(self) -> frozenset[str]:
        """Parts that a kept snapshot names."""
        return frozenset(entry.part for one in self.snapshots for entry in one.entries)

    @cached_property
    def parts(self) -> frozenset[str]:
        """Parts that are there, below the artifact's folder."""
        return frozenset(f"parts/{name}" for name in self._list("parts"))

    @cached_property
    def receipts(self) -> frozenset[str]:
        """Receipts that are there."""
        return frozenset(f"receipts/{name}" for name in self._list("receipts"))

    @property
    def tables(self) -> frozenset[str]:
        """Of which something is there."""
        return frozenset(map(layout.table_of, self.parts | self.receipts))

    def listed(self, receipt: str) -> list[str]:
        """Keys of a receipt, which is read and not kept.

        Raises:
            IntegrityError, MissingArtifactError: it is damaged, or gone.
        """
        columns, _ = ledger_columns(self.artifact.root, self.artifact.folder, receipt)
        return columns["key"]

    def _list(self, folder: str) -> list[str]:
        return self.artifact.root.list(f"{self.artifact.folder}/{folder}")


@dataclass(frozen=True, kw_only=True)
class Erasure:
    """What of an artifact goes."""

    holder: Holder
    keys: Mapping[str, frozenset[str]] = field(default_factory=dict)
    """By table: rows that go, wherever they are."""
    tables: frozenset[str] = frozenset()
    """Tables that go whole."""

    @cached_property
    def hits(self) -> Mapping[str, frozenset[str]]:
        """Keys that go, by the receipt that lists them; every receipt is read, and none kept.

        A receipt that cannot be read, one that has lost its part, and a part without receipt go
        too where no snapshot names them: nobody adopts them, nor can say what they are of.

        Raises:
            IntegrityError, MissingArtifactError: that of a part which a snapshot names cannot.
        """
        holder, found = self.holder, dict[str, frozenset[str]]()
        needed = {layout.receipt_of(part) for part in holder.named}
        whole = needed | (holder.receipts & set(map(layout.receipt_of, holder.parts)))
        strays = (holder.receipts | set(map(layout.receipt_of, holder.parts))) - whole
        found.update(dict.fromkeys(strays, frozenset[str]()))

        def hit_in(path: str) -> frozenset[str] | None:
            try:
                listed = holder.listed(path)
            except (IntegrityError, MissingArtifactError):
                if path in needed:
                    raise
                return frozenset()
            if layout.table_of(path) in self.tables:
                return frozenset(listed)
            return self.keys.get(layout.table_of(path), frozenset()).intersection(listed) or None

        paths = sorted(whole)
        hits = zip(paths, at_once(holder.artifact.root, hit_in, paths), strict=True)
        return found | {path: hit for path, hit in hits if hit is not None}

    def holds(self, part: str) -> bool:
        """Whether a part holds any of it."""
        return layout.receipt_of(part) in self.hits

    @cached_property
    def snapshots(self) -> frozenset[int]:
        """Numbers of kept snapshots that name a part which holds any of it."""
        kept = self.holder.snapshots
        return frozenset(one.number for one in kept if any(self.holds(e.part) for e in one.entries))

    @cached_property
    def files(self) -> frozenset[str]:
        """Parts and receipts that go, below the artifact's folder, as far as they are there."""
        parts = {part for part in self.holder.parts if self.holds(part)}
        return frozenset(parts) | (self.holder.receipts & set(self.hits))

    @property
    def parts(self) -> int:
        """How many hold any of it."""
        return len(self.hits)

    @property
    def rows(self) -> int:
        """Rows in force that go."""
        latest = self.holder.latest
        return sum(
            len(self.hits[layout.receipt_of(entry.part)] - entry.dropped)
            for entry in (latest.entries if latest else ())
            if self.holds(entry.part)
        )

    @cached_property
    def bytes(self) -> int:
        """Of the files that go; rewritten rows of others among them."""
        artifact = self.holder.artifact
        return sum(artifact.root.size(f"{artifact.folder}/{file}") for file in self.files)


def rewrite(erasure: Erasure, *, note: str) -> None:
    """Publish the artifact without these rows; nothing where none of them is in force.

    Raises:
        IntegrityError: a part is damaged; nothing is published.
        StoreError: no room for the new parts.
    """
    artifact, latest = erasure.holder.artifact, erasure.holder.latest
    touched = [p for p in (latest.parts() if latest else ()) if erasure.holds(p.part)]
    if latest is None or not touched:
        return
    made = []
    for part in touched:
        if part.entry.table in erasure.tables:
            continue
        left = without(part, erasure.keys[part.entry.table])
        if any(True for _ in left.outcomes()):
            made.append(copy_parts(artifact, [left]))
    artifact.publish(add=made, replace=[part.part for part in touched], note=note)


def remove(erasure: Erasure) -> None:
    """Delete what held the rows, once `rewrite` has published the artifact without them.

    Raises:
        StoreError: a file cannot be deleted.
    """
    artifact = erasure.holder.artifact
    root, folder = artifact.root, artifact.folder
    latest, going = artifact.latest(), erasure.snapshots
    staying = [artifact.at(number) for number in artifact.numbers() if number not in going]
    kept = {entry.part for one in staying for entry in one.entries}
    layers = {f"{layout.LAYERS}/{name}" for name in root.list(f"{folder}/{layout.LAYERS}")}
    layers -= {path for one in staying for path in one.layer_files}  # they name keys, too
    files = (erasure.files - kept - {layout.receipt_of(part) for part in kept}) | layers
    if not going and not files:
        return
    while True:
        try:
            removal = write_removal(
                root,
                folder,
                latest=latest.number if latest else 0,
                snapshots=going,
                files=sorted(files),
            )
        except FileExistsError:
            continue  # gc wrote one at this moment: take the next number
        break
    root.delete(*(layout.snapshot(folder, number) for number in sorted(going)))
    root.delete(*_pins(artifact, going))
    # receipts before parts, as gc does: a receipt without its part would be a damage
    root.delete(*(f"{folder}/{file}" for file in sorted(files, reverse=True)))
    finish_removal(root, folder, removal)


def _pins(artifact: Artifact, numbers: Collection[int]) -> Iterable[str]:
    for name in artifact.root.list(f"{artifact.folder}/pins"):
        if layout.number_of(name) in numbers:
            yield f"{artifact.folder}/pins/{name}"
