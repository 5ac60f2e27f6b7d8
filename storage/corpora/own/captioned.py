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
from numpy.typing import NDArray

from reelvec.configs.uris import is_uri
from reelvec.storage.arrow_values import (
    column_of,
    floats_of,
    mask_of,
    numbers_of,
    text_scalar,
    texts_of,
)
from reelvec.storage.corpora.caption_list import CaptionList
from reelvec.storage.corpora.own.caption_columns import CaptionRows, caption_rows
from reelvec.storage.corpora.own.caption_numbers import CaptionNumbers
from reelvec.storage.corpora.own.caption_values import NONE, CaptionValues
from reelvec.storage.corpora.own.distinct_videos import WINDOW, DistinctVideos
from reelvec.storage.corpora.own.folders import VideoFolder
from reelvec.storage.corpora.own.named_files import NamedFiles, NeedsRecordsError
from reelvec.storage.corpora.own.values import LeftOut
from reelvec.storage.file_marks import MARK_FIELDS, FileMark
from reelvec.storage.records import Video

__all__ = ["CaptionedVideos"]

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
        self._videos = DistinctVideos(table.num_rows)

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
        others = self._videos.others()
        listed = self._listed(others)
        columns = self._columns(others, listed=listed, unlisted=unlisted)
        return _by_id(columns, listed=listed) if others.num_rows else pa.table(columns)

    def _add(self, rows: CaptionRows, *, split: str, file: Path) -> None:
        values = CaptionValues(rows, split=split)
        numbers, ids, paths = values.names()
        named = self._files.find(ids, paths, file=file)
        windows, splits, subsets = values.windows(), values.splits(), values.subsets()
        usable = values.usable()
        kept = np.flatnonzero(usable[numbers])
        self.used += len(kept)
        chosen = numbers[kept].tolist()
        own = self._files.own_places(named)
        self._videos.add(
            named.at(kept),
            own[kept],
            splits=[splits[row] for row in chosen],
            windows=windows[:, chosen],
        )
        of_rows, texts = values.captions(usable)
        owners = np.searchsorted(numbers, of_rows)
        values.tell(
            self.left_out, name_of=lambda row: str(named.ids[int(np.searchsorted(numbers, row))])
        )
        if texts:
            owned = named.at(owners)
            columns = {
                "caption_id": self._numbers.of(owned.ids, own[owners]),
                "video_id": owned.ids,
                "text": texts_of(texts),
                "subset": texts_of([subsets[row] for row in of_rows.tolist()]),
            }
            self.captions.extend(pa.table(columns))

    def _columns(
        self, others: pa.Table, *, listed: NDArray[np.bool_], unlisted: str
    ) -> dict[str, pa.ChunkedArray]:
        """All files of the folder, and then the other videos."""
        said = self._videos.files
        files, rest = self._renamed(others, listed=listed), self._seen(others)
        for name in rest.column_names:
            if name not in files.column_names:
                files = files.append_column(name, _defaults(name, files.num_rows))
        if self.has_splits:
            splits = others.column("split")
            splits = pc.if_else(pc.equal(splits, text_scalar("")), text_scalar(unlisted), splits)
            files = files.append_column("split", said.splits(unlisted=unlisted))
            rest = rest.append_column("split", splits)
        windows = np.stack([floats_of(others.column(name)) for name in WINDOW])
        if said.windows is not None or (windows != NONE).any():
            files, rest = _with_windows(files, said.windows), _with_windows(rest, windows)
        pieces = [files, rest.select(files.column_names)] if others.num_rows else [files]
        return dict(zip(files.column_names, pa.concat_tables(pieces).columns, strict=True))

    def _listed(self, others: pa.Table) -> NDArray[np.bool_]:
        """By place, which files are videos by themselves: rows call the rest by other ids alone."""
        named = self._videos.files.named
        places = numbers_of(others.column("place"))
        unnamed = ~named
        unnamed[places[places >= 0]] = False
        if self._files.missing:
            self.unnamed = sorted(self._below(unnamed).to_pylist())
        return named | unnamed

    def _renamed(self, others: pa.Table, *, listed: NDArray[np.bool_]) -> pa.Table:
        """The files; by its whole path one that no row names, where a row calls another so."""
        ids = self._table.column("video_id").combine_chunks()
        theirs = others.column("video_id").combine_chunks()
        called = listed & _true(pc.is_in(ids, value_set=theirs))
        if not called.any():
            return self._table
        whole = self._below(called)
        known = [ids.filter(mask_of(listed)), theirs]
        if (called & self._videos.files.named).any() or any(
            pc.any(pc.is_in(whole, value_set=some)).as_py() for some in known
        ):
            raise NeedsRecordsError
        self.renamed = sorted(whole.to_pylist())
        ids = pc.replace_with_mask(ids, mask_of(called), whole)
        return self._table.set_column(self._table.column_names.index("video_id"), "video_id", ids)

    def _below(self, chosen: NDArray[np.bool_]) -> pa.LargeStringArray:
        """Paths below the folder of these files, bool [N]."""
        paths = self._table.column("path").combine_chunks().filter(mask_of(chosen))
        return pc.utf8_slice_codeunits(paths, start=len(self._folder.place("")))

    def _seen(self, others: pa.Table) -> pa.Table:
        """Ids and paths of videos with what is seen of their files without opening them."""
        places = numbers_of(others.column("place"))
        known, away = column_of(np.maximum(places, 0)), mask_of(places < 0)
        paths = self._table.column("path").combine_chunks().take(known)
        paths = pc.if_else(away, others.column("path").combine_chunks(), paths)
        marks = np.stack([numbers_of(self._table.column(name).take(known)) for name in MARK_FIELDS])
        elsewhere = []
        for row in np.flatnonzero(places < 0).tolist():
            video = Video(str(others.column("video_id")[row]), str(paths[row]))
            video = self._folder.described(video)
            elsewhere.append(video)
            is_object = is_uri(video.path)
            marks[:, row] = astuple(video.mark if is_object else FileMark.at(video.path))
        table = pa.table({"video_id": others.column("video_id"), "path": paths})
        for name, numbers in zip(MARK_FIELDS, marks, strict=True):
            table = table.append_column(name, column_of(numbers))
        for name in self._outcome_columns(elsewhere):
            words = self._words(name, known)
            theirs = texts_of([getattr(video, name) for video in elsewhere])
            table = table.append_column(name, pc.replace_with_mask(words, away, theirs))
        return table

    def _outcome_columns(self, others: Sequence[Video]) -> Sequence[str]:
        """Which columns say what became of videos before they are opened."""
        told = "status" in self._table.column_names or any(video.reason for video in others)
        return ("status", "reason", "message") if told else ()

    def _words(self, name: str, rows: pa.Int64Array) -> pa.LargeStringArray:
        if name in self._table.column_names:
            return self._table.column(name).combine_chunks().take(rows)
        return _defaults(name, len(rows))


