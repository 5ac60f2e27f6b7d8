"""The folder of a person's videos: of this machine, or where they are, below an address."""

from __future__ import annotations

import os
import posixpath
from array import array
from collections.abc import Iterator
from dataclasses import asdict, astuple, replace
from functools import cached_property
from pathlib import Path
from typing import Protocol

import pyarrow as pa

from reelvec.configs.uris import checked_uri, is_uri, name_in_web, spelled_for_web
from reelvec.storage.arrow_values import texts_of
from reelvec.storage.corpora.discovery import Discovered, is_there, stem_of, video_files
from reelvec.storage.corpora.own.file_columns import by_id, columns_of, file_columns, ids_of
from reelvec.storage.errors import CorpusError, StoreError
from reelvec.storage.file_marks import NO_FILE, FileMark
from reelvec.storage.places.source_contract import Listed
from reelvec.storage.places.source_failures import reason_of
from reelvec.storage.places.source_kinds import objects_of
from reelvec.storage.reasons import NOT_KNOWN, Reason, Status
from reelvec.storage.records import Video

__all__ = ["VideoFolder", "folder_at"]


class VideoFolder(Protocol):
    """Where videos are, and how paths below it are written whole."""

    address: str

    def columns(self, notes: list[str]) -> pa.Table | None:
        """The videos of `files` as columns of `Video`, by id, with what `described` adds.

        Notes are added to `notes`. None: there is none, or they need a record each.

        Raises:
            CorpusError: as `files`.
        """

    def files(self) -> Discovered:
        """Paths below it with a video's name.

        Raises:
            CorpusError: there is no such folder, or it may not be listed.
        """

    def has_videos(self) -> bool:
        """Whether there is one, as soon as it is found.

        Raises:
            CorpusError: as `files`.
        """

    def place(self, path: str) -> str:
        """The whole path of one of `files`."""

    def relative(self, place: str) -> str:
        """The path below the folder, the inverse of `place`; what lies elsewhere as it is."""

    def first_folder(self, place: str) -> str:
        """The folder below this one in which the file is; "": it is in this one."""

    def meant(self, path: str) -> str:
        """The whole path that a row's path, relative or whole, stands for."""

    def beside(self, file: Path, path: str) -> str:
        """The same where it is relative to the caption file."""

    def has_file(self, place: str) -> bool:
        """Whether a file is there that `files` does not name."""

    def described(self, video: Video) -> Video:
        """The video with what is known of its file without opening it."""


