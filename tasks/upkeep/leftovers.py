"""What lies in a store beside its artifacts and may name a video, or hold what was its."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

from reelvec.storage import layout
from reelvec.storage.errors import MissingArtifactError
from reelvec.storage.roots import Root

__all__ = ["Leftovers", "leftovers_of"]

_LOGS = "logs"


@dataclass(frozen=True, slots=True, kw_only=True)
class Leftovers:
    """Files that go with a video that is forgotten."""

    paths: tuple[str, ...]
    """Below the root: pages and records of the gate that name it; damaged files that were set
    aside, and files that killed writers left, of which nobody can say what they hold."""
    here: tuple[Path, ...]
    """On this machine: logs of trainings that name it, and copies of reports."""
    bytes: int

    def remove(self, root: Root) -> None:
        """Delete them.

        Raises:
            StoreError: one cannot be deleted.
        """
        root.delete(*self.paths)
        for file in self.here:
            file.unlink(missing_ok=True)


def leftovers_of(root: Root, words: Collection[str], *, pages: bool) -> Leftovers:
    """Files beside the artifacts that go with whom these words name; writes nothing.

    Args:
        root: the store.
        words: that name them.
        pages: copies of reports go too, whatever they say: the next report is copied again.
    """
    named = _naming(words)
    paths, size = [], 0
    aside = tuple(f"{layout.DAMAGED}/{kind}/" for kind in layout.KINDS)
    for path, taken, is_file in root.walk():
        if not is_file:
            continue
        if path.startswith((*aside, f"{layout.SCRATCH}/")) or (
            path.startswith(f"{layout.GATES}/") and named.search(_bytes_of(root, path))
        ):
            paths.append(path)
            size += taken
    here = [log for log in _files(root, _LOGS) if named.search(log.read_bytes())]
    here += _files(root, layout.REPORTS) if pages else ()
    size += sum(file.stat().st_size for file in here)
    return Leftovers(paths=tuple(sorted(paths)), here=tuple(here), bytes=size)


def _naming(words: Collection[str]) -> re.Pattern[bytes]:
    """Finds one of the words standing alone, as it is or as JSON and HTML write it."""
    if not words:
        return re.compile(rb"(?!)")
    written = {form for word in words for form in (word, json.dumps(word)[1:-1], html.escape(word))}
    either = b"|".join(re.escape(form.encode("utf-8", "surrogatepass")) for form in sorted(written))
    return re.compile(rb"(?<![0-9A-Za-z_])(?:" + either + rb")(?![0-9A-Za-z_])")


def _bytes_of(root: Root, path: str) -> bytes:
    try:
        return root.read(path)
    except MissingArtifactError:
        return b""


def _files(root: Root, name: str) -> Iterator[Path]:
    folder = root.local_folder / name
    if folder.is_symlink() or not folder.is_dir():
        return
    for path in sorted(folder.rglob("*")):
        if path.is_file() and not path.is_symlink():
            yield path
