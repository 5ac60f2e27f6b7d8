"""decord, for the kinds of file where it is proven right, and never where it is not.

Its random access returns wrong pictures, without a word, on AVI with H.264, open groups of
pictures, edit lists, intra refresh and B-frame MPEG-4 (notes/decoding-and-stores.md 1.1). The table
is kept true by tests/storage/test_decoders.py, which decodes painted barcodes of every kind.
"""

from __future__ import annotations

import numpy as np

from storage.errors import VideoError
from storage.records import Reason
from storage.video.contract import Reading
from storage.video.probe import ProbeResult

__all__ = ["DECORD_IS_RIGHT", "decord_is_right", "read_with_decord"]

DECORD_IS_RIGHT: frozenset[tuple[str, str]] = frozenset(
    {
        ("mov", "h264"),
        ("mov", "hevc"),
        ("matroska", "h264"),
        ("matroska", "hevc"),
        ("matroska", "vp8"),
        ("matroska", "vp9"),
        ("avi", "mjpeg"),
        ("avi", "mpeg4"),
    }
)
"""(container, codec) pairs, each under the conditions of decord_is_right."""


def decord_is_right(probe: ProbeResult) -> bool:
    """Has decord been proven right on files like this one."""
    table = probe.packets
    if (probe.container, probe.codec) not in DECORD_IS_RIGHT:
        return False
    if not probe.by_time or probe.skipped_at_start or not table.shown.all():
        return False  # edit lists, B-frames in AVI, a start without a keyframe
    if not table.keyframe.any() or not table.keyframe[0]:
        return False
    # open groups: some picture is shown before the keyframe that precedes it in the file
    last_key = np.maximum.accumulate(np.where(table.keyframe, table.pts, table.pts.min()))
    return not bool((table.pts < last_key).any()) and not _refreshes(probe)


def _refreshes(probe: ProbeResult) -> bool:
    """Keyframes that need not be clean starts: H.264 without reordering may be intra refresh."""
    return probe.codec == "h264" and not probe.reorders and probe.keyframes > 1


def read_with_decord(reading: Reading) -> None:
    """Put the wanted frames by decord's random access.

    Raises:
        VideoError: the table says no, decord fails, or it counts other frames than the probe.
    """
    if not decord_is_right(reading.probe):
        kind = f"{reading.probe.codec} in {reading.probe.container}"
        raise _failed(reading, f"decord is not proven right on this kind of {kind}")
    import decord

    decord.logging.set_level(decord.logging.FATAL)
    try:
        video = decord.VideoReader(reading.path, ctx=decord.cpu(0), num_threads=1)
        if len(video) != reading.probe.frames_counted:
            raise _failed(
                reading, f"decord counts {len(video)} frames of {reading.probe.frames_counted}"
            )
        for index in reading.sink.picks.tolist():
            reading.progress()
            if reading.sink.wants(index):
                reading.sink.put(index, video[index].asnumpy())
    except (decord.DECORDError, RuntimeError, IndexError) as error:
        raise _failed(reading, f"decord: {error}") from error


def _failed(reading: Reading, words: str) -> VideoError:
    return VideoError(f"{reading.path}: {words}", path=reading.path, reason=Reason.UNREADABLE)
