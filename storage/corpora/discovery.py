"""Which files below a folder are videos, by name alone; nothing is opened."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from reelvec.storage.corpora.folders import VIDEO_EXTENSIONS, Folder, read_folder
from reelvec.storage.corpora.second_reader import SecondReader
from reelvec.storage.errors import CorpusError

__all__ = [
    "Discovered",
    "VideoFiles",
    "is_there",
    "stem_of",
    "video_files",
    "walked",
]

_NOTES_SHOWN = 5


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
    """Files below ``folder`` with a video's extension; see `walked`.

    Raises:
        CorpusError: ``folder`` itself is no readable folder.
    """
    notes: list[str] = []
    found = walked(folder, looks=False, notes=notes)
    paths = [prefix + name for prefix, here in found for name in here.names]
    return Discovered(tuple(sorted(paths)), tuple(notes))


def walked(folder: Path, *, looks: bool, notes: list[str]) -> Iterator[tuple[str, Folder]]:
    """Folders below ``folder``, with their files that have a video's extension.

    Each with its path below the first one and a slash at the end, "" of the first one.

    Linked folders are followed once; names that begin with "." are skipped (``._x.mp4`` is what
    macOS leaves beside ``x.mp4``). Names that are not UTF-8 come with surrogate escapes. A folder
    below that cannot be read costs a note; whatever has a video's name and is no folder is listed:
    that it is a pipe, or a link to itself, is its outcome later.

    Args:
        folder: the first one.
        looks: at each file, while its folder is at hand: half the work of a look by its path.
        notes: those of the walk are added when it ends.

    Raises:
        CorpusError: ``folder`` itself is no readable folder.
    """
    if not folder.is_dir():
        raise CorpusError(
            f"{folder}: no such folder; `videos` names the folder that holds the video files",
            path=str(folder),
        )
    unread: list[str] = []
    seen: set[tuple[int, int]] = set()
    pending = [("", folder)]
    with SecondReader() as second:
        while pending:
            prefix, here = pending.pop()
            second.ask(pending)
            try:
                found = second.answer(here) or read_folder(here, looks=looks, seen=seen)
            except OSError as error:
                words = f"{here}: the folder cannot be read ({error.strerror}); make it readable"
                if not prefix:
                    raise CorpusError(words, path=str(here)) from error
                unread.append(f"{words}, or leave it: what it holds is not listed")
                continue
            if found.identity in seen:
                continue  # a link to a folder above or beside
            seen.add(found.identity)
            second.count(len(found.marks))
            pending += [(f"{prefix}{name}/", here / name) for name in sorted(found.folders)]
            yield prefix, found
    notes += _few(unread)


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
