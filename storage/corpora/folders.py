"""What one folder holds: its folders, and its files with a video's name, looked at if wanted."""

from __future__ import annotations

import os
from array import array
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from pathlib import Path

from reelvec.storage.file_marks import NO_FILE, FileMark

__all__ = ["VIDEO_EXTENSIONS", "Folder", "read_folder"]

# fmt: off
VIDEO_EXTENSIONS = frozenset((
    ".3gp", ".asf", ".avi", ".divx", ".flv", ".gif", ".m2ts", ".m2v", ".m4v", ".mkv", ".mov",
    ".mp4", ".mpe", ".mpeg", ".mpg", ".mts", ".mxf", ".ogm", ".ogv", ".rm", ".rmvb", ".ts", ".vob",
    ".webm", ".wmv", ".y4m",
))
# fmt: on
"""A file with such a name is taken for a video, whatever it holds: what is none is quarantined
by name later, never passed over in silence."""


@dataclass(frozen=True, slots=True)
class Folder:
    """One folder, in the order of the file system."""

    identity: tuple[int, int]
    """Device and inode."""
    folders: list[str]
    """Their names; whoever was ``seen`` has none, and no files."""
    names: list[str]
    """Of files with a video's name."""
    marks: array[int]
    """What `FileMark` holds of each file, one after another; none where nobody looks."""


def read_folder(here: Path, *, looks: bool, seen: Collection[tuple[int, int]] = ()) -> Folder:
    """What is in a folder; nothing of one that was ``seen``.

    It is opened, so that what is in it is asked for by name alone, which costs less than a path.

    Raises:
        OSError: it cannot be read.
    """
    descriptor = os.open(here, os.O_RDONLY | os.O_DIRECTORY)
    try:
        status = os.fstat(descriptor)
        identity = status.st_dev, status.st_ino
        if identity in seen:
            return Folder(identity, [], [], array("q"))
        with os.scandir(descriptor) as found:
            return _sorted_out(found, identity=identity, looks=looks)
    finally:
        os.close(descriptor)


def _sorted_out(
    found: Iterable[os.DirEntry[str]], *, identity: tuple[int, int], looks: bool
) -> Folder:
    """A loop without a call more than it needs: a million files come by here every night."""
    folder = Folder(identity, [], [], array("q"))
    for entry in found:
        name = entry.name
        if name[0] == ".":
            continue
        try:
            is_folder = entry.is_dir()
        except OSError:  # a link to itself, or through a folder that may not be entered
            is_folder = False
        if is_folder:
            folder.folders.append(name)
        elif name[name.rfind(".") :].lower() in VIDEO_EXTENSIONS:  # as `stem_of` would cut it
            folder.names.append(name)
            if looks:
                folder.marks.extend(_seen(entry))
    return folder


def _seen(entry: os.DirEntry[str]) -> tuple[int, int, int, int]:
    """As `FileMark.at` sees it."""
    try:
        return FileMark.numbers(entry.stat())
    except OSError:
        return NO_FILE
