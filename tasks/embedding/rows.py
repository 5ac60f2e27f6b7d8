"""Rows of the embedding tables that are to be written, before anything is encoded."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import xxhash

from reelvec.storage.commits.merging import Entry
from reelvec.storage.reasons import Status
from reelvec.storage.records import Video

__all__ = [
    "WINDOWS",
    "CaptionRow",
    "FileRow",
    "VideoRow",
    "caption_signature",
    "caption_signature_of",
    "video_signature",
]

WINDOWS = "windows"
"""Name of the table of windows."""


@dataclass(frozen=True, slots=True)
class VideoRow:
    """One row of the video table to write; `copy_of` names a row in force with the same clip."""

    video_id: str
    content_hash: str
    clip_key: str
    split: str
    status: str
    reason: str = ""
    message: str = ""
    copy_of: str = ""
    sound: str = ""
    """ok or salvaged, else why there is none; "": it was not asked for."""
    part: Entry | None = field(default=None, compare=False)
    """Where its frames are; of a copy, the part of the table with the row that is copied."""
    sound_part: Entry | None = field(default=None, compare=False)
    """Where its sound is; None: it has none."""

    @property
    def key(self) -> str:
        """What the row is known by in its table."""
        return self.video_id

    @property
    def signature(self) -> str:
        """What the row was made from; another signature makes a row in force stale."""
        return video_signature(
            self.clip_key, self.split, self.status, self.reason, sound=self.sound
        )


@dataclass(frozen=True, slots=True)
class CaptionRow:
    """One row of the caption table to write."""

    caption_id: str
    video_id: str
    split: str
    subset: str
    text: str

    @property
    def key(self) -> str:
        """What the row is known by in its table."""
        return self.caption_id

    @property
    def signature(self) -> str:
        return caption_signature(self.video_id, self.split, self.subset, self.text)


def video_signature(clip_key: str, split: str, status: str, reason: str, *, sound: str = "") -> str:
    """See `VideoRow.signature`; without a row, since most are in force and need none."""
    return f"{clip_key} {split} {status} {reason}" + (f" {sound}" if sound else "")


def caption_signature(*fields: str) -> str:
    """See `CaptionRow.signature`: of its fields but the id, in their order."""
    return caption_signature_of("\0".join(fields).encode())


def caption_signature_of(joined: bytes) -> str:
    """See `caption_signature`; of its fields in UTF-8 with a zero byte between them."""
    return xxhash.xxh3_64_hexdigest(joined)


@dataclass(frozen=True, slots=True)
class FileRow:
    """A file of the corpus, whatever number of rows name it or pieces of it."""

    video_id: str
    """Of the row of the whole file; where there is none, of its first piece."""
    clip_key: str
    """Of the whole file; "" where its bytes could not be read."""
    split: str
    """Of all its rows; "" where they differ: it belongs to every split."""
    end_seconds: float
    """As its header says, or by counting; 0: neither."""
    is_piece: bool
    status: str
    reason: str = ""
    message: str = ""
    part: Entry | None = field(default=None, compare=False)
    """Where its frames are."""

    @classmethod
    def of(cls, video: Video) -> FileRow:
        """As one row of the corpus names it."""
        counted = video.frames_counted / video.fps_container if video.fps_container else 0.0
        return cls(
            video.video_id,
            video.content_hash,
            video.split,
            video.duration_seconds_from_header or counted,
            (video.start_seconds, video.end_seconds) != (None, None),
            video.status,
            video.reason,
            video.message,
        )

    @property
    def key(self) -> str:
        """What the ledger calls a file without windows; the keys of windows begin otherwise."""
        return f"@{self.video_id}"

    @property
    def signature(self) -> str:
        """What its rows were made from; another signature makes rows in force stale."""
        fields = (self.clip_key, self.video_id, self.split, self.status, self.reason)
        return xxhash.xxh3_64_hexdigest("\0".join(fields).encode())

    def also(self, other: FileRow) -> FileRow:
        """The same file, which another row names too."""
        first, second = sorted((self, other), key=_rank)
        return first if first.split == second.split else replace(first, split="")


def _rank(row: FileRow) -> tuple[bool, bool, str]:
    return row.status == Status.QUARANTINED, row.is_piece, row.video_id
