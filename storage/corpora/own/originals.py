"""Caption files by address: read from copies, and called by their address in every message."""

from __future__ import annotations

import os
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Self

from reelvec.configs.uris import is_uri
from reelvec.storage.errors import CorpusError, StoreError
from reelvec.storage.places.source_kinds import objects_of
from reelvec.storage.places.sources import PATIENCE, hold_copy

__all__ = ["Originals"]


class Originals:
    """Copies that are held while the block lasts; a CorpusError in it names what they are of.

    Args:
        address: of the videos, whose path may stand in messages too.
    """

    def __init__(self, address: str) -> None:
        self._held = ExitStack()
        self._of = {str(Path(address)): address}

    def file(self, name: str) -> Path:
        """The file of this machine with what `name`, a path or an address, holds.

        Raises:
            CorpusError: it cannot be fetched.
        """
        if not is_uri(name):
            return Path(os.path.normpath(Path(name).expanduser().absolute()))
        try:
            copy = hold_copy(objects_of(name).at(name), seconds=PATIENCE)
        except StoreError as error:
            raise CorpusError(f"corpus.captions: {error}", path=name) from error
        self._held.callback(copy.close)
        self._of[str(copy.path)] = name
        return copy.path

    def words(self, text: str) -> str:
        """The text with addresses for paths of copies."""
        for path, name in self._of.items():
            text = text.replace(path, name)
        return text

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._held.close()
        if isinstance(error, CorpusError) and self.words(str(error)) != str(error):
            path = self.words(error.path)
            raise CorpusError(self.words(str(error)), path=path, line=error.line) from error
