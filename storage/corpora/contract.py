"""What a corpus reader promises: every video and caption of a corpus, named and unopened."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from reelvec.storage.records import Caption, Video

__all__ = ["CorpusListing", "CorpusReader"]


@dataclass(frozen=True, slots=True)
class CorpusListing:
    """A corpus as its files name it, nothing opened yet.

    ``videos`` are in corpus order with absolute paths; their hash and probe fields are empty and
    their files may be missing: ingest gives each its outcome. A reader may hand out a video that
    is already ``quarantined`` (a file name that is not UTF-8). ``captions`` name these videos
    only. ``notes`` are facts a person should know, such as annotations that no split uses;
    ``problems`` are faults of the files that cost rows and nothing else.
    """

    videos: Sequence[Video]
    captions: Sequence[Caption]
    notes: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()


class CorpusReader(Protocol):
    """Reads one corpus; the same files give the same listing."""

    def read(self) -> CorpusListing:
        """List every video and caption.

        Raises:
            CorpusError: an annotation file does not hold what it promises; names file and line.
        """
        ...
