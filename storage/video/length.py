"""How long the video is by what its container declares, and whether it is all there."""

from __future__ import annotations

from typing import Any

import av
import numpy as np
import numpy.typing as npt

from reelvec.storage.video.clock import UNEVEN, is_uneven
from reelvec.storage.video.holes import hole_in
from reelvec.storage.video.packets import Demuxed
from reelvec.storage.video.structure import Completeness, completeness

__all__ = [
    "ELEMENTARY",
    "container_name",
    "declared_end",
    "declared_seconds",
    "end_of_last_frame",
    "is_placeholder",
    "truncation",
]

ELEMENTARY = ("m4v", "mpegvideo")
"""Streams without a container, and so without times."""

ESTIMATED_DURATION = ("mpegts", "mpeg", "gif", "ogg", "yuv4mpegpipe", *ELEMENTARY)
"""Containers that declare no duration: FFmpeg works one out from the last packets it finds."""

TIMELESS = ("mpegts", "asf", "gif", "ogg", "yuv4mpegpipe")
"""Containers whose length in bytes is the only witness of a cut."""

TIMES_FROM_ZERO = ("matroska", "flv")
"""Containers whose declared duration counts from time zero, not from the first frame."""

PLACEHOLDER_FRAMES = 2**30
"""More than a year: what writers put into an AVI that they cannot go back in."""

TRUNCATION_SLACK_SECONDS = 0.5
TRUNCATION_SLACK_FRACTION = 0.02
"""What may be missing at the end where a container's own length cannot be checked."""


def container_name(container: Any) -> str:
    """FFmpeg's first name of the container, e.g. "mov" for MP4."""
    return str(container.format.name.split(",")[0])


def is_placeholder(frames: int) -> bool:
    """A number of frames that a live recording was to fill in at its end, and did not."""
    return frames >= PLACEHOLDER_FRAMES


def declared_seconds(container: Any, stream: Any, name: str) -> float:
    """Length of the video as the header has it; 0 where there is no header to have it."""
    if name in ESTIMATED_DURATION or is_placeholder(stream.frames):
        return 0.0
    own = _own_seconds(stream)
    return own or (container.duration / av.time_base if container.duration else 0.0)


def _own_seconds(stream: Any) -> float:
    """Length declared of this stream, whatever the others'; 0: none."""
    if stream.duration:
        return float(stream.duration * stream.time_base)
    tag = stream.metadata.get("DURATION", "")
    if tag.count(":") == 2:  # Matroska: the stream's end, as HH:MM:SS.nnn
        hours, minutes, seconds = tag.split(":")
        return int(hours) * 3600 + int(minutes) * 60 + float(seconds)
    return 0.0


def end_of_last_frame(stream: Any, demuxed: Demuxed, pts_seconds: npt.NDArray[np.float64]) -> float:
    """When the last frame is over, from the first on; 0: not said, or as at an even rate."""
    if len(pts_seconds) == 0:
        return 0.0
    last = float(pts_seconds[-1])
    ends = [last + demuxed.last_seconds, declared_end(stream, demuxed)]
    # packets of Matroska all last the default of their track
    if container_name(stream.container) == "matroska":
        ends.reverse()
    end = next((end for end in ends if end > last), 0.0)
    if len(pts_seconds) > 1 and not is_uneven(pts_seconds):
        usual = float(np.median(np.diff(pts_seconds)))
        return end if end - last > UNEVEN * usual else 0.0
    return end


def declared_end(stream: Any, demuxed: Demuxed) -> float:
    """End of this very stream as declared, seconds from its first frame; 0: not said."""
    container = stream.container
    name = container_name(container)
    if name in ESTIMATED_DURATION or is_placeholder(stream.frames):
        return 0.0
    alone = len(container.streams) == 1 and container.duration
    end = _own_seconds(stream) or (container.duration / av.time_base if alone else 0.0)
    return end - (demuxed.start_seconds if end and name in TIMES_FROM_ZERO else 0.0)


def truncation(path: str, stream: Any, demuxed: Demuxed, declared: float) -> tuple[str, float]:
    """Why the file is known to end early ("" if not), and the fraction of its time found."""
    frame = float(1 / stream.average_rate) if stream.average_rate else 0.04
    name = container_name(stream.container)
    if name not in ESTIMATED_DURATION and not is_placeholder(stream.frames):
        declared = max(declared, stream.frames * frame)  # an AVI without its index shortens it
    absolute = stream.container.format.name.startswith(TIMES_FROM_ZERO)
    present = demuxed.end_seconds - (0.0 if absolute else demuxed.start_seconds)
    missing = declared - present
    fraction = min(1.0, present / declared) if declared > 0 else 1.0
    state = Completeness.CUT if demuxed.left_over else completeness(path)
    error = demuxed.error or hole_in(path)
    if state is Completeness.COMPLETE and not error:
        return "", 1.0  # every promised byte is there: a longer declared time is the header's error
    lost = 0 if is_placeholder(stream.frames) else stream.frames - demuxed.packets_read
    slack = max(TRUNCATION_SLACK_SECONDS, TRUNCATION_SLACK_FRACTION * declared)
    timeless = stream.container.format.name in TIMELESS  # nothing declared to be compared with
    gone = timeless or missing > 0.75 * frame or lost > 0 or demuxed.cut_packet
    cut = state is Completeness.CUT and gone
    short = declared > 0 and missing > slack
    if not (cut or short or error):
        return "", 1.0
    words = f"{present:.2f} s of {declared:.2f} s declared are there" if declared else "cut short"
    return words + (f"; {error}" if error else ""), fraction
