"""Which files below a folder are videos, by name alone; nothing is opened."""

from __future__ import annotations

import os
from collections import defaultdict
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from reelvec.storage.errors import CorpusError

__all__ = [
    "VIDEO_EXTENSIONS",
    "Discovered",
    "VideoFiles",
    "is_there",
    "stem_of",
    "video_files",
]

_NOTES_SHOWN = 5

# fmt: off
VIDEO_EXTENSIONS = frozenset((
    ".3gp", ".asf", ".avi", ".divx", ".flv", ".gif", ".m2ts", ".m2v", ".m4v", ".mkv", ".mov",
    ".mp4", ".mpe", ".mpeg", ".mpg", ".mts", ".mxf", ".ogm", ".ogv", ".rm", ".rmvb", ".ts", ".vob",
    ".webm", ".wmv", ".y4m",
))
# fmt: on
"""A file with such a name is taken for a video, whatever it holds: what is none is quarantined
by name later, never passed over in silence."""


def is_there(path: str) -> bool:
    """Whether the file is there; False also where the name is impossible, such as too long."""
    try:
        return Path(path).exists()
    except (OSError, ValueError):  # ValueError: a zero byte, or half a surrogate pair
        return False


@dataclass(frozen=True, slots=True)
class Discovered:
    """What a walk found: paths below the folder ("/" between names), sorted; and its notes."""

    paths: tuple[str, ...]
    notes: tuple[str, ...] = ()


def video_files(folder: Path) -> Discovered:
    """Files below ``folder`` with a video's extension.

    Linked folders are followed once; names that begin with "." are skipped (``._x.mp4`` is what
    macOS leaves beside ``x.mp4``). Names that are not UTF-8 come with surrogate escapes. A folder
    below that cannot be read costs a note; whatever has a video's name and is no folder is listed:
    that it is a pipe, or a link to itself, is its outcome later.

    Raises:
        CorpusError: ``folder`` itself is no readable folder.
    """
    if not folder.is_dir():
        raise CorpusError(
            f"{folder}: no such folder; `videos` names the folder that holds the video files",
            path=str(folder),
        )
    paths: list[str] = []
    unread: list[str] = []
    seen: set[tuple[int, int]] = set()
    pending = [("", folder)]
    while pending:
        prefix, here = pending.pop()
        try:
            status = here.stat()
            if (status.st_dev, status.st_ino) in seen:  # a link to a folder above or beside
                continue
            seen.add((status.st_dev, status.st_ino))
            with os.scandir(here) as found:
                entries = [entry for entry in found if not entry.name.startswith(".")]
        except OSError as error:
            words = f"{here}: the folder cannot be read ({error.strerror}); make it readable"
            if not prefix:
                raise CorpusError(words, path=str(here)) from error
            unread.append(f"{words}, or leave it: what it holds is not listed")
            continue
        folders = [entry for entry in entries if _is_folder(entry)]
        names = {entry.name for entry in entries}.difference(entry.name for entry in folders)
        paths += [prefix + name for name in names if _is_called_a_video(name)]
        for entry in sorted(folders, key=lambda entry: entry.name):
            pending.append((f"{prefix}{entry.name}/", Path(entry.path)))
    return Discovered(tuple(sorted(paths)), _few(unread))


def _is_called_a_video(name: str) -> bool:
    """Whether `stem_of` cuts a name that does not begin with a dot."""
    return name[name.rfind(".") :].lower() in VIDEO_EXTENSIONS


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself, or through a folder that may not be entered
        return False


def _few(notes: list[str]) -> tuple[str, ...]:
    """A note each, but not thousands of them."""
    more = len(notes) - _NOTES_SHOWN
    return (*notes[:_NOTES_SHOWN], *([f"{more:,} more folders cannot be read"] if more > 0 else []))


def stem_of(path: str) -> str:
    """The path without its last extension if that is a video's: ``a/x.mov.mp4`` is ``a/x.mov``."""
    stem, _, extension = path.rpartition(".")
    named = bool(stem) and not stem.endswith("/")
    return stem if named and f".{extension.lower()}" in VIDEO_EXTENSIONS else path


class VideoFiles:
    """Finds a benchmark's videos below a folder by the names its annotations use.

    Args:
        folder: Searched once, when the first video is asked for.
        required: Whether a folder that does not exist is an error, or one without videos.
    """

    def __init__(self, folder: str | os.PathLike[str], *, required: bool = True) -> None:
        self.folder = Path(folder).absolute()
        self._required = required

    @property
    def notes(self) -> tuple[str, ...]:
        """Which folders could not be read, once a video was looked for."""
        return self._found.notes if "_found" in vars(self) else ()

    @cached_property
    def _found(self) -> Discovered:
        if not self._required and not self.folder.exists():
            return Discovered(())
        return video_files(self.folder)

    @cached_property
    def _by_name(self) -> dict[str, list[str]]:
        """Paths by file name and by file name without its last extension; one walk."""
        index: dict[str, list[str]] = defaultdict(list)
        for path in self._found.paths:
            name = path.rsplit("/", 1)[-1]
            index[name].append(path)
            if stem_of(name) != name:
                index[stem_of(name)].append(path)
        return dict(index)

    def find(self, *names: str) -> str | None:
        """Absolute path of the file called by the first of ``names`` that finds one.

        A name matches a whole file name or one less its last extension, in any subfolder.

        Raises:
            CorpusError: two files answer to one name.
        """
        for name in names:
            paths = self._by_name.get(name, [])
            if len(paths) > 1:
                raise CorpusError(
                    f"{self.folder}: {paths[0]!r} and {paths[1]!r} both answer to {name!r}; a video"
                    " has one file: remove one, or let `videos` name a folder that holds one",
                    path=str(self.folder),
                )
            if paths:
                return str(self.folder / paths[0])
        return None

    def expected(self, name: str) -> str:
        """Where a missing video is looked for, absolute (a ledger row needs a path)."""
        return str(self.folder / (name if stem_of(name) != name else f"{name}.mp4"))
