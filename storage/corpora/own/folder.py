"""Your own videos: a folder searched recursively, with or without a caption file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from reelvec.storage.arrow_values import texts_of
from reelvec.storage.corpora.annotations import Place, refused
from reelvec.storage.corpora.contract import CorpusListing
from reelvec.storage.corpora.folders import VIDEO_EXTENSIONS
from reelvec.storage.corpora.listing import ListingBuilder, caption_fault, unnameable
from reelvec.storage.corpora.own.caption_files import nearest_column, read_caption_file
from reelvec.storage.corpora.own.file_columns import ids_of
from reelvec.storage.corpora.own.folders import folder_at
from reelvec.storage.corpora.own.names import Names
from reelvec.storage.corpora.own.originals import Originals
from reelvec.storage.corpora.own.splits import split_by_hash, split_name
from reelvec.storage.corpora.own.values import LeftOut, RowError, captions_of, seconds_of, text_of
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
        alone = None if self._files else self._files_alone()
        if alone is not None:
            return alone
        found = self._folder.files()
        ids = ids_of(found.paths)
        rows = _Rows(Names(self._folder, ids))
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

    def _files_alone(self) -> CorpusListing | None:
        """Files of which nothing is said but where they are; None: they need a record each."""
        notes: list[str] = []
        table = self._folder.columns(notes)
        if not table:
            return None
        if self._split_by_folder or self._splits:
            ids, places = (table.column(name).to_pylist() for name in ("video_id", "path"))
            splits = texts_of(self._splits_of(ids, places))
            table = table.append_column("split", splits)
        return CorpusListing(VideoList(table), (), tuple(notes))

    def _read_file(self, file: Path, split: str, rows: _Rows) -> None:
        """Add what a caption file says; ``split`` is that of all its rows, "" for their own."""
        before, captioned = rows.used, False
        for at, row in read_caption_file(file, columns=self._columns):
            captioned = captioned or "caption" in row
            rows.add({**row, "split": split} if split else row, at)
        if rows.used == before and rows.left_out.count:
            raise refused(Place(file), f"no row can be used; {rows.left_out.words}")
        if not captioned:
            near = nearest_column(file, columns=self._columns, role="caption")
            rows.listing.problems.append(
                f"{file}: no column is called {self._columns.get('caption', 'caption')}, so no"
                f" caption was read; {f'did you mean {near!r}? ' if near else ''}name yours, e.g."
                f" --set corpus.columns.caption={near or 'text'}"
            )

    def _add_unnamed(self, rows: _Rows, ids: Mapping[str, str]) -> None:
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
        listing.notes.extend(_words_of_names(rows.names, unnamed=unnamed, renamed=renamed))
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


@dataclass(slots=True)
class _Rows:
    """Rows of caption files made into videos and captions."""

    names: Names
    listing: ListingBuilder = field(default_factory=ListingBuilder)
    left_out: LeftOut = field(default_factory=LeftOut)
    has_splits: bool = False
    used: int = 0

    def add(self, row: Mapping[str, Any], at: Place) -> None:
        """One row, its video and its captions; what cannot be used of it is left out.

        Raises:
            CorpusError: it contradicts a row before.
        """
        self.has_splits = self.has_splits or "split" in row
        try:
            video = self._video(row, at)
            subset = text_of(row, "subset")
        except RowError as error:
            self.left_out.add(at, error)
            return
        self._add_once(video, at)
        self.used += 1
        for text in captions_of(row):
            fault = caption_fault(text)
            if fault:
                self.left_out.add(at, f"the caption of video {video.video_id!r} {fault}")
            else:
                self.listing.add_caption(video.video_id, text, at=at, subset=subset)

    def _video(self, row: Mapping[str, Any], at: Place) -> Video:
        video_id, full = self.names.find(text_of(row, "video_id"), text_of(row, "path"), at)
        start, end = seconds_of(row, "start"), seconds_of(row, "end")
        if end is not None and end <= (start or 0):
            raise RowError(f"the piece {start or 0:g} to {end:g} s is empty; end comes after start")
        split = split_name(text_of(row, "split"))
        return Video(video_id, full, split, start_seconds=start, end_seconds=end)

    def _add_once(self, video: Video, at: Place) -> None:
        """Add a video once; its rows must all say the same of it, or nothing of its split."""
        known = self.listing.videos.get(video.video_id)
        if known is None:
            self.listing.add_video(video, at=at)
            return
        if known == video:
            return
        split = video.split or known.split
        if replace(known, split=split) != replace(video, split=split):
            raise refused(
                at,
                f"video {video.video_id!r} is {video.path} ({video.start_seconds} to"
                f" {video.end_seconds} s) here and {known.path} ({known.start_seconds} to"
                f" {known.end_seconds} s) above; one id means one piece of one file",
            )
        if known.split in ("", split):
            self.listing.videos[video.video_id] = replace(known, split=split)
        else:
            self.listing.add_video(video, at=at)  # refuses it: two splits


def _words_of_names(names: Names, *, unnamed: list[str], renamed: list[str]) -> list[str]:
    """Notes on names that were found in another spelling, or not at all."""
    notes = []
    if names.differently_spelled:
        notes.append(
            "files found although the caption file spells their names differently (case, spaces, or"
            f" no extension): {names.differently_spelled:,}"
        )
    if renamed:
        notes.append(
            "files that no row names, called by their whole name since rows give their ids to"
            f" other files: {len(renamed):,}; the first: {renamed[0]!r}"
        )
    if names.missing and unnamed:
        near = names.nearest(unnamed)
        notes.append(
            f"names of the caption file that find no file: {names.missing:,}; files named by no"
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
