"""Sets of texts kept as digests: sixteen bytes a text, looked up in their order or by halves.

Two texts are taken for equal where their xxh3-128 are: the strength by which the store knows
videos at all.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cached_property

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
    """A set of digests that also knows the position of each, one of them where it has several.

    Tables are written in the order in which their rows are asked for again, so what follows the
    last one found is compared first. Only what is not there is searched by halves, in an order that
    takes as long to make as all else and so is made when it is needed.
    """

    def __init__(self, parts: Sequence[Digests]) -> None:
        self._whole = np.concatenate([np.empty((0, 2), np.uint64), *parts])
        self._next = 0

    def __len__(self) -> int:
        return len(self._whole)

    def find(self, wanted: Digests) -> NDArray[np.int64]:
        """The position of each in the parts, end to end, int64 [N]; -1 where it is not here."""
        positions = self._following(wanted)
        others = np.flatnonzero(positions < 0)
        if len(others):
            positions[others] = self._searched(wanted[others])
        if len(positions) and positions[-1] >= 0:
            self._next = int(positions[-1]) + 1
        return positions

    def has(self, wanted: Digests) -> NDArray[np.bool_]:
        """Which are here, bool [N]."""
        return self.find(wanted) >= 0

    def _following(self, wanted: Digests) -> NDArray[np.int64]:
        """Positions of those that stand here as they are asked for; -1: others.

        One that is asked for again at once, as the video of many captions is, counts once.
        """
        is_new = np.ones(len(wanted), bool)
        is_new[1:] = (wanted[1:] != wanted[:-1]).any(axis=1)
        heads = wanted[is_new]
        first = max(self._next - 1, 0)
        again = len(heads) and first < len(self) and (self._whole[first] == heads[0]).all()
        start = first if again else self._next
        here = self._whole[start : start + len(heads)]
        found = np.full(len(heads), -1, np.int64)
        same = np.flatnonzero((here == heads[: len(here)]).all(axis=1))
        found[same] = start + same
        placed: NDArray[np.int64] = found[np.cumsum(is_new) - 1]
        return placed

    @cached_property
    def _by_first_half(self) -> tuple[NDArray[np.uint32], NDArray[np.uint64]]:
        """Positions in the order of first halves, and these."""
        order = np.argsort(self._whole[:, 0], kind="stable").astype(np.uint32)
        return order, self._whole[order, 0]

    def _searched(self, wanted: Digests) -> NDArray[np.int64]:
        order, firsts = self._by_first_half
        positions = np.full(len(wanted), -1, np.int64)
        at = np.empty(len(wanted), np.int64)
        ascending = np.argsort(wanted[:, 0])  # a search in order stays in the cache
        at[ascending] = np.searchsorted(firsts, wanted[ascending, 0])
        unsure = np.flatnonzero(at < len(firsts))
        while len(unsure):  # one step, but where two digests share their first half
            here = at[unsure]
            near = firsts[here] == wanted[unsure, 0]
            same = near & (self._whole[order[here], 1] == wanted[unsure, 1])
            positions[unsure[same]] = order[here[same]]
            unsure = unsure[near & ~same]
            at[unsure] += 1
            unsure = unsure[at[unsure] < len(firsts)]
        return positions
