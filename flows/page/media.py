"""Pictures and clips of videos that the store names; nothing else is ever opened."""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass
from pathlib import Path, PurePath

import numpy as np

from reelvec.flows.page.documents import PLAYED
from reelvec.flows.page.open_runs import OpenRun
from reelvec.models.sampling.windows import frames_within
from reelvec.models.spans import Span
from reelvec.storage.errors import MissingArtifactError
from reelvec.storage.file_marks import FileMark
from reelvec.storage.records import Video
from reelvec.tasks.corpus.ingest import key_of
from reelvec.tasks.reports.pictures import may_be_seen, seen_frames
from reelvec.tasks.reports.rendering.gallery import STRIP_FRAMES, strip_jpeg

__all__ = ["Clip", "clip_of", "decoded_jpeg", "is_stored", "strip_of"]

_UNKNOWN = "application/octet-stream"


@dataclass(frozen=True, slots=True)
class Clip:
    """A file to send."""

    path: str
    kind: str
    on_disk: os.stat_result


def clip_of(opened: OpenRun, video_id: str) -> Clip:
    """The file of a video, looked up by its id, as long as it is the one that was embedded.

    Raises:
        MissingArtifactError: no such video, or its file is gone, is another, or cannot be read.
    """
    video = _video(opened, video_id)
    try:
        on_disk = Path(video.path).stat()
    except (OSError, ValueError) as error:
        raise MissingArtifactError(f"the file of ({video_id}) is not there: {error}") from None
    if not stat.S_ISREG(on_disk.st_mode) or not FileMark.of(on_disk).agrees(video.mark):
        raise MissingArtifactError(f"the file of ({video_id}) is another than was embedded")
    if not os.access(video.path, os.R_OK):
        raise MissingArtifactError(f"the file of ({video_id}) cannot be read by this user")
    kind = PLAYED.get(PurePath(video.path).suffix.lower(), _UNKNOWN)
    return Clip(video.path, kind, on_disk)


def strip_of(opened: OpenRun, video_id: str, *, count: int, span: Span | None = None) -> bytes:
    """Some of a video's stored frames side by side, a JPEG.

    Args:
        opened: the run.
        video_id: of its corpus.
        count: frames at most.
        span: those of these seconds alone, if there are any; None: of the whole video.

    Raises:
        MissingArtifactError: no such video, or it has no stored frames.
    """
    reader, key = opened.search.searcher.frames, key_of(_video(opened, video_id))
    if reader is None or not key or key not in reader:
        raise MissingArtifactError(f"no frames of ({video_id}) are stored")
    frames = reader.frames(key)
    first, stop = (0, len(frames)) if span is None else frames_within(reader.pts(key), span)
    if first == stop:
        first, stop = 0, len(frames)
    wanted = min(stop - first, max(1, min(count, STRIP_FRAMES)))
    places = first + (np.arange(wanted) + 0.5) / wanted * (stop - first)  # middles of stretches
    return strip_jpeg(frames[places.astype(np.int64)])


def is_stored(opened: OpenRun, video_id: str) -> bool:
    """Whether frames of this video are stored.

    Raises:
        MissingArtifactError: no such video.
    """
    reader, key = opened.search.searcher.frames, key_of(_video(opened, video_id))
    return reader is not None and bool(key) and key in reader


def decoded_jpeg(opened: OpenRun, video_id: str) -> bytes:
    """A frame of a video that failed, where its beginning still decodes, a JPEG.

    Raises:
        MissingArtifactError: no such video, or nothing of it can be seen.
    """
    video = _video(opened, video_id)
    row = next((row for row in opened.run.failures() if row.video_id == video_id), None)
    if row is not None and may_be_seen(video, row.reason):
        found = seen_frames([video], options=opened.run.config.extract)
        if video_id in found:
            return strip_jpeg(found[video_id][None])
    raise MissingArtifactError(f"nothing of ({video_id}) can be seen")


def _video(opened: OpenRun, video_id: str) -> Video:
    video = opened.search.searcher.videos.find(video_id)
    if video is None:
        raise MissingArtifactError(f"no video is called ({video_id:.200})")
    return video
