"""Collects videos and captions into a listing, refusing what no corpus may hold."""

from __future__ import annotations

from dataclasses import dataclass, field

from reelvec.storage.corpora.annotations import Place, refused, shown
from reelvec.storage.corpora.caption_list import CaptionList
from reelvec.storage.corpora.contract import CorpusListing
from reelvec.storage.reasons import Status
from reelvec.storage.records import Caption, Video

__all__ = ["ListingBuilder", "caption_fault", "storable", "unnameable"]


def storable(text: str) -> bool:
    """Whether tables can hold the text: half a surrogate pair is no text."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def caption_fault(text: object) -> str:
    """Why this is no caption, in words; "" if it is one."""
    if isinstance(text, str) and text.strip() and storable(text):
        return ""
    return f"is {shown(text)}; a caption is text, and not empty: write one or remove the row"


@dataclass(slots=True)
class ListingBuilder:
    """Videos by id with where each was named; captions numbered by video: ``{video_id}#{n}``."""

    videos: dict[str, Video] = field(default_factory=dict)
    captions: CaptionList = field(default_factory=CaptionList)
    notes: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    _places: dict[str, Place] = field(default_factory=dict)
    _counts: dict[str, int] = field(default_factory=dict)

    def add_video(self, video: Video, *, at: Place) -> None:
        """Adds a video that ``at`` names.

        Raises:
            CorpusError: its id is already there: in this split, or in another (an overlap).
        """
        if not video.video_id or not storable(video.video_id):
            raise refused(at, f"{video.video_id!r} is no video id; an id is text, and not empty")
        known = self.videos.get(video.video_id)
        if known is not None:
            first = self._places[video.video_id]
            if known.split == video.split:
                raise refused(
                    at,
                    f"video {video.video_id!r} is named twice (first: {first}); a video is listed"
                    " once: remove one",
                )
            raise refused(
                at,
                f"video {video.video_id!r} is in split {video.split!r}, and in {known.split!r} by"
                f" {first}; splits share no video: remove it from one",
            )
        self.videos[video.video_id] = video
        self._places[video.video_id] = at

    def add_caption(self, video_id: str, text: object, *, at: Place, subset: str = "") -> None:
        """Adds the next caption of a video already added.

        Raises:
            CorpusError: the video is unknown, or the text is empty or no text.
        """
        if video_id not in self.videos:
            raise refused(
                at,
                f"a caption of video {video_id!r}, which no split names; correct the id or add"
                " the video to a split",
            )
        fault = caption_fault(text)
        if fault or not isinstance(text, str):
            raise refused(at, f"the caption of video {video_id!r} {fault}")
        number = self._counts.get(video_id, 0)
        self._counts[video_id] = number + 1
        self.captions.append(Caption(f"{video_id}#{number}", video_id, text, subset))

    def require_captions(self) -> None:
        """Refuses a video without a caption: it would silently shrink its split's queries."""
        for video_id, video in self.videos.items():
            if video_id not in self._counts:
                raise refused(
                    self._places[video_id],
                    f"video {video_id!r} of split {video.split!r} has no caption; every listed"
                    " video is described: complete the caption file or remove the video here",
                )

    def listing(self) -> CorpusListing:
        """Everything added, in that order; captions stay on disk where there are very many."""
        captions = self.captions if self.captions.spilled else tuple(self.captions)
        return CorpusListing(
            tuple(self.videos.values()), captions, tuple(self.notes), tuple(self.problems)
        )


def unnameable(video_id: str, path: str) -> Video | None:
    """A quarantined row for a file whose name is not UTF-8 text, else None."""
    if storable(path):
        return None
    shown = path.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    shown_id = video_id.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    return Video(
        shown_id,
        shown,
        status=Status.QUARANTINED.value,
        reason="unreadable",
        message="the file's name is not UTF-8; rename it",
    )
