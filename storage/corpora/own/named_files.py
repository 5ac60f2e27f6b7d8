"""Which files the rows of caption files name, by columns: those that are named to the letter.

`Names` says the same of one row after another, and of names in other spellings too.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from reelvec.configs.uris import is_uri
from reelvec.storage.arrow_values import column_of, mask_of, numbers_of, text_scalar, texts_of
from reelvec.storage.corpora.discovery import stem_of
from reelvec.storage.corpora.listed_ids import ListedIds
from reelvec.storage.corpora.own.folders import VideoFolder
from reelvec.storage.corpora.own.names import folded, loose_name

__all__ = ["Named", "NamedFiles", "NeedsRecordsError"]

_ROWS = 65_536

Places = NDArray[np.int64]


class NeedsRecordsError(Exception):
    """What is here is told from one row after another."""


@dataclass(frozen=True, slots=True)
class Named:
    """The files of some rows: place in the listing (-1: not in it), whole path and video id."""

    places: Places
    paths: pa.LargeStringArray
    ids: pa.LargeStringArray

    def at(self, rows: Places) -> Self:
        """Those of these rows."""
        if len(rows) == len(self.places) and np.array_equal(rows, np.arange(len(rows))):
            return self
        chosen = column_of(rows)
        return type(self)(self.places[rows], self.paths.take(chosen), self.ids.take(chosen))


class NamedFiles:
    """The files of a folder by the names that rows have for them.

    Args:
        folder: of the videos.
        table: of its `columns`, one row at least.

    Raises:
        NeedsRecordsError: a path is none that a name could be made into by itself.
    """

    def __init__(self, folder: VideoFolder, table: pa.Table) -> None:
        self.missing: dict[str, str] = {}
        """Names that no file answers to, by the whole path they stand for."""
        self._folder = folder
        self._above = folder.place("")
        self._texts = {n: table.column(n).combine_chunks() for n in ("video_id", "path")}
        self.ids = ListedIds(self._texts["video_id"])
        if is_uri(self._above):
            below = pc.utf8_slice_codeunits(self._texts["path"], start=len(self._above) - 1)
            if pc.any(pc.match_substring(below, "//")).as_py():
                raise NeedsRecordsError

    @cached_property
    def _paths(self) -> ListedIds:
        return ListedIds(self._texts["path"])

    def find(self, ids: Sequence[str], paths: Sequence[str], *, file: Path) -> Named:
        """The file of each row.

        Args:
            ids: video ids as rows have them; "": none.
            paths: the same; a row has one of them, or both.
            file: that holds the rows.

        Raises:
            UnicodeEncodeError: a name is half a surrogate pair.
        """
        given = texts_of(ids)
        places = self._to_the_letter(given, paths)
        known = column_of(np.maximum(places, 0))
        whole, named = (self._texts[name].take(known) for name in ("path", "video_id"))
        unknown = np.flatnonzero(places < 0)
        if len(unknown):
            wanted = [(ids[row], paths[row]) for row in unknown.tolist()]
            different = list(dict.fromkeys(wanted))
            found, full = self._one_by_one(different, file=file)
            at = {name: number for number, name in enumerate(different)}
            numbers = np.array([at[name] for name in wanted], np.int64)
            mask, chosen = mask_of(places < 0), column_of(numbers)
            places[unknown] = found[numbers]
            own = texts_of(self._own_ids(found, full))
            whole = pc.replace_with_mask(whole, mask, texts_of(full).take(chosen))
            named = pc.replace_with_mask(named, mask, own.take(chosen))
        return Named(places, whole, pc.if_else(pc.not_equal(given, text_scalar("")), given, named))

    def own_places(self, named: Named) -> Places:
        """Places of rows whose id is that of their file; -1 for the others."""
        own = self._texts["video_id"].take(column_of(np.maximum(named.places, 0)))
        same = numbers_of(pc.equal(own, named.ids).cast(pa.int64())) > 0
        return np.where(same, named.places, -1)

    def check_spellings(self) -> None:
        """Look for files that missing names may mean, in another case, say.

        Raises:
            NeedsRecordsError: there is one.
        """
        wanted = {folded(loose_name(self._folder, name)) for name in self.missing.values()}
        paths, skip = self._texts["path"], len(self._above)
        for start in range(0, len(paths) if wanted else 0, _ROWS):
            below = [path[skip:] for path in paths.slice(start, _ROWS).to_pylist()]
            stems = map(stem_of, below)
            if not wanted.isdisjoint(map(folded, chain(below, stems))):
                raise NeedsRecordsError

    def _to_the_letter(self, ids: pa.LargeStringArray, paths: Sequence[str]) -> Places:
        """Places of files by path, else by id, written so; -1 where none is."""
        has_path = np.fromiter(map(bool, paths), bool, len(paths))
        if not has_path.any():
            places = self.ids.places(ids)
            return _filled(places, lambda rows: self._below(ids.take(rows)))
        names, places = texts_of(paths), np.full(len(paths), -1, np.int64)
        places = _filled(places, lambda rows: self._below(names.take(rows)))
        places = _filled(places, lambda rows: self._paths.places(names.take(rows)))
        alone = np.flatnonzero(~has_path)
        if len(alone):
            places[alone] = self._to_the_letter(ids.take(column_of(alone)), [""] * len(alone))
        return places

    def _below(self, names: pa.LargeStringArray) -> Places:
        """Places of paths below the folder."""
        above, between = texts_of([self._above, ""])
        return self._paths.places(pc.binary_join_element_wise(above, names, between))

    def _one_by_one(
        self, names: Sequence[tuple[str, str]], *, file: Path
    ) -> tuple[Places, list[str]]:
        """Place and whole path of names, id and path, that are not so in the listing."""
        meant = [self._folder.meant(path or video_id) for video_id, path in names]
        beside = [self._folder.beside(file, path) if path else "" for _, path in names]
        known = [self._paths.places(texts_of(some)).tolist() for some in (meant, beside)]
        called = self.ids.places(texts_of([path for _, path in names])).tolist()
        places, full = np.full(len(names), -1, np.int64), list(meant)
        for row, (video_id, path) in enumerate(names):
            if not path:
                self.missing.setdefault(meant[row], video_id)
            elif known[0][row] >= 0 or self._folder.has_file(meant[row]):
                places[row] = known[0][row]
            elif known[1][row] >= 0 or self._folder.has_file(beside[row]):
                places[row], full[row] = known[1][row], beside[row]
            elif called[row] >= 0:  # an id: the path without its extension
                places[row], full[row] = called[row], str(self._texts["path"][called[row]])
            else:
                self.missing.setdefault(meant[row], path)
        return places, full

    def _own_ids(self, places: Places, full: Sequence[str]) -> list[str]:
        """What files are called that no row gives an id: see `Names`."""
        below = [self._folder.relative(path) for path in full]
        stems = texts_of([stem_of(path) for path in below])
        taken = (self.ids.places(stems) >= 0) | (self._below(stems) >= 0)
        own = [
            path if is_taken else stem
            for path, stem, is_taken in zip(below, stems.to_pylist(), taken.tolist(), strict=True)
        ]
        for row in np.flatnonzero(places >= 0).tolist():
            own[row] = str(self._texts["video_id"][int(places[row])])
        return own


def _filled(places: Places, find: Callable[[pa.Int64Array], Places]) -> Places:
    """The places, those that are not known yet looked for by their rows."""
    unknown = np.flatnonzero(places < 0)
    if len(unknown):
        places[unknown] = find(column_of(unknown))
    return places
