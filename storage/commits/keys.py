"""Which parts may hold a key, by digests: a process reads a receipt for its keys once.

Eight bytes a key. Where two keys share a digest a receipt is read for nothing, and no more follows
from it: whoever asks reads the parts that are named.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from itertools import repeat

import numpy as np
import xxhash
from numpy.typing import NDArray

from reelvec.storage import layout
from reelvec.storage.at_once import at_once
from reelvec.storage.commits.merging import Entry
from reelvec.storage.commits.receipts import ledger_columns
from reelvec.storage.roots import Root

__all__ = ["KeyIndex"]

_AT_ONCE = 4096  # parts looked through at once


class KeyIndex:
    """The keys of the receipts of the artifact in `folder`."""

    def __init__(self, root: Root, folder: str) -> None:
        self._root = root
        self._folder = folder
        self._digests: dict[str, NDArray[np.uint64]] = {}

    def learn(self, part: str, keys: Iterable[str]) -> None:
        """Remember the keys of the part's receipt; all of them, in force or not."""
        if part not in self._digests:
            self._digests[part] = _digests(keys)

    def holding(self, entries: Sequence[Entry], keys: Collection[str]) -> list[Entry]:
        """Those of `entries` that hold any of `keys`, and perhaps a few that do not."""
        wanted = np.unique(_digests(keys))
        if not len(wanted):
            return []
        found: list[Entry] = []
        for start in range(0, len(entries), _AT_ONCE):
            found += self._holding(entries[start : start + _AT_ONCE], wanted)
        return found

    def _holding(self, entries: Sequence[Entry], wanted: NDArray[np.uint64]) -> list[Entry]:
        new = [entry.part for entry in entries if entry.part not in self._digests]
        self._digests.update(zip(new, at_once(self._root, self._read, new), strict=True))
        parts = [self._digests[entry.part] for entry in entries]
        whole = np.concatenate(parts)
        places = np.minimum(np.searchsorted(wanted, whole), len(wanted) - 1)
        hits = np.flatnonzero(wanted[places] == whole)
        ends = np.cumsum([len(part) for part in parts])
        return [entries[i] for i in np.unique(np.searchsorted(ends, hits, side="right"))]

    def _read(self, part: str) -> NDArray[np.uint64]:
        columns, _ = ledger_columns(self._root, self._folder, layout.receipt_of(part))
        return _digests(columns["key"])


def _digests(keys: Iterable[str]) -> NDArray[np.uint64]:
    """The xxh3-64 of each key, uint64 [N]."""
    encoded = map(str.encode, keys, repeat("utf-8"), repeat("surrogatepass"))
    return np.frombuffer(b"".join(map(xxhash.xxh3_64_digest, encoded)), np.uint64)
