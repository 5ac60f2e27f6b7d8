"""A folder of drawn videos: what is missing is drawn and encoded, what is there is left alone.

The videos lie in the store, ``sources/synthetic/{fingerprint}/``, named by everything that
decides their bytes but not by how many there are: a larger corpus adds files to the same folder.
"""

from __future__ import annotations

import json
import os
import secrets
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

import numpy as np

from reelvec.storage import layout
from reelvec.storage.corpora.contract import CorpusListing
from reelvec.storage.corpora.synthetic.encoding import KINDS, Kind, encode
from reelvec.storage.errors import CorpusError

__all__ = ["DrawnOptions", "DrawnReader", "check_codecs"]

_MANIFEST = "manifest.json"
_TEMPORARY = ".tmp"
_STALE_SECONDS = 3600.0  # temporary files older than this belong to no running process


class DrawnOptions(Protocol):
    """What all kinds of drawn videos have in common."""

    @property
    def videos(self) -> int:
        """How many."""

    @property
    def fps(self) -> int:
        """Frames a second."""

    @property
    def codecs(self) -> tuple[str, ...]:
        """Container and codec kinds, dealt out in turn."""

    def identity(self) -> dict[str, object]:
        """What decides a file's bytes."""


def check_codecs(codecs: tuple[str, ...]) -> None:
    """Refuse kinds that cannot be encoded.

    Raises:
        CorpusError: names the kind and those there are.
    """
    unknown = [name for name in codecs if name not in KINDS]
    if unknown or not codecs:
        raise CorpusError(
            f"codecs {list(codecs)}: {unknown[0] if unknown else 'nothing'!r} cannot be"
            f" encoded; use some of: {', '.join(KINDS)}"
        )


class DrawnReader(ABC):
    """Draws what is not there yet, then lists it; or only lists it."""

    prefix: str
    """What the files' names begin with."""

    def __init__(self, options: DrawnOptions, *, store_dir: Path, draws: bool = True) -> None:
        self._options = options
        self._draws = draws
        fingerprint = layout.fingerprint(options.identity())
        self.directory = store_dir / layout.synthetic(fingerprint)

    @abstractmethod
    def read(self) -> CorpusListing:
        """Generate the missing videos and list all; see ``CorpusReader.read``."""

    @abstractmethod
    def _draw(self, index: int) -> np.ndarray:
        """RGB frames [T, H, W, 3] uint8 of a video."""

    def generate(self) -> int:
        """Writes the videos that are not there yet; returns how many, none of a reader that lists.

        A file appears under its name only when it is whole, so a killed run is simply continued;
        two at once write the same bytes. Complete folders are known by their manifest (names and
        sizes): then only sizes are looked at.
        """
        if not self._draws:
            return 0
        self.directory.mkdir(parents=True, exist_ok=True)
        sizes = self._manifest()
        present = {entry.name: entry.stat().st_size for entry in os.scandir(self.directory)}
        names = [self._name(index) for index in range(self._options.videos)]
        missing = [
            index
            for index, name in enumerate(names)
            if name not in present or present[name] != sizes.get(name, present[name])
        ]
        if not missing and all(name in sizes for name in names):
            return 0
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            sizes |= pool.map(self._write, missing)
        sizes |= {name: present[name] for name in names if name not in sizes}
        with _published(self.directory / _MANIFEST) as temporary:
            temporary.write_text(json.dumps(sizes, indent=0, sort_keys=True))
        self._sweep()
        return len(missing)

    def _kind(self, index: int) -> Kind:
        return KINDS[self._options.codecs[index % len(self._options.codecs)]]

    def _name(self, index: int) -> str:
        return f"{self.prefix}-{index:06d}{self._kind(index).extension}"

    def _write(self, index: int) -> tuple[str, int]:
        path = self.directory / self._name(index)
        with _published(path) as temporary:
            encode(self._draw(index), temporary, kind=self._kind(index), fps=self._options.fps)
        return path.name, path.stat().st_size

    def _manifest(self) -> dict[str, int]:
        """Sizes by name of the files that were once all there; empty if none says so."""
        try:
            sizes = json.loads((self.directory / _MANIFEST).read_bytes())
        except (FileNotFoundError, ValueError):
            return {}
        return dict(sizes) if isinstance(sizes, dict) else {}

    def _sweep(self) -> None:
        """Removes what killed runs left half-written."""
        for entry in os.scandir(self.directory):
            old = time.time() - entry.stat().st_mtime > _STALE_SECONDS
            if entry.name.endswith(_TEMPORARY) and old:
                Path(entry.path).unlink(missing_ok=True)


@contextmanager
def _published(path: Path) -> Iterator[Path]:
    """A temporary path beside ``path`` that takes its name, durably, when the block ends well."""
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}{_TEMPORARY}")
    try:
        yield temporary
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
