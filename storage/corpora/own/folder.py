"""Your own videos: a folder searched recursively, with or without a caption file."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from reelvec.storage.corpora.annotations import Place, refused
from reelvec.storage.corpora.contract import CorpusListing
from reelvec.storage.corpora.discovery import VIDEO_EXTENSIONS, is_there, stem_of, video_files
from reelvec.storage.corpora.listing import ListingBuilder, unnameable
from reelvec.storage.corpora.own.caption_files import Row, read_caption_file
from reelvec.storage.corpora.own.splits import split_by_hash, split_name
from reelvec.storage.records import Video

__all__ = ["UNLISTED", "FolderReader", "ids_of"]

UNLISTED = "unlisted"
"""Split of videos that caption files with splits do not name: embedded, but in no role."""


def ids_of(paths: Sequence[str]) -> dict[str, str]:
    """Video ids of relative paths: without extension, except where two would be the same.

    ``a.mp4`` is ``a``; beside an ``a.mkv`` both keep their extension. Ids differ wherever the
    bytes of the names do: case and Unicode normalisation twins stay apart.
    """
    ids = {path: stem_of(path) for path in paths}
    while True:  # each round gives its whole name to at least one more path
        counts = Counter(ids.values())
        twins = [path for path, name in ids.items() if counts[name] > 1 and name != path]
        if not twins:
            return ids
        ids.update((path, path) for path in twins)


class FolderReader:
    """Lists every video file of a folder and every video its caption files name.

    Args:
        videos: The folder.
        captions: A caption file, or one for each split.
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
        self._folder = _absolute(videos)
        files = {"": captions} if isinstance(captions, str) else captions or {}
        self._files = {split_name(split): _absolute(file) for split, file in files.items()}
        self._columns = columns or {}
        self._splits = splits or {}
        self._split_by_folder = split_by_folder

    def read(self) -> CorpusListing:
        """Walk the folder and read the caption files; see ``CorpusReader.read``.

        Videos are in the order of their ids. A caption file's paths are absolute, relative to
        the folder or else to the file itself; what is missing is listed all the same.
        """
        ids = ids_of(list(video_files(self._folder)))
        names = _Names(self._folder, ids)
        listing = ListingBuilder()
        has_splits = any(self._files)
        uncaptioned: dict[Path, None] = {}
        for at, row in self._rows():
            has_splits = has_splits or "split" in row
            if "caption" not in row:
                uncaptioned[at.path] = None
            video = names.video(row, at)
            _add_once(listing, video, at)
            for text in _captions(row):
                subset = _text(row, "subset", at)
                listing.add_caption(video.video_id, text, at=at, subset=subset)
        for file in uncaptioned:
            listing.notes.append(
                f"{file}: no column is called caption, so no caption was read; name yours, e.g."
                " --set corpus.columns.caption=text"
            )
        named = {video.path for video in listing.videos.values()}
        for path, video_id in ids.items():
            full = str(self._folder / path)
            if full not in named:
                video = unnameable(video_id, full) or Video(video_id, full)
                listing.add_video(
                    replace(video, split=UNLISTED if has_splits else ""), at=Place(Path(full))
                )
        if not listing.videos:
            known = " ".join(sorted(VIDEO_EXTENSIONS))
            raise refused(Place(self._folder), f"holds no file with a video's name ({known})")
        videos = listing.videos if has_splits else self._with_splits(listing.videos)
        listing.videos = dict(sorted(videos.items()))
        return listing.listing()

    def _rows(self) -> Iterator[Row]:
        for split, file in self._files.items():
            for at, row in read_caption_file(file, columns=self._columns):
                yield at, {**row, "split": split} if split else row

    def _with_splits(self, videos: Mapping[str, Video]) -> dict[str, Video]:
        """Splits that no file gave: by folder, by hash, or every video in every role."""
        if self._split_by_folder:
            parts = {
                key: os.path.relpath(video.path, self._folder).split("/")
                for key, video in videos.items()
            }
            return {
                key: replace(video, split=split_name(parts[key][0]) if parts[key][1:] else "")
                for key, video in videos.items()
            }
        if self._splits:
            return {
                key: replace(video, split=split_by_hash(key, self._splits))
                for key, video in videos.items()
            }
        return dict(videos)


class _Names:
    """Finds the video that a row of a caption file means."""

    def __init__(self, folder: Path, ids: Mapping[str, str]) -> None:
        self._folder = folder
        self._ids = {str(folder / path): video_id for path, video_id in ids.items()}
        self._paths = {path: str(folder / path) for path in ids}
        self._paths |= {video_id: path for path, video_id in self._ids.items()}
        self._known: dict[tuple[str, str, Path], tuple[str, str]] = {}  # rows repeat their video

    def video(self, row: Mapping[str, Any], at: Place) -> Video:
        named = (_text(row, "video_id", at), _text(row, "path", at), at.path)
        if named not in self._known:
            self._known[named] = self._find(named[0], named[1], at)
        video_id, full = self._known[named]
        start, end = _seconds(row, "start", at), _seconds(row, "end", at)
        if end is not None and end <= (start or 0):
            raise refused(
                at, f"the window {start or 0:g} to {end:g} s is empty; end comes after start"
            )
        split = split_name(_text(row, "split", at))
        return Video(video_id, full, split, start_seconds=start, end_seconds=end)

    def _find(self, video_id: str, path: str, at: Place) -> tuple[str, str]:
        """Id and absolute path of the file a row names by either or both."""
        if "\0" in path + video_id:
            raise refused(
                at, f"{path or video_id!r} holds a zero byte; no file has such a name: correct it"
            )
        if path:
            full = self._locate(path, beside=at.path.parent)
            missing_id = stem_of(full.removeprefix(f"{self._folder}/"))
            return video_id or self._ids.get(full) or missing_id, full
        if video_id:
            return video_id, self._paths.get(video_id) or os.path.normpath(self._folder / video_id)
        raise refused(at, "names no video; fill its video_id or its path, or remove the row")

    def _locate(self, path: str, *, beside: Path) -> str:
        full = os.path.normpath(self._folder / path)
        if full in self._ids or is_there(full):
            return full
        other = os.path.normpath(beside / path)
        return other if is_there(other) else full


def _absolute(path: str) -> Path:
    return Path(os.path.normpath(Path(path).expanduser().absolute()))


def _add_once(listing: ListingBuilder, video: Video, at: Place) -> None:
    """Add a video of a caption file once; its rows must all say the same of it."""
    known = listing.videos.get(video.video_id)
    if known is None or known.split != video.split:
        listing.add_video(video, at=at)
    elif known != video:
        raise refused(
            at,
            f"video {video.video_id!r} is {video.path} ({video.start_seconds} to"
            f" {video.end_seconds} s) here and {known.path} ({known.start_seconds} to"
            f" {known.end_seconds} s) above; one id means one piece of one file",
        )


def _captions(row: Mapping[str, Any]) -> list[Any]:
    value = row.get("caption")
    if value is None:
        return []
    return value if isinstance(value, list) else [value]


def _text(row: Mapping[str, Any], role: str, at: Place) -> str:
    value = row.get(role)
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    raise refused(at, f"{role} is {value!r}; it is text, or a whole number")


def _seconds(row: Mapping[str, Any], role: str, at: Place) -> float | None:
    value = row.get(role)
    if value is None or value == "":
        return None
    try:
        seconds = float(value)
    except (TypeError, ValueError):
        seconds = -1.0
    if not 0 <= seconds < float("inf"):
        raise refused(at, f"{role} is {value!r}; it is a time in seconds, 0 or more")
    return seconds
