"""Sets of texts kept as digests: sixteen bytes a text, looked up by binary search.

Two texts are taken for equal where their xxh3-128 are: the strength by which the store knows
videos at all.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import pyarrow as pa
import xxhash
from numpy.typing import NDArray

__all__ = ["DigestSet", "Digests", "column_digests", "digests"]

Digests = NDArray[np.uint64]


def digests(texts: Iterable[str]) -> Digests:
    """The xxh3-128 of each text, uint64 [N, 2]."""
    data = b"".join(map(xxhash.xxh3_128_digest, map(str.encode, texts)))
    return np.frombuffer(data, np.uint64).reshape(-1, 2)


def column_digests(texts: pa.Array | pa.ChunkedArray) -> Digests:
    """`digests` of a column of large_string without nulls."""
    data = b"".join(map(xxhash.xxh3_128_digest, texts.cast(pa.large_binary()).to_pylist()))
    return np.frombuffer(data, np.uint64).reshape(-1, 2)


class DigestSet:
    """A set of digests that also knows the position of each."""

    def __init__(self, parts: Sequence[Digests]) -> None:
        whole = np.concatenate([np.empty((0, 2), np.uint64), *parts])
        self._order = np.argsort(whole[:, 0], kind="stable").astype(np.uint32)
        self._high = whole[self._order, 0]
        self._low = whole[self._order, 1]

    def __len__(self) -> int:
        return len(self._order)

    def find(self, wanted: Digests) -> NDArray[np.int64]:
        """The position of each in the parts, end to end, int64 [N]; -1 where it is not here."""
        positions = np.full(len(wanted), -1, np.int64)
        at = np.empty(len(wanted), np.int64)
        order = np.argsort(wanted[:, 0])  # a search in order stays in the cache
        at[order] = np.searchsorted(self._high, wanted[order, 0])
        unsure = np.flatnonzero(at < len(self._high))
        while len(unsure):  # one step, but where two digests share their first half
            here = at[unsure]
            near = self._high[here] == wanted[unsure, 0]
            same = near & (self._low[here] == wanted[unsure, 1])
            positions[unsure[same]] = self._order[here[same]]
            unsure = unsure[near & ~same]
            at[unsure] += 1
            unsure = unsure[at[unsure] < len(self._high)]
        return positions

    def has(self, wanted: Digests) -> NDArray[np.bool_]:
        """Which are here, bool [N]."""
        return self.find(wanted) >= 0
