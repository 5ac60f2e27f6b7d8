"""Ids of listed videos, and where the rows of a table are among them.

Tables were written from listings, so that most of their rows follow each other here too: of such
a stretch nothing but its ends is looked for. Digests are made for what does not.
"""

from __future__ import annotations

import bisect
from collections.abc import Iterator
from functools import cached_property

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from reelvec.storage.arrow_values import floats_of
from reelvec.storage.digests import DigestSet, column_digests

__all__ = ["ListedIds"]

_ROWS = 65_536  # made into texts at once
_AS_MANY = 4
"""A stretch of the listing with at most so many times the rows is looked through whole."""


class ListedIds:
    """Ids in the order of a listing, each once.

    Args:
        texts: large_string.
    """

    def __init__(self, texts: pa.Array) -> None:
        self._texts = texts
        follow = pc.less(texts.slice(0, max(len(texts) - 1, 0)), texts.slice(1))
        self._is_sorted = pc.all(follow, min_count=0).as_py()

    def __len__(self) -> int:
        return len(self._texts)

    def __getitem__(self, place: int) -> str:
        return str(self._texts[place])

    @cached_property
    def digests(self) -> DigestSet:
        """Of all of them, in their order."""
        return DigestSet([column_digests(some) for some in _pieces(self._texts)])

    def places(self, ids: pa.Array) -> NDArray[np.int64]:
        """Where each of these is, int64 [N]; -1: nowhere.

        Args:
            ids: large_string.
        """
        stretch = self._stretch(ids)
        if stretch is None:
            return self.digests.find(column_digests(ids))
        here = self._texts.slice(stretch.start, len(stretch))
        if here.equals(ids):
            return np.arange(stretch.start, stretch.stop)
        found = floats_of(pa.chunked_array([pc.index_in(ids, value_set=here).cast(pa.float64())]))
        return np.nan_to_num(found + stretch.start, nan=-1.0).astype(np.int64)

    def _stretch(self, ids: pa.Array) -> range | None:
        """Places that hold all of `ids` that are listed; None: too many, or not to be told."""
        if not self._is_sorted or not len(ids):
            return None
        ends = pc.min_max(ids)
        first, last = (ends[name].as_py() for name in ("min", "max"))
        start = bisect.bisect_left(self._texts, first, key=str)
        stop = bisect.bisect_right(self._texts, last, lo=start, key=str)
        return range(start, stop) if stop - start <= _AS_MANY * len(ids) else None


def _pieces(texts: pa.Array) -> Iterator[pa.Array]:
    return (texts.slice(start, _ROWS) for start in range(0, len(texts), _ROWS))
