"""Ids of captions that come in columns: ``{video_id}#{n}``, n counted by video in their order."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from reelvec.storage.arrow_values import column_of, text_scalar

__all__ = ["CaptionNumbers"]


class CaptionNumbers:
    """How many captions each video has had so far.

    Args:
        listed: videos of the folder's listing.
    """

    def __init__(self, listed: int) -> None:
        self._listed = listed
        self._others: dict[str, int] = {}
        self._counts = np.zeros(listed, np.int64)

    def of(self, videos: pa.LargeStringArray, places: NDArray[np.int64]) -> pa.LargeStringArray:
        """The ids of the next captions.

        Args:
            videos: the id of the video of each.
            places: the video's place in the listing, int64 [N]; -1: the id is none of its ids.
        """
        keys = places.copy()
        others = np.flatnonzero(places < 0)
        if len(others):
            named = videos.take(column_of(others)).dictionary_encode()
            known = [
                self._listed + self._others.setdefault(name, len(self._others))
                for name in named.dictionary.to_pylist()
            ]
            keys[others] = np.array(known)[np.from_dlpack(named.indices)]
        numbers = column_of(self._numbered(keys)).cast(pa.large_string())
        return pc.binary_join_element_wise(videos, numbers, text_scalar("#"))

    def _numbered(self, keys: NDArray[np.int64]) -> NDArray[np.int64]:
        missing = self._listed + len(self._others) - len(self._counts)
        if missing > 0:
            room = np.zeros(max(missing, len(self._counts) // 2), np.int64)
            self._counts = np.concatenate([self._counts, room])
        order = np.argsort(keys, kind="stable")
        of_video, starts, lengths = np.unique(keys[order], return_index=True, return_counts=True)
        numbers = np.empty(len(keys), np.int64)
        before = self._counts[of_video] - starts
        numbers[order] = np.arange(len(keys)) + np.repeat(before, lengths)
        self._counts[of_video] += lengths
        return numbers
