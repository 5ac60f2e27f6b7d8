"""Snapshots as a reader sees them: one numbered snapshot, and its parts.

A snapshot never changes, so everything read through it belongs together, whatever is published
meanwhile.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import Any, Protocol

from reelvec.storage import layout
from reelvec.storage.commits.keys import KeyIndex
from reelvec.storage.commits.layers import Item, Layer, LayerCache
from reelvec.storage.commits.merging import Entry
from reelvec.storage.commits.receipts import Counts, Receipt
from reelvec.storage.errors import IntegrityError, MissingArtifactError
from reelvec.storage.layout import canonical
from reelvec.storage.records import Outcome
from reelvec.storage.roots import Root
from reelvec.storage.sealing import checksum_of_bytes

__all__ = ["PartRef", "ReadableArtifact", "Snapshot", "lost"]


class ReadableArtifact(Protocol):
    """What snapshots, and those who publish the next one, ask of their artifact.

    `commits.artifact.Artifact` is one; naming only this much here keeps imports one-way.
    """

    root: Root
    kind: str
    fingerprint: str
    folder: str
    keys: KeyIndex
    layers: LayerCache

    @property
    def identity(self) -> dict[str, Any]:
        """The identity in clear."""

    def latest(self) -> Snapshot | None:
        """The snapshot published last; None before the first."""

    def at(self, number: int) -> Snapshot:
        """Snapshot `number`."""

    def receipt(self, path: str) -> Receipt:
        """The receipt at `path` below the artifact's folder."""

    def verified_path(self, part: str, *, size: int, checksum: str) -> Path:
        """A local file with the bytes of `part`, verified the first time it is asked for."""


@contextmanager
def lost(artifact: ReadableArtifact, path: str) -> Iterator[None]:
    """Says of a file in force (below the artifact's folder) that is gone what brings it back.

    Raises:
        MissingArtifactError: it is gone.
    """
    try:
        yield
    except MissingArtifactError as error:
        uri = artifact.root.uri
        raise MissingArtifactError(
            f"{uri}/{artifact.folder}/{path} is in force and gone: `reelvec repair --store {uri}` "
            "has it made again, `reelvec verify` names what else is lost",
            path=path,
        ) from error


class PartRef:
    """One part of a snapshot: where it is, what it promises, and which of its keys are out."""

    def __init__(self, artifact: ReadableArtifact, entry: Entry) -> None:
        self.artifact = artifact
        self.entry = entry

    @property
    def part(self) -> str:
        """Path below the artifact's folder."""
        return self.entry.part

    @property
    def dropped(self) -> frozenset[str]:
        """Keys of this part that are not in force."""
        return self.entry.dropped

    @property
    def receipt(self) -> Receipt:
        """The receipt, with every input.

        Raises:
            IntegrityError: it is not the one that was published.
        """
        path = layout.receipt_of(self.entry.part)
        with lost(self.artifact, path):
            receipt = self.artifact.receipt(path)
        if receipt.seal != self.entry.seal:
            raise IntegrityError(
                f"{self.artifact.folder}/{path} is not the receipt that was published "
                f"(checksum {receipt.seal}, not {self.entry.seal})",
                path=path,
            )
        return receipt

    @property
    def path(self) -> Path:
        """A local file with the part's bytes, their checksum verified on first open.

        Raises:
            IntegrityError: the bytes are not what the receipt promised.
            MissingArtifactError: the part is gone.
        """
        entry = self.entry
        with lost(self.artifact, entry.part):
            return self.artifact.verified_path(
                entry.part, size=entry.bytes, checksum=entry.checksum
            )

    def outcomes(self) -> Iterator[Outcome]:
        """Ledger rows in force."""
        return (row for row in self.receipt.outcomes if row.key not in self.entry.dropped)

    def __repr__(self) -> str:
        return f"PartRef({self.artifact.folder}/{self.entry.part})"


def _entries_of(item: Item) -> tuple[Entry, ...]:
    return item.entries if isinstance(item, Layer) else (item,)


class Snapshot:
    """What was in force when snapshot `number` of an artifact was published."""

    def __init__(self, artifact: ReadableArtifact, body: Mapping[str, Any]) -> None:
        self.artifact = artifact
        self.number: int = body["number"]
        self.note: str = body["note"]
        self.created: str = body["created"]
        self.removals: int = body["removals"]
        self.settled: frozenset[str] = frozenset(body["settled"])
        self.prepared: Mapping[str, str] = body.get("prepared", {})
        """Seal by path of layers that a later snapshot may use, if gc has left them."""
        items = [self._item(written) for written in body["entries"]]
        self.layers = tuple(item for item in items if isinstance(item, Layer))
        self.entries: tuple[Entry, ...] = tuple(chain.from_iterable(map(_entries_of, items)))

    def _item(self, written: Mapping[str, Any]) -> Item:
        if "layer" in written:
            return self.artifact.layers.get(written["layer"], promised=written["seal"])
        return Entry.from_json(written)

    @property
    def layer_files(self) -> frozenset[str]:
        """Paths below the artifact's folder of the layers that it uses or has prepared."""
        return frozenset(layer.path for layer in self.layers) | frozenset(self.prepared)

    @property
    def receipts(self) -> tuple[Receipt, ...]:
        """Receipts of all parts, read whole: on large stores iterate `parts` instead."""
        return tuple(part.receipt for part in self.parts())

    def parts(self, table: str | None = None) -> list[PartRef]:
        """Parts in force, in the order of publication; of one table when it is named."""
        return [
            PartRef(self.artifact, entry)
            for entry in self.entries
            if table is None or entry.table == table
        ]

    def outcomes(self, table: str | None = None) -> Iterator[Outcome]:
        """Ledger rows in force, part by part (superseded keys left out)."""
        for part in self.parts(table):
            yield from part.outcomes()

    def live(self, table: str) -> dict[str, Outcome]:
        """Ledger rows in force by key."""
        return {row.key: row for row in self.outcomes(table)}

    def counts(self, table: str | None = None) -> Counts:
        """How many inputs are in force, and what became of them (no receipt is read)."""
        chosen = (e.counts for e in self.entries if table is None or e.table == table)
        return sum(chosen, Counts())

    def rows_of(self, table: str) -> int:
        """Data rows of a table in force."""
        return sum(entry.rows for entry in self.entries if entry.table == table)

    @property
    def tables(self) -> tuple[str, ...]:
        return tuple(sorted({entry.table for entry in self.entries}))

    @property
    def rows(self) -> int:
        """Data rows in force over all tables."""
        return sum(entry.rows for entry in self.entries)

    @property
    def bytes(self) -> int:
        """Bytes of all parts in force, superseded rows included."""
        return sum(entry.bytes for entry in self.entries)

    @cached_property
    def checksum(self) -> str:
        """xxh3-128 of what is in force, whatever the names and the order of publication.

        A resumed run and an uninterrupted one end with equal checksums.
        """
        content = [[e.table, e.shard, e.checksum, sorted(e.dropped)] for e in self.entries]
        return checksum_of_bytes(canonical({"content": sorted(content)}))

    def __repr__(self) -> str:
        return f"Snapshot({self.artifact.folder}, {self.number})"