class LocalFolder:
    """A folder of this machine, absolute."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._above = os.path.join(folder, "")  # noqa: PTH118 - with the slash
        self.address = str(folder)

    def files(self) -> Discovered:
        return video_files(self._folder)

    def columns(self, notes: list[str]) -> pa.Table | None:
        return file_columns(self._folder, above=self._above, notes=notes)

    def has_videos(self) -> bool:
        names = (name for _, _, files in os.walk(self._folder) for name in files)
        if any(stem_of(name) != name and not name.startswith(".") for name in names):
            return True
        return bool(self.files().paths)  # behind links there may be some

    def place(self, path: str) -> str:
        return self._above + path  # asked of every file

    def relative(self, place: str) -> str:
        return place.removeprefix(f"{self.address}/")

    def first_folder(self, place: str) -> str:
        first, below, _ = os.path.relpath(place, self._folder).partition("/")
        return first if below else ""

    def meant(self, path: str) -> str:
        return os.path.normpath(self._folder / path)

    def beside(self, file: Path, path: str) -> str:
        return os.path.normpath(file.parent / path)

    def has_file(self, place: str) -> bool:
        return is_there(place) and not Path(place).is_dir()

    def described(self, video: Video) -> Video:
        return video


class RemoteFolder:
    """Objects below an address; listed once.

    What a web server writes as `my%20clip.mp4` has the path, and the id, that the file has in a
    folder. What it writes so that no file can be meant has its whole address for a path.
    """

    def __init__(self, uri: str) -> None:
        try:
            self.address = checked_uri(uri)
        except ValueError as error:
            raise CorpusError(f"corpus.videos: {error}", path=uri) from None
        self._is_web = self.address.startswith("http")
        self._faults: dict[str, tuple[Reason, str]] = {}
        """By path: why there is no mark of what the server names."""

    def files(self) -> Discovered:
        return Discovered(tuple(sorted(self._marks)), self._notes)

    def columns(self, notes: list[str]) -> pa.Table | None:
        if self._is_web and any(
            self.place(path) != f"{self.address}/{path}" for path in self._marks
        ):
            return None
        ids, marks = ids_of(list(self._marks)), array("q")
        for mark in self._marks.values():
            marks.extend(astuple(mark) if mark.bytes else NO_FILE)
        try:
            table = columns_of(list(ids.values()), list(ids), marks)
            if 0 in marks[:: len(NO_FILE)]:  # bytes of one
                told = [self._outcome(path, mark) for path, mark in self._marks.items()]
                outcomes = zip(
                    ("status", "reason", "message"), zip(*told, strict=True), strict=True
                )
                for name, words in outcomes:
                    table = table.append_column(name, texts_of(words))
            notes += self._notes
            return by_id([table], above=f"{self.address}/")
        except UnicodeEncodeError:
            return None

    def has_videos(self) -> bool:
        return next(self._videos(), None) is not None

    def place(self, path: str) -> str:
        if not self._is_web:
            return f"{self.address}/{path}"
        return path if is_uri(path) else f"{self.address}/{spelled_for_web(path)}"

    def relative(self, place: str) -> str:
        below = place.removeprefix(f"{self.address}/")
        if not self._is_web or below == place:
            return below
        return name_in_web(below) or place

    def first_folder(self, place: str) -> str:
        path = self.relative(place)
        first, below, _ = path.partition("/")
        return first if below and not is_uri(path) else ""

    def meant(self, path: str) -> str:
        if is_uri(path):
            below = path.startswith(f"{self.address}/")
            return self.place(self.relative(path)) if below else path
        return self.place(posixpath.normpath(path).lstrip("/"))

    def beside(self, file: Path, path: str) -> str:  # noqa: ARG002
        return self.meant(path)

    def has_file(self, place: str) -> bool:  # noqa: ARG002
        return False

    def described(self, video: Video) -> Video:
        """With the mark of its object; quarantined where there is none, or no byte in it."""
        path = self.relative(video.path)
        mark = self._marks.get(path, FileMark())
        if mark.bytes:
            return replace(video, **asdict(mark))
        status, reason, message = self._outcome(path, mark)
        return replace(video, status=status, reason=reason, message=message)

    def _outcome(self, path: str, mark: FileMark) -> tuple[str, str, str]:
        """Status, reason and message of an object before it is opened."""
        if mark.bytes:
            return str(Status.OK), "", ""
        reason, words = Reason.EMPTY, "zero bytes; upload it again"
        if path in self._faults:
            reason, words = self._faults[path]
        elif mark == FileMark():
            reason, words = Reason.MISSING, f"no such object is listed below {self.address}"
        return str(Status.QUARANTINED), str(reason), words

    @cached_property
    def _marks(self) -> dict[str, FileMark]:
        found = {}
        for one in self._videos():
            path = self.relative(one.uri)
            found[path] = one.mark
            if one.fault is not None:
                self._faults[path] = (reason_of(one.fault), str(one.fault))
        return found

    @property
    def _notes(self) -> tuple[str, ...]:
        """That files were not told of: the ledger is silent where they were known before."""
        silent = [
            words for _, (reason, words) in sorted(self._faults.items()) if reason in NOT_KNOWN
        ]
        if not silent:
            return ()
        return (
            f"{self.address} did not tell of {len(silent):,} of its files; what is known of them"
            f" from before stays, and the next run asks again; the first: {silent[0]}",
        )

    def _is_video(self, uri: str) -> bool:
        path = self.relative(uri)
        hidden = any(name.startswith(".") for name in path.split("/"))
        return uri.startswith(f"{self.address}/") and stem_of(path) != path and not hidden

    def _videos(self) -> Iterator[Listed]:
        try:
            yield from objects_of(self.address).below(self.address, wanted=self._is_video)
        except StoreError as error:
            raise CorpusError(f"corpus.videos: {error}", path=self.address) from error


def folder_at(videos: str) -> VideoFolder:
    """The folder that `corpus.videos` names."""
    if is_uri(videos):
        return RemoteFolder(videos)
    return LocalFolder(Path(os.path.normpath(Path(videos).expanduser().absolute())))
