"""decord's random access, for comparison and for the kinds of file where it is proven right.

It returns wrong pictures, without a word, on AVI with H.264, open groups of pictures, edit lists,
intra refresh and B-frame MPEG-4 (notes/decoding-and-stores.md 1.1), so storage.video.decoders asks
the table (storage.video.decoder_table) before it comes here.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from reelvec.storage.errors import VideoError
from reelvec.storage.reasons import Reason
from reelvec.storage.video.contract import Reading
from reelvec.storage.video.probe import ProbeResult

__all__ = ["read_with_decord"]


def read_with_decord(reading: Reading) -> None:
    """Put the wanted frames by decord's random access.

    Raises:
        VideoError: decord fails, or counts other frames than the probe.
    """
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
                reading.sink.put(index, _as_shown(video[index].asnumpy(), reading.probe))
    except (decord.DECORDError, RuntimeError, IndexError) as error:
        raise _failed(reading, f"decord: {error}") from error


def _as_shown(picture: npt.NDArray[np.uint8], probe: ProbeResult) -> npt.NDArray[np.uint8]:
    """What decord leaves undone: it turns as an MP4 says, but never mirrors, nor turns others.

    Of a mirrored MP4 it takes half a turn too much: it looks where the x axis ends.
    """
    orientation = probe.orientation
    if probe.container != "mov":
        return orientation.show(picture)
    if not orientation.mirrored:
        return picture
    return orientation.show(np.rot90(picture, -(orientation.turns + 2)))


def _failed(reading: Reading, words: str) -> VideoError:
    return VideoError(f"{reading.path}: {words}", path=reading.path, reason=Reason.UNREADABLE)
