"""Values of some rows of a caption file at once: the rows that can be used, and why not the others.

What `folder` finds of one row after another, in the same words.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, ParamSpec, TypeVar

import numpy as np
from numpy.typing import NDArray

from reelvec.storage.corpora.listing import caption_fault
from reelvec.storage.corpora.own.caption_columns import CaptionRows
from reelvec.storage.corpora.own.names import check_names
from reelvec.storage.corpora.own.splits import split_name
from reelvec.storage.corpora.own.values import (
    LeftOut,
    RowError,
    captions_of,
    text_of,
    window_of,
)

__all__ = ["NONE", "CaptionValues"]

NONE = -1.0
"""In columns of seconds: no time."""

P = ParamSpec("P")
T = TypeVar("T")


@dataclass(slots=True)
class CaptionValues:
    """Rows of a caption file with their values by role; those that cannot be used are noted.

    Args:
        rows: as they stand in the file.
        split: of all of them; "": their own.
    """

    rows: CaptionRows
    split: str = ""
    _faults: dict[int, str] = field(default_factory=dict)
    """By row, why it is left out."""
    _caption_faults: list[tuple[int, object]] = field(default_factory=list)

    def names(self) -> tuple[NDArray[np.int64], list[str], list[str]]:
        """Rows that name a video: their numbers, ids and paths."""
        ids, paths = self._texts("video_id"), self._texts("path")
        for row, (video_id, path) in enumerate(zip(ids, paths, strict=True)):
            if row in self._faults:
                continue
            if not (video_id or path) or "\0" in video_id or "\0" in path:
                self._checked(row, check_names, video_id, path)
        if not self._faults:
            return np.arange(len(ids)), ids, paths
        chosen = [row for row in range(len(ids)) if row not in self._faults]
        return np.array(chosen, np.int64), [ids[r] for r in chosen], [paths[r] for r in chosen]

    def windows(self) -> NDArray[np.float64]:
        """Start and end of each row, [2, N]; `NONE` where there is none."""
        found = np.full((2, len(self.rows)), NONE)
        if not {"start", "end"} & self.rows.columns.keys():
            return found
        for row in range(len(self.rows)):
            if row not in self._faults:
                times = self._checked(row, window_of, self.rows.row(row)) or (None, None)
                found[:, row] = [NONE if time is None else time for time in times]
        return found

    def splits(self) -> list[str]:
        """Our name of the split of each row; "" where it has none."""
        if self.split:
            return [split_name(self.split)] * len(self.rows)
        texts = self._texts("split")
        ours = {text: split_name(text) for text in set(texts)}
        return [ours[text] for text in texts]

    def subsets(self) -> list[str]:
        """Of each row; "" where it has none."""
        return self._texts("subset")

    def usable(self) -> NDArray[np.bool_]:
        """Which rows can be used, once all their values were asked for, bool [N]."""
        usable = np.ones(len(self.rows), bool)
        usable[list(self._faults)] = False
        return usable

    def captions(self, usable: NDArray[np.bool_]) -> tuple[NDArray[np.int64], list[str]]:
        """The captions of these rows: the number of the row of each, and its text."""
        values = self.rows.columns.get("caption")
        if values is None:
            return np.empty(0, np.int64), []
        if set(map(type, values)) == {str} and all(map(str.strip, values)):
            numbers = np.flatnonzero(usable)
            return numbers, [values[row] for row in numbers.tolist()]
        rows, texts = [], []
        for row in np.flatnonzero(usable).tolist():
            for text in captions_of({"caption": values[row]}):
                if caption_fault(text):
                    self._caption_faults.append((row, text))
                else:
                    rows.append(row)
                    texts.append(text)
        return np.array(rows, np.int64), texts

    def tell(self, left_out: LeftOut, *, name_of: Callable[[int], str]) -> None:
        """Add what was left out, in the order of the file.

        Args:
            left_out: added to.
            name_of: the id of the video of a row.
        """
        told = [(row, words) for row, words in self._faults.items()]
        told += [
            (row, f"the caption of video {name_of(row)!r} {caption_fault(text)}")
            for row, text in self._caption_faults
        ]
        for row, words in sorted(told, key=lambda one: one[0]):
            left_out.add(self.rows.places(row), words)

    def _texts(self, role: str) -> list[str]:
        values: Sequence[Any] | None = self.rows.columns.get(role)
        if values is None:
            return [""] * len(self.rows)
        kinds = set(map(type, values))
        if kinds == {str}:
            return list(values)
        if kinds == {type(None)}:
            return [""] * len(values)
        found = [""] * len(values)
        for row, value in enumerate(values):
            if row not in self._faults:
                found[row] = self._checked(row, text_of, {role: value}, role) or ""
        return found

    def _checked(
        self, row: int, check: Callable[P, T], *given: P.args, **named: P.kwargs
    ) -> T | None:
        """What `check` gives; None: the row is left out, for what it says."""
        try:
            return check(*given, **named)
        except RowError as error:
            self._faults[row] = str(error)
            return None
