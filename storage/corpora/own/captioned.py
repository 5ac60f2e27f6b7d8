"""The videos of a folder and of its caption files as columns, without a record each.

What `FolderReader` makes of one row after another. It does so, and says what is wrong, where rows
contradict each other or spell the name of a file in another way: then there is nothing here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import astuple
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from reelvec.configs.uris import is_uri
from reelvec.storage.arrow_values import column_of, mask_of, numbers_of, text_scalar, texts_of
from reelvec.storage.corpora.caption_list import CaptionList
from reelvec.storage.corpora.own.caption_columns import CaptionRows, caption_rows
from reelvec.storage.corpora.own.caption_numbers import CaptionNumbers
from reelvec.storage.corpora.own.caption_values import NONE, CaptionValues
from reelvec.storage.corpora.own.distinct_videos import DistinctVideos
from reelvec.storage.corpora.own.folders import VideoFolder
from reelvec.storage.corpora.own.named_files import NamedFiles, NeedsRecordsError
from reelvec.storage.corpora.own.values import LeftOut
from reelvec.storage.file_marks import MARK_FIELDS, FileMark
from reelvec.storage.records import Video

__all__ = ["CaptionedVideos"]

_WINDOW = ("start_seconds", "end_seconds")
_NO_TIME = column_of(np.array([NONE]))[0]


class CaptionedVideos:
    """Rows of caption files, added file by file, and the videos they are of.

    Args:
        folder: of the videos.
        table: of its `columns`.

    Raises:
        NeedsRecordsError: they need a record each.
    """

    def __init__(self, folder: VideoFolder, table: pa.Table) -> None:
        if not table.num_rows:
            raise NeedsRecordsError
        self.captions = CaptionList()
        self.left_out = LeftOut()
        self.has_splits = False
        self.used = 0
        """Rows."""
        self.unnamed: Sequence[str] = ()
        """Paths below the folder of files that no row names, as far as a name is missing."""
        self.renamed: Sequence[str] = ()
        """Those of files whose ids rows give to others."""
        self._folder = folder
        self._table = table
        self._files = NamedFiles(folder, table)
        self._numbers = CaptionNumbers(table.num_rows)
        self._videos = DistinctVideos()

    @property
    def missing(self) -> list[str]:
        """Names that no file answers to."""
        return list(self._files.missing.values())

    def add(self, file: Path, *, split: str, columns: Mapping[str, str]) -> bool:
        """Add the rows of a caption file; whether it has a column of captions.

        Args:
            file: to read.
            split: of all its rows; "": their own.
            columns: column by role.

        Raises:
            CorpusError: the file is not what it should be.
            NeedsRecordsError: two of its rows do not say the same of a video.
            UnicodeEncodeError: a value is no text that a table can hold.
        """
        captioned = False
        for rows in caption_rows(file, columns=columns):
            captioned = captioned or "caption" in rows.columns
            self.has_splits = self.has_splits or bool(split) or "split" in rows.columns
            self._add(rows, split=split, file=file)
        return captioned

    def table(self, *, unlisted: str) -> pa.Table:
        """All videos, those that no row names among them, as columns for a list of videos.

        Args:
            unlisted: the split of videos without one, where rows have splits.

        Raises:
            NeedsRecordsError: two rows do not say the same of a video, or a name may mean a file.
        """
        self._files.check_spellings()
        whole = _by_id(self._all())
        table = self._with_marks(whole)
        if self.has_splits:
            split = whole.column("split")
            split = pc.if_else(pc.equal(split, text_scalar("")), text_scalar(unlisted), split)
            table = table.append_column("split", split)
        times = [whole.column(name) for name in _WINDOW]
        if any(pc.any(pc.not_equal(some, _NO_TIME)).as_py() for some in times):
            for name, some in zip(_WINDOW, times, strict=True):
                none = pc.equal(some, _NO_TIME)
                table = table.append_column(
                    name, pc.if_else(none, pa.nulls(1, pa.float64())[0], some)
                )
        return table

    def _add(self, rows: CaptionRows, *, split: str, file: Path) -> None:
        values = CaptionValues(rows, split=split)
        numbers, ids, paths = values.names()
        named = self._files.find(ids, paths, file=file)
        windows, splits, subsets = values.windows(), values.splits(), values.subsets()
        usable = values.usable()
        kept = np.flatnonzero(usable[numbers])
        self.used += len(kept)
        chosen = numbers[kept].tolist()
        self._videos.add(
            named.at(kept), splits=[splits[row] for row in chosen], windows=windows[:, chosen]
        )
        of_rows, texts = values.captions(usable)
        owners = np.searchsorted(numbers, of_rows)
        values.tell(
            self.left_out, name_of=lambda row: str(named.ids[int(np.searchsorted(numbers, row))])
        )
        if texts:
            owned = named.at(owners)
            columns = {
                "caption_id": self._numbers.of(owned.ids, self._files.own_places(owned)),
                "video_id": owned.ids,
                "text": texts_of(texts),
                "subset": texts_of([subsets[row] for row in of_rows.tolist()]),
            }
            self.captions.extend(pa.table(columns))

    def _all(self) -> dict[str, pa.ChunkedArray]:
        named = self._videos.table()
        whole = pa.concat_tables([named, self._not_named(named)])
        return dict(zip(whole.column_names, whole.columns, strict=True))

    def _not_named(self, named: pa.Table) -> pa.Table:
        """The files that no row names; by their whole path where a row calls another file so."""
        is_named = np.zeros(self._table.num_rows, bool)
        places = numbers_of(named.column("place"))
        is_named[places[places >= 0]] = True
        unnamed = np.flatnonzero(~is_named)
        ids, paths = (
            self._table.column(name).combine_chunks().take(column_of(unnamed))
            for name in ("video_id", "path")
        )
        skip = len(self._folder.place(""))
        called = pc.is_in(ids, value_set=named.column("video_id").combine_chunks())
        if pc.any(called).as_py():
            whole = pc.utf8_slice_codeunits(paths, start=skip)
            renamed = whole.filter(called)
            others = pa.concat_arrays([ids, named.column("video_id").combine_chunks()])
            if pc.any(pc.is_in(renamed, value_set=others)).as_py():
                raise NeedsRecordsError
            self.renamed = sorted(renamed.to_pylist())
            ids = pc.if_else(called, whole, ids)
        if self._files.missing:
            self.unnamed = sorted(path[skip:] for path in paths.to_pylist())
        return DistinctVideos.of_files(ids, paths, unnamed)

    def _with_marks(self, whole: pa.Table) -> pa.Table:
        """Ids and paths with what is seen of the files without opening them."""
        places = numbers_of(whole.column("place"))
        known = column_of(np.maximum(places, 0))
        seen = [self._table.column(name).combine_chunks() for name in MARK_FIELDS]
        marks = np.stack([numbers_of(column.take(known)) for column in seen])
        elsewhere = np.flatnonzero(places < 0)
        others = []
        for row in elsewhere.tolist():
            video_id, path = (str(whole.column(name)[row]) for name in ("video_id", "path"))
            video = self._folder.described(Video(video_id, path))
            others.append(video)
            is_object = is_uri(video.path)
            marks[:, row] = astuple(video.mark if is_object else FileMark.at(video.path))
        table = whole.select(["video_id", "path"])
        for name, numbers in zip(MARK_FIELDS, marks, strict=True):
            table = table.append_column(name, column_of(numbers))
        for name in self._outcome_columns(others):
            words = self._words(name, known)
            mask = mask_of(places < 0)
            theirs = texts_of([getattr(video, name) for video in others])
            table = table.append_column(name, pc.replace_with_mask(words, mask, theirs))
        return table

    def _outcome_columns(self, others: Sequence[Video]) -> Sequence[str]:
        """Which columns say what became of videos before they are opened."""
        told = "status" in self._table.column_names or any(video.reason for video in others)
        return ("status", "reason", "message") if told else ()

    def _words(self, name: str, rows: pa.Int64Array) -> pa.LargeStringArray:
        if name in self._table.column_names:
            return self._table.column(name).combine_chunks().take(rows)
        return texts_of([getattr(Video("", ""), name)] * len(rows))


def _by_id(columns: dict[str, pa.ChunkedArray]) -> pa.Table:
    """The rows in the order of their ids; taken out, so that not all is in memory twice."""
    order, found = pc.sort_indices(columns["video_id"]), {}
    for name in list(columns):
        found[name] = columns.pop(name).combine_chunks().take(order)
    return pa.table(found)
