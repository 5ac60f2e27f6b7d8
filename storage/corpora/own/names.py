"""Finds the files that rows of a caption file mean, however they spell them."""

from __future__ import annotations

import difflib
import os
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from pathlib import Path

from reelvec.storage.corpora.annotations import Place, refused, shown
from reelvec.storage.corpora.discovery import stem_of
from reelvec.storage.corpora.own.folders import VideoFolder
from reelvec.storage.corpora.own.values import RowError

__all__ = ["Names", "check_names", "folded", "loose_name", "nearest_names"]

_NEAR_SHOWN = 3
_NEAR_AMONG = 2_000
"""Names compared one by one; as many as a person waits for."""
_NEAR_RATIO = 0.3


class Names:
    r"""The files of a folder by every name that rows may use for them.

    A name is a path or a video id. What is written exactly so is found first; then what differs in
    case, in the spaces around it, in Unicode's composition, in ``\`` for ``/``, or in an extension
    left out, where only one file fits. Another extension or another folder never fits.

    Args:
        folder: Of the videos.
        ids: Video id by path below the folder.
    """

    def __init__(self, folder: VideoFolder, ids: Mapping[str, str]) -> None:
        self._folder = folder
        self._ids = {folder.place(path): video_id for path, video_id in ids.items()}
        self._paths = {path: folder.place(path) for path in ids}
        self._paths |= {video_id: path for path, video_id in self._ids.items()}
        self._known: dict[tuple[str, str, Path], tuple[str, str]] = {}  # rows repeat their video
        self._exact: dict[str, Place] = {}
        self._loose: dict[str, tuple[str, Place]] = {}
        self._missing: dict[str, str] = {}

    def find(self, video_id: str, path: str, at: Place) -> tuple[str, str]:
        """Id and absolute path of the file a row names by either or both; it may be missing.

        Raises:
            RowError: the row names none, or one that no file can have.
            CorpusError: two files answer to the name, or two names to one file.
        """
        named = (video_id, path, at.path)
        if named not in self._known:
            self._known[named] = self._found(video_id, path, at)
        return self._known[named]

    @property
    def differently_spelled(self) -> int:
        """Files that were found although their names are written in another way."""
        return len(self._loose)

    @property
    def missing(self) -> list[str]:
        """Names that no file answers to."""
        return list(self._missing.values())

    def _found(self, video_id: str, path: str, at: Place) -> tuple[str, str]:
        check_names(video_id, path)
        if path:
            full = self._locate(path, at)
            return video_id or self._ids.get(full) or self._missing_id(full), full
        full = self._paths.get(video_id, "")
        if full:
            self._named_exactly(full, at)
            return video_id, full
        full = self._loosely(video_id, at)
        if full:
            return self._ids[full], full
        full = self._folder.meant(video_id)
        self._missing.setdefault(full, video_id)
        return video_id, full

    def _locate(self, path: str, at: Place) -> str:
        full = self._folder.meant(path)
        for place in (full, self._folder.beside(at.path, path)):
            if place in self._ids or self._folder.has_file(place):
                self._named_exactly(place, at)
                return place
        if path in self._paths:  # an id: the path without its extension
            self._named_exactly(self._paths[path], at)
            return self._paths[path]
        found = self._loosely(path, at)
        if not found:
            self._missing.setdefault(full, path)
        return found or full

    def _missing_id(self, full: str) -> str:
        """The id of a missing file: as if it were there, unless a file that is there has it."""
        path = self._folder.relative(full)
        return path if stem_of(path) in self._paths else stem_of(path)

    def _loosely(self, name: str, at: Place) -> str:
        """The one file that ``name`` means if it is not to the letter; "" where there is none."""
        files = self._folded.get(folded(loose_name(self._folder, name)), [])
        if len(files) > 1:
            one, other = (self._folder.relative(file) for file in files[:2])
            raise refused(
                at,
                f"{shown(name)} may be {shown(one)} or {shown(other)}; write the path of the one"
                " that is meant, with its extension",
            )
        if not files:
            return ""
        self._loose.setdefault(files[0], (name, at))
        self._check_one_name(files[0], at)
        return files[0]

    def _named_exactly(self, full: str, at: Place) -> None:
        self._exact.setdefault(full, at)
        self._check_one_name(full, at)

    def _check_one_name(self, full: str, at: Place) -> None:
        """A file that is named exactly is not what another spelling means as well."""
        loose, exact = self._loose.get(full), self._exact.get(full)
        if loose is None or exact is None:
            return
        raise refused(
            at,
            f"{shown(self._folder.relative(full))} is named by {exact}, and by {loose[1]}"
            f" as {shown(loose[0])}; spell both alike, or put the other file there if they are two",
        )

    @cached_property
    def _folded(self) -> dict[str, list[str]]:
        """Absolute paths by folded path, and by folded path without extension."""
        found: dict[str, list[str]] = defaultdict(list)
        for full in self._ids:
            path = self._folder.relative(full)
            for name in {folded(path), folded(stem_of(path))}:
                found[name].append(full)
        return dict(found)


def loose_name(folder: VideoFolder, name: str) -> str:
    """The path below the folder that a name stands for if it is not to the letter."""
    relative = os.path.normpath(name.strip().replace("\\", "/"))
    return relative.removeprefix(f"{folder.address}/")


def folded(path: str) -> str:
    """What paths have alike that differ in case, composition or the spaces around them."""
    return unicodedata.normalize("NFC", path.strip()).casefold()


def nearest_names(missing: Iterable[str], unnamed: Sequence[str]) -> str:
    """Pairs of a missing name and the most similar unnamed path, in words; "" for none."""
    among = {stem_of(path): path for path in unnamed[:_NEAR_AMONG]}
    by_stem = {folded(stem_of(path)).rpartition("/")[2]: path for path in reversed(unnamed)}
    pairs = []
    for name in missing:
        stem = folded(stem_of(name)).rpartition("/")[2]
        near = difflib.get_close_matches(stem_of(name), among, n=1, cutoff=_NEAR_RATIO)
        path = by_stem.get(stem) or (among[near[0]] if near else "")
        if path:
            pairs.append(f"{shown(name)} is not there, {shown(path)} is")
        if len(pairs) == _NEAR_SHOWN:
            break
    return "; ".join(pairs)


def check_names(video_id: str, path: str) -> None:
    """What a row calls its video, by either or both.

    Raises:
        RowError: it names none, or what no file can be called.
    """
    if "\0" in path + video_id:
        raise RowError(
            f"{shown(path or video_id)} holds a zero byte; no file has such a name: correct it"
        )
    if not path and not video_id:
        raise RowError("names no video; fill its video_id or its path, or remove the row")
