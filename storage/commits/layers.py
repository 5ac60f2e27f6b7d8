"""Layers: entries that many snapshots share, in files of their own beside them.

A snapshot of thousands of parts names layers, each the entries of up to a thousand parts in their
order, and holds the others itself: what it costs is what it adds. A layer is written and named by
one publication, which holds its entries all the same, and used by a later one: by then gc spares it
as it spares the parts that a snapshot names. So no snapshot ever needs a file that might be
collected before it is published, and a kill between the two leaves a file that nobody needs.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from reelvec.storage import layout
from reelvec.storage.commits.columns import pack, unpack
from reelvec.storage.commits.merging import Entry
from reelvec.storage.errors import IntegrityError
from reelvec.storage.roots import Root
from reelvec.storage.sealing import checksum_of_bytes, seal, unseal

__all__ = ["LARGEST", "SMALLEST", "Item", "Layer", "LayerCache", "arranged", "write_layers"]

SMALLEST, LARGEST = 256, 1024
"""Entries of a layer: fewer stay in their snapshot, more become several layers."""


@dataclass(frozen=True, slots=True)
class Layer:
    """Entries in the order of a snapshot; `seal` is the checksum of the layer's file."""

    path: str
    """Below the artifact's folder."""
    seal: str
    entries: tuple[Entry, ...]

    def to_json(self) -> dict[str, Any]:
        """As a snapshot names it."""
        return {"layer": self.path, "seal": self.seal}


Item = Entry | Layer
"""What a snapshot is made of, in its order."""


def arranged(entries: Sequence[Entry], layers: Iterable[Layer]) -> list[Item]:
    """The entries with every whole layer among them in the place of its own."""
    by_first = {layer.entries[0].part: layer for layer in layers if layer.entries}
    items: list[Item] = []
    place = 0
    while place < len(entries):
        layer = by_first.get(entries[place].part)
        if layer and tuple(entries[place : place + len(layer.entries)]) == layer.entries:
            items.append(layer)
            place += len(layer.entries)
        else:
            items.append(entries[place])
            place += 1
    return items


def write_layers(root: Root, folder: str, items: Iterable[Item]) -> list[Layer]:
    """Layers of the long runs of entries that are in none, for a later snapshot to use."""
    layers: list[Layer] = []
    for is_entry, run in groupby(items, lambda item: isinstance(item, Entry)):
        entries = [item for item in run if isinstance(item, Entry)]
        if is_entry and len(entries) >= SMALLEST:
            layers += [_write(root, folder, some) for some in _cut(entries)]
    return layers


def _cut(entries: Sequence[Entry]) -> Iterator[tuple[Entry, ...]]:
    """Pieces as large as allowed; a last one that is too small is left out."""
    for start in range(0, len(entries), LARGEST):
        piece = tuple(entries[start : start + LARGEST])
        if len(piece) >= SMALLEST:
            yield piece


def _write(root: Root, folder: str, entries: tuple[Entry, ...]) -> Layer:
    rows = [entry.to_json() for entry in entries]
    columns = {name: [row[name] for row in rows] for name in rows[0]}
    data = seal({"entries": pack(columns, key="part")})
    path = layout.new_layer()
    root.put_new(f"{folder}/{path}", data)
    return Layer(path, checksum_of_bytes(data), entries)


class LayerCache:
    """The layers of the artifact in `folder`; those of the snapshot that was read last are kept."""

    def __init__(self, root: Root, folder: str) -> None:
        self._root = root
        self._folder = folder
        self._known: dict[str, Layer] = {}

    def keep(self, layers: Iterable[Layer]) -> None:
        """Keep these and no others."""
        self._known = {layer.path: layer for layer in layers}

    def get(self, path: str, *, promised: str) -> Layer:
        """The layer at `path` below the artifact's folder, whose checksum was promised.

        Raises:
            MissingArtifactError: it is not there.
            IntegrityError: its bytes are not those that were promised.
        """
        known = self._known.get(path)
        if known is not None and known.seal == promised:
            return known
        where = f"{self._folder}/{path}"
        data = self._root.read(where)
        body = unseal(data, path=where)
        if checksum_of_bytes(data) != promised:
            raise IntegrityError(f"{where} is not the layer that was published", path=where)
        columns = unpack(body["entries"])
        rows = zip(*columns.values(), strict=True)
        entries = (Entry.from_json(dict(zip(columns, row, strict=True))) for row in rows)
        return Layer(path, promised, tuple(entries))
