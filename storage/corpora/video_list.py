"""Videos of a listing as columns: a million files are three lists of texts, not a million objects.

For listings that say of a video its id, its path and its split, as those of a plain folder do.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import overload

from reelvec.storage.records import Video

__all__ = ["VideoList"]


@dataclass(frozen=True, slots=True)
class VideoList(Sequence[Video]):
    """A record is made of each as it is asked for, and not kept."""

    ids: Sequence[str]
    paths: Sequence[str]
    splits: Sequence[str]

    def __len__(self) -> int:
        return len(self.ids)

    def __iter__(self) -> Iterator[Video]:
        return map(Video, self.ids, self.paths, self.splits)

    @overload
    def __getitem__(self, index: int) -> Video: ...

    @overload
    def __getitem__(self, index: slice) -> VideoList: ...

    def __getitem__(self, index: int | slice) -> Video | VideoList:
        if isinstance(index, slice):
            return VideoList(self.ids[index], self.paths[index], self.splits[index])
        return Video(self.ids[index], self.paths[index], self.splits[index])
