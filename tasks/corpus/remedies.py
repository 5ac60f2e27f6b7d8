"""What a person can do about a video that failed, by the reason it failed for."""

from __future__ import annotations

from collections.abc import Mapping

from reelvec.storage.reasons import Reason

__all__ = ["REMEDIES"]

REMEDIES: Mapping[Reason, str] = {
    Reason.NONE: "",
    Reason.MISSING: "put the file back, or take the video out of the corpus",
    Reason.EMPTY: "copy the file again: it has no bytes",
    Reason.PERMISSION: "let the user of the worker read the file",
    Reason.UNREADABLE: "copy it again, or convert it with ffmpeg; else take it out",
    Reason.NO_VIDEO_STREAM: "take it out: it holds no pictures",
    Reason.NO_AUDIO_STREAM: "nothing to do: it has pictures alone",
    Reason.NO_SAMPLES: "look at start and end of its piece; else its sound track is empty",
    Reason.NO_FRAMES: "look at start and end of its piece; else copy it again",
    Reason.TRUNCATED: "copy it again: bytes are missing; extract.damaged=salvage keeps the rest",
    Reason.DAMAGED: "copy it again; extract.damaged=salvage keeps what decodes",
    Reason.TOO_LARGE: "raise extract.max_pixels, or convert it to smaller pictures",
    Reason.TIMEOUT: "raise extract.deadline_seconds, and retry",
    Reason.NO_PROGRESS: "retry; if it stays, raise extract.no_progress_seconds",
    Reason.MEMORY: "raise extract.memory_mb, and retry",
    Reason.CRASHED: "retry with another extract.decoder; if it stays, convert it with ffmpeg",
    Reason.UNREACHABLE: "run again when its server answers; the next run tries it again by itself",
    Reason.CHANGED: "run again when nobody writes the file",
}
"""A few words for each reason; a video that is whole needs none."""
