"""What the readers of the field's benchmarks share: splits first, then captions, then checks."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import ClassVar

from reelvec.storage.corpora.annotations import Place
from reelvec.storage.corpora.contract import CorpusListing
from reelvec.storage.corpora.discovery import VideoFiles
from reelvec.storage.corpora.listing import ListingBuilder
from reelvec.storage.errors import CorpusError
from reelvec.storage.records import Video

__all__ = ["BenchmarkReader"]


class BenchmarkReader(ABC):
    """Reads one benchmark in its original files.

    Args:
        videos: Folder of the videos, searched recursively; missing ones are listed all the same.
        annotations: Folder of the annotation files, under their original names.
        protocol: One of ``protocols``, or "default" for the first.
    """

    protocols: ClassVar[tuple[str, ...]]

    def __init__(self, videos: str, *, annotations: str, protocol: str = "default") -> None:
        if protocol not in ("default", *self.protocols):
            raise CorpusError(
                f"protocol {protocol!r} is unknown to {type(self).__name__}; use one of:"
                f" {', '.join(self.protocols)}"
            )
        self.protocol = self.protocols[0] if protocol == "default" else protocol
        self.files = VideoFiles(Path(videos).expanduser())
        self.annotations = Path(annotations).expanduser().absolute()

    def read(self) -> CorpusListing:
        """List the protocol's videos and captions; see ``CorpusReader.read``."""
        listing = ListingBuilder()
        self.list_videos(listing)
        self.list_captions(listing)
        listing.require_captions()
        listing.notes.extend(self.files.notes)
        return listing.listing()

    @abstractmethod
    def list_videos(self, listing: ListingBuilder) -> None:
        """Add every video of every split of the protocol."""

    @abstractmethod
    def list_captions(self, listing: ListingBuilder) -> None:
        """Add every caption of these videos."""

    def add_video(
        self,
        listing: ListingBuilder,
        video_id: str,
        *,
        split: str,
        at: Place,
        names: Iterable[str] = (),
        end_seconds: float | None = None,
    ) -> None:
        """Add a video found by its id or the first of other ``names``; a window starts at 0."""
        path = self.files.find(*names, video_id) or self.files.expected(video_id)
        start = None if end_seconds is None else 0.0
        listing.add_video(
            Video(video_id, path, split, start_seconds=start, end_seconds=end_seconds), at=at
        )

    def add_captions(
        self,
        listing: ListingBuilder,
        captions: Mapping[str, list[str]],
        *,
        at: Path,
        split: str = "",
    ) -> None:
        """Add captions of listed videos (of ``split``, if given); a note counts the others."""
        unused = 0
        for video_id, texts in captions.items():
            video = listing.videos.get(video_id)
            if video is None or split not in ("", video.split):
                unused += 1
                continue
            for text in texts:
                listing.add_caption(video_id, text, at=Place(at, key=video_id))
        if unused:
            listing.notes.append(f"{at}: {unused} of {len(captions)} videos are in no split of it")
