"""Your own videos: a folder searched recursively, with or without a caption file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import pyarrow as pa

from reelvec.storage.arrow_values import texts_of
from reelvec.storage.corpora.annotations import Place, refused
from reelvec.storage.corpora.contract import CorpusListing
from reelvec.storage.corpora.folders import VIDEO_EXTENSIONS
from reelvec.storage.corpora.listing import unnameable
from reelvec.storage.corpora.own.caption_files import nearest_column, read_caption_file
from reelvec.storage.corpora.own.captioned import CaptionedVideos
from reelvec.storage.corpora.own.file_columns import ids_of
from reelvec.storage.corpora.own.folders import folder_at
from reelvec.storage.corpora.own.named_files import NeedsRecordsError
from reelvec.storage.corpora.own.names import Names, nearest_names
from reelvec.storage.corpora.own.originals import Originals
from reelvec.storage.corpora.own.record_rows import RecordRows
from reelvec.storage.corpora.own.splits import split_by_hash, split_name
from reelvec.storage.corpora.video_list import VideoList
from reelvec.storage.errors import CorpusError
from reelvec.storage.records import Video

__all__ = ["UNLISTED", "FolderReader", "check_folder"]

UNLISTED = "unlisted"
"""Split of videos that caption files with splits do not name: embedded, but in no role."""


class FolderReader:
    """Lists every video file of a folder and every video its caption files name.

    Args:
        videos: The folder, or the address above the videos.
        captions: A caption file or its address, or one for each split.
        columns: Column by role (configs.schema.FolderCorpus).
        splits: Fractions by a stable hash of the id, where no file gives splits.
        split_by_folder: The first folder below ``videos`` names the split.
    """

    def __init__(
        self,
        videos: str,
        *,
        captions: str | Mapping[str, str] | None = None,
        columns: Mapping[str, str] | None = None,
        splits: Mapping[str, float] | None = None,
        split_by_folder: bool = False,
    ) -> None:
        self._folder = folder_at(videos)
        files = {"": captions} if isinstance(captions, str) else captions or {}
        self._files = [(split_name(split), file) for split, file in files.items()]
        self._columns = columns or {}
        self._splits = splits or {}
        self._split_by_folder = split_by_folder

    def read(self) -> CorpusListing:
        """Walk the folder and read the caption files; see ``CorpusReader.read``.

        Videos are in the order of their ids. A caption file's paths are absolute, relative to
        the folder or else to the file itself; what is missing is listed all the same. A row that
        cannot be used is left out and told.
        """
        return self._as_columns() or self._as_records()

    def _as_columns(self) -> CorpusListing | None:
        """Without a record a video; None: they need one, or are wrong."""
        notes: list[str] = []
        table = self._folder.columns(notes)
        if not table:
            return None
        if not self._files:
            return CorpusListing(VideoList(self._with_split_column(table)), (), tuple(notes))
        try:
            return self._captioned(CaptionedVideos(self._folder, table), notes)
        except (CorpusError, NeedsRecordsError, UnicodeEncodeError):
            return None

    def _captioned(self, videos: CaptionedVideos, notes: list[str]) -> CorpusListing:
        """The listing of `_as_records`.

        Raises:
            CorpusError, NeedsRecordsError, UnicodeEncodeError: that is asked.
        """
        problems: list[str] = []
        with Originals(self._folder.address) as originals:
            for split, name in self._files:
                file, before = originals.file(name), videos.used
                captioned = videos.add(file, split=split, columns=self._columns)
                if videos.used == before and videos.left_out.count:
                    raise NeedsRecordsError
                problems += [] if captioned else [self._words_without_captions(file)]
            table = videos.table(unlisted=UNLISTED)
            words = _words_of_names(
                0, videos.missing, unnamed=videos.unnamed, renamed=videos.renamed
            )
            problems += [videos.left_out.words] if videos.left_out.count else []
        if not videos.has_splits:
            table = self._with_split_column(table)
        notes += map(originals.words, words)
        told = tuple(map(originals.words, problems))
        return CorpusListing(VideoList(table), videos.captions, tuple(notes), told)

    def _as_records(self) -> CorpusListing:
        """One row after another."""
        found = self._folder.files()
        ids = ids_of(found.paths)
        rows = RecordRows(Names(self._folder, ids))
        listing = rows.listing
        with Originals(self._folder.address) as originals:
            for split, file in self._files:
                self._read_file(originals.file(file), split, rows)
            self._add_unnamed(rows, ids)
        listing.notes[:] = *found.notes, *map(originals.words, listing.notes)
        listing.problems[:] = map(originals.words, listing.problems)
        if not listing.videos:
            raise _without_videos(self._folder.address)
        if rows.has_splits:  # who says nothing of a video says that it has no part in them
            videos = {
                key: video if video.split else replace(video, split=UNLISTED)
                for key, video in listing.videos.items()
            }
        else:
            videos = self._with_splits(listing.videos)
        listing.videos = {key: self._folder.described(videos[key]) for key in sorted(videos)}
        return listing.listing()

    def _with_split_column(self, table: pa.Table) -> pa.Table:
        """With splits that no file gave, where there are any; see `_splits_of`."""
        if not self._split_by_folder and not self._splits:
            return table
        ids, places = (table.column(name).to_pylist() for name in ("video_id", "path"))
        return table.append_column("split", texts_of(self._splits_of(ids, places)))

    def _read_file(self, file: Path, split: str, rows: RecordRows) -> None:
        """Add what a caption file says; ``split`` is that of all its rows, "" for their own."""
        before, captioned = rows.used, False
        for at, row in read_caption_file(file, columns=self._columns):
            captioned = captioned or "caption" in row
            rows.add({**row, "split": split} if split else row, at)
        if rows.used == before and rows.left_out.count:
            raise refused(Place(file), f"no row can be used; {rows.left_out.words}")
        if not captioned:
            rows.listing.problems.append(self._words_without_captions(file))

    def _words_without_captions(self, file: Path) -> str:
        """That a file has no column of captions, and which may be it."""
        near = nearest_column(file, columns=self._columns, role="caption")
        return (
            f"{file}: no column is called {self._columns.get('caption', 'caption')}, so no caption"
            f" was read; {f'did you mean {near!r}? ' if near else ''}name yours, e.g."
            f" --set corpus.columns.caption={near or 'text'}"
        )

    def _add_unnamed(self, rows: RecordRows, ids: Mapping[str, str]) -> None:
        """Add the files that no row names, and say what the rows' names came to."""
        listing = rows.listing
        named = {video.path for video in listing.videos.values()}
        unnamed = [path for path in ids if self._folder.place(path) not in named]
        renamed: list[str] = []
        here = Place(Path(self._folder.address))  # of all: a place a file is dear
        for path in unnamed:
            video_id, full = ids[path], self._folder.place(path)
            if video_id in listing.videos:  # a row calls another file so
                renamed.append(path)
                video_id = path
            video = unnameable(video_id, full) or Video(video_id, full)
            if video.video_id in listing.videos:
                other = listing.videos[video.video_id].path
                raise refused(
                    Place(Path(full)),
                    f"its id {video.video_id!r} is what a row of the caption file calls {other};"
                    " rename the file, or give that row another video_id",
                )
            listing.add_video(video, at=here)
        names = rows.names
        listing.notes.extend(
            _words_of_names(
                names.differently_spelled, names.missing, unnamed=unnamed, renamed=renamed
            )
        )
        if rows.left_out.count:
            listing.problems.append(rows.left_out.words)

    def _with_splits(self, videos: dict[str, Video]) -> dict[str, Video]:
        """Splits that no file gave; see `_splits_of`."""
        if not self._split_by_folder and not self._splits:
            return videos
        splits = self._splits_of(list(videos), [video.path for video in videos.values()])
        return {
            key: replace(video, split=split)
            for (key, video), split in zip(videos.items(), splits, strict=True)
        }

    def _splits_of(self, ids: Sequence[str], places: Sequence[str]) -> list[str]:
        """By folder, by hash, or every video in every role: ""."""
        if self._split_by_folder:
            return [split_name(self._folder.first_folder(place)) for place in places]
        if self._splits:
            return [split_name(split_by_hash(key, self._splits)) for key in ids]
        return [""] * len(ids)


