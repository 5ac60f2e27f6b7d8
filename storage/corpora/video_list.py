"""Videos of a listing as columns: a million files are a few Arrow arrays, not a million objects."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import fields
from typing import overload

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from reelvec.storage.arrow_values import column_of
from reelvec.storage.file_marks import MARK_FIELDS
from reelvec.storage.records import Video, records_from_table

__all__ = ["VideoList"]

_ROWS = 65_536  # made into records at once
_NEEDED = frozenset(("video_id", "path", *MARK_FIELDS))
_FIELDS = frozenset(field.name for field in fields(Video))


class VideoList(Sequence[Video]):
    """A record is made of each as it is asked for, and not kept.

    Args:
        table: columns by field of `Video`, texts as large_string, the marks of the files or objects
            among them; of those that are left out each has the default.
    """

    def __init__(self, table: pa.Table) -> None:
        names = set(table.column_names)
        if not names <= _FIELDS or not names >= _NEEDED:
            raise ValueError(
                f"a list of videos has columns {sorted(names)}; they are fields of `Video`, and"
                f" {sorted(_NEEDED)} among them"
            )
        self.table = table.combine_chunks()

    def __len__(self) -> int:
        return int(self.table.num_rows)

    def __iter__(self) -> Iterator[Video]:
        for start in range(0, len(self), _ROWS):
            yield from records_from_table(self.table.slice(start, _ROWS), record=Video)

    __hash__ = None  # type: ignore[assignment]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, VideoList) and bool(self.table.equals(other.table))

    def at(self, places: NDArray[np.int64]) -> list[Video]:
        """The records at these places, int64 [N]."""
        return records_from_table(self.table.take(column_of(places)), record=Video)

    @overload
    def __getitem__(self, index: int) -> Video: ...

    @overload
    def __getitem__(self, index: slice) -> VideoList: ...

    def __getitem__(self, index: int | slice) -> Video | VideoList:
        chosen = np.arange(len(self))[index]
        if isinstance(index, slice):
            return VideoList(self.table.take(column_of(chosen)))
        (video,) = self.at(np.array([chosen]))
        return video
