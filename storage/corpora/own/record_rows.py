"""Rows of caption files made into videos and captions, one after another."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from reelvec.storage.corpora.annotations import Place, refused
from reelvec.storage.corpora.listing import ListingBuilder, caption_fault
from reelvec.storage.corpora.own.names import Names
from reelvec.storage.corpora.own.splits import split_name
from reelvec.storage.corpora.own.values import LeftOut, RowError, captions_of, text_of, window_of
from reelvec.storage.records import Video

__all__ = ["RecordRows"]


@dataclass(slots=True)
class RecordRows:
    """Rows of caption files made into videos and captions."""

    names: Names
    listing: ListingBuilder = field(default_factory=ListingBuilder)
    left_out: LeftOut = field(default_factory=LeftOut)
    has_splits: bool = False
    used: int = 0

    def add(self, row: Mapping[str, Any], at: Place) -> None:
        """One row, its video and its captions; what cannot be used of it is left out.

        Raises:
            CorpusError: it contradicts a row before.
        """
        self.has_splits = self.has_splits or "split" in row
        try:
            video = self._video(row, at)
            subset = text_of(row, "subset")
        except RowError as error:
            self.left_out.add(at, error)
            return
        self._add_once(video, at)
        self.used += 1
        for text in captions_of(row):
            fault = caption_fault(text)
            if fault:
                self.left_out.add(at, f"the caption of video {video.video_id!r} {fault}")
            else:
                self.listing.add_caption(video.video_id, text, at=at, subset=subset)

    def _video(self, row: Mapping[str, Any], at: Place) -> Video:
        video_id, full = self.names.find(text_of(row, "video_id"), text_of(row, "path"), at)
        start, end = window_of(row)
        split = split_name(text_of(row, "split"))
        return Video(video_id, full, split, start_seconds=start, end_seconds=end)

    def _add_once(self, video: Video, at: Place) -> None:
        """Add a video once; its rows must all say the same of it, or nothing of its split."""
        known = self.listing.videos.get(video.video_id)
        if known is None:
            self.listing.add_video(video, at=at)
            return
        if known == video:
            return
        split = video.split or known.split
        if replace(known, split=split) != replace(video, split=split):
            raise refused(
                at,
                f"video {video.video_id!r} is {video.path} ({video.start_seconds} to"
                f" {video.end_seconds} s) here and {known.path} ({known.start_seconds} to"
                f" {known.end_seconds} s) above; one id means one piece of one file",
            )
        if known.split in ("", split):
            self.listing.videos[video.video_id] = replace(known, split=split)
        else:
            self.listing.add_video(video, at=at)  # refuses it: two splits
