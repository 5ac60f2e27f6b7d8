"""Frames of videos that failed: what can still be seen of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from reelvec.configs.schema import ExtractConfig, SamplingConfig
from reelvec.storage.file_marks import FileMark
from reelvec.storage.frames.reader import FrameReader
from reelvec.storage.reasons import Reason
from reelvec.storage.records import Video
from reelvec.tasks.corpus.ingest import key_of
from reelvec.tasks.decoding.files import ClipJob, decode_clips
from reelvec.tasks.reports.rendering.contents import Failure
from reelvec.tasks.reports.rendering.gallery import picture_jpeg
from reelvec.tasks.reports.sources import ReportSources

__all__ = ["may_be_seen", "seen_frames", "with_pictures"]

MOST_PICTURES = 24
_SEEN = {Reason.TRUNCATED, Reason.DAMAGED}
"""Of a file that fails so the beginning may decode; the others have none, or are too costly."""
_SECONDS = 2.0
_DEADLINE = 10.0

Frame = npt.NDArray[np.uint8]


def with_pictures(failures: Sequence[Failure], *, sources: ReportSources) -> tuple[Failure, ...]:
    """The failures; those whose frames are stored, or begin to decode, with a picture."""
    videos = {video.video_id: video for video in sources.corpus.videos} if failures else {}
    found = _stored(failures, videos=videos, sources=sources)
    due = [
        videos[failure.video_id]
        for failure in failures
        if failure.video_id not in found and may_be_seen(videos[failure.video_id], failure.reason)
    ]
    frames = seen_frames(due[:MOST_PICTURES], options=sources.config.extract)
    found |= {name: picture_jpeg(frame) for name, frame in frames.items()}
    return tuple(replace(one, jpeg=found.get(one.video_id, b"")) for one in failures)


def _stored(
    failures: Sequence[Failure], *, videos: Mapping[str, Video], sources: ReportSources
) -> dict[str, bytes]:
    """Pictures of those that were salvaged."""
    found: dict[str, bytes] = {}
    with closing(FrameReader(sources.frames, few=True)) as reader:
        for failure in failures:
            key = key_of(videos[failure.video_id])
            if key in reader and len(found) < MOST_PICTURES:
                found[failure.video_id] = picture_jpeg(np.asarray(reader.frames(key)[0]))
    return found


def may_be_seen(video: Video, reason: str) -> bool:
    """Whether a beginning of it may decode, and its file is the one that was listed."""
    return reason in _SEEN and bool(video.bytes) and FileMark.at(video.path).agrees(video.mark)


def seen_frames(videos: Sequence[Video], *, options: ExtractConfig) -> dict[str, Frame]:
    """The first frame [S, S, 3] of each video that still gives one, decoded in a sandbox."""
    jobs = [
        ClipJob(
            clip_key=video.video_id,
            path=video.path,
            start_seconds=video.start_seconds,
            end_seconds=(video.start_seconds or 0.0) + _SECONDS,
        )
        for video in videos
        if Path(video.path).is_file()
    ]
    if not jobs:
        return {}
    brief = options.model_copy(
        update={
            "damaged": "salvage",
            "sampling": SamplingConfig(policy="all", max_frames=1, limit="head"),
            "deadline_seconds": min(options.deadline_seconds, _DEADLINE),
            "no_progress_seconds": min(options.no_progress_seconds, _DEADLINE),
        }
    )
    with closing(decode_clips(jobs, options=brief)) as results:
        return {one.clip_key: np.asarray(one.frames[0]) for one in results if len(one.frames)}