def _words_of_names(
    differently_spelled: int,
    missing: Sequence[str],
    *,
    unnamed: Sequence[str],
    renamed: Sequence[str],
) -> list[str]:
    """Notes on names that were found in another spelling, or not at all."""
    notes = []
    if differently_spelled:
        notes.append(
            "files found although the caption file spells their names differently (case, spaces, or"
            f" no extension): {differently_spelled:,}"
        )
    if renamed:
        notes.append(
            "files that no row names, called by their whole name since rows give their ids to"
            f" other files: {len(renamed):,}; the first: {renamed[0]!r}"
        )
    if missing and unnamed:
        near = nearest_names(missing, unnamed)
        notes.append(
            f"names of the caption file that find no file: {len(missing):,}; files named by no"
            f" row: {len(unnamed):,}" + (f"; the nearest: {near}" if near else "")
        )
    return notes


def check_folder(videos: str) -> None:
    """Look for one file with a video's name, as long as it takes to find it.

    Raises:
        CorpusError: there is none, or no such folder.
    """
    folder = folder_at(videos)
    if not folder.has_videos():
        raise _without_videos(folder.address)


def _without_videos(folder: str) -> CorpusError:
    known = " ".join(sorted(VIDEO_EXTENSIONS))
    return CorpusError(f"{folder}: holds no file with a video's name ({known})", path=folder)
