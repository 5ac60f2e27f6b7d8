"""Which files below a folder are videos, by name alone; nothing is opened."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path

from reelvec.storage.errors import CorpusError

__all__ = ["VIDEO_EXTENSIONS", "VideoFiles", "is_there", "stem_of", "video_files"]

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
    except OSError:
        return False


def video_files(folder: Path) -> Iterator[str]:
    """Paths below ``folder`` ("/" between names) of files with a video's extension, sorted.

    Linked folders are followed once; names that begin with "." are skipped (``._x.mp4`` is what
    macOS leaves beside ``x.mp4``). Names that are not UTF-8 come with surrogate escapes.

    Raises:
        CorpusError: ``folder`` is no readable folder.
    """
    if not folder.is_dir():
        raise CorpusError(
            f"{folder}: no such folder; `videos` names the folder that holds the video files",
            path=str(folder),
        )
    paths: list[str] = []
    seen: set[tuple[int, int]] = set()
    pending = [("", folder)]
    while pending:
        prefix, here = pending.pop()
        status = here.stat()
        if (status.st_dev, status.st_ino) in seen:  # a link to a folder above or beside
            continue
        seen.add((status.st_dev, status.st_ino))
        try:
            entries = sorted(os.scandir(here), key=lambda entry: entry.name)
        except OSError as error:
            raise CorpusError(
                f"{here}: the folder cannot be read ({error.strerror}); make it readable",
                path=str(here),
            ) from error
        for entry in entries:
            if entry.name.startswith("."):
                continue
            if entry.is_dir():
                pending.append((f"{prefix}{entry.name}/", Path(entry.path)))
            elif stem_of(entry.name) != entry.name:
                paths.append(prefix + entry.name)
    return iter(sorted(paths))


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

    @cached_property
    def _by_name(self) -> dict[str, list[str]]:
        """Paths by file name and by file name without its last extension; one walk."""
        index: dict[str, list[str]] = defaultdict(list)
        if not self._required and not self.folder.exists():
            return {}
        for path in video_files(self.folder):
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
