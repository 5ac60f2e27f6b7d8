"""The few verbs a store needs of the place it lies in.

No verb renames, appends or overwrites, and no caller may trust a listing for correctness: what
is published is created once, whole, under a name nobody else uses, or not at all. An object
store offers the same verbs with a conditional put.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

__all__ = ["Root", "Writer"]


@dataclass(frozen=True, slots=True)
class Writer:
    """A process that writes in a store."""

    who: str
    seconds: float
    """Since it began."""
    known: bool
    """Whether it is there; else the place cannot tell, and one that began so long ago may be."""


class Root(Protocol):
    """The verbs of a store. Paths are relative, with forward slashes, composed by layout."""

    uri: str
    local_folder: Path
    """Of this machine, for what must be plain files beside the store: logs, generated videos."""

    @property
    def copies_limit(self) -> int | None:
        """Bytes of copies that this machine keeps at most; None: the store's files are here."""

    def put_new(self, path: str, data: bytes) -> None:
        """Creates `path` with `data`, whole and durable; FileExistsError where it is taken."""

    def put_file(self, path: str, file: Path) -> None:
        """The same with the bytes of a local file, which may be gone afterwards."""

    def new_file(self, path: str) -> AbstractContextManager[Path]:
        """A local path to write; published as `path` on clean exit, dropped on an exception."""

    def new_scratch(self, suffix: str = "") -> Path:
        """A fresh local path nobody else uses, cheap to `put_file` from."""

    def read(self, path: str) -> bytes:
        """All bytes; MissingArtifactError where there is nothing."""

    def read_into(self, path: str, *, start: int, out: memoryview) -> int:
        """Fills `out` with the bytes from `start` on; how many came, fewer at the end.

        MissingArtifactError where there is nothing.
        """

    def exists(self, path: str) -> bool:
        """Whether `path` has been published."""

    def list(self, prefix: str) -> list[str]:
        """Sorted names directly under `prefix`; a hint, never proof of absence."""

    def size(self, path: str) -> int:
        """Bytes; MissingArtifactError where there is nothing."""

    def age_seconds(self, path: str) -> float:
        """Seconds since `path` was written, never negative (a clock may have gone back)."""

    def walk(self) -> Iterator[tuple[str, int, bool]]:
        """Every file with the bytes it takes, and True; folders too, where they take some: False.

        On a disk, blocks given away, a file of several names once: the sum is what `du` says.
        """

    def delete(self, *paths: str) -> None:
        """Removes the paths that are there, durably; StoreError where one has a link on its way."""

    def begin_writing(self) -> None:
        """Tells gc, until this process ends, that it writes here or is about to.

        Said before it looks at what is there: gc leaves what has been in force since, and what
        nobody has published yet. `new_scratch` says it too. No error: the first write has it.
        """

    def writers(self) -> Sequence[Writer]:
        """Who writes here, this process left out."""

    def link_on(self, path: str) -> str:
        """The first symbolic link on the way to `path`, itself included; "": none is.

        A store has none, so that what lies behind one is not the store's to delete.
        """

    def sync(self, *paths: str) -> None:
        """Makes the names of these durable, whoever published or deleted them.

        For what is found and not known to be durable: its maker may have been killed in between.
        """

    def forget_copies(self) -> None:
        """Removes this machine's copies of the store's files, and what killed writers left there.

        Of a place that keeps any; who has a copy open keeps it, others fetch what is still there.
        """

    def local_path(self, path: str, *, fresh: bool = False) -> Path:
        """A local file with the bytes of `path`, to be mapped; MissingArtifactError.

        A remote root keeps copies and asks only whether they are of today's version; `fresh`
        fetches the bytes again whatever is there.
        """