def _defaults(name: str, rows: int) -> pa.LargeStringArray:
    return texts_of([getattr(Video("", ""), name)]).take(column_of(np.zeros(rows, np.int64)))


def _true(column: pa.BooleanArray) -> NDArray[np.bool_]:
    return numbers_of(column.cast(pa.int64())) > 0


def _with_windows(table: pa.Table, windows: NDArray[np.float64] | None) -> pa.Table:
    """With start and end of each, [2, N]; null for `NONE`."""
    for number, name in enumerate(WINDOW):
        times = pa.nulls(table.num_rows, pa.float64())
        if windows is not None:
            some = column_of(windows[number])
            times = pc.if_else(pc.equal(some, _NO_TIME), times, some)
        table = table.append_column(name, times)
    return table


def _by_id(columns: dict[str, pa.ChunkedArray], *, listed: NDArray[np.bool_]) -> pa.Table:
    """The rows in the order of their ids, without those of the first that are not listed.

    Columns are taken out, so that not all are in memory twice.
    """
    ids, found = columns["video_id"].combine_chunks(), {}
    rows = np.concatenate([np.flatnonzero(listed), np.arange(len(listed), len(ids))])
    order = column_of(rows).take(pc.sort_indices(ids.take(column_of(rows))))
    for name in list(columns):
        found[name] = columns.pop(name).combine_chunks().take(order)
    return pa.table(found)
