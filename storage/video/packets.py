"""The packets of a video stream as a table, from one pass over the file."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import av.error
import numpy as np
import numpy.typing as npt

__all__ = ["NO_PTS", "Demuxed", "PacketTable", "demux"]

NO_PTS = np.iinfo(np.int64).min
"""In PacketTable.pts: the container gives none."""

PACKETS_A_BEAT = 64
"""Packets read between two signs of life."""


@dataclass(frozen=True, eq=False)
class PacketTable:
    """Columns of one row a packet, in decode order; `pts` in the stream's ticks."""

    pts: npt.NDArray[np.int64]
    keyframe: npt.NDArray[np.bool_]
    shown: npt.NDArray[np.bool_]
    """A player shows its frame: not cut away by an edit list, not before the first keyframe."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Demuxed:
    """What the pass over a file found."""

    packets: PacketTable
    packets_read: int
    """Of the video stream, those cut away by an edit list included."""
    skipped_at_start: int
    times_complete: bool
    """Each shown packet has a PTS of its own."""
    start_seconds: float
    """The container's time of the first frame shown."""
    end_seconds: float
    """The container's time at which the last packet of any stream is over."""
    cut_packet: bool
    """The last packet ends in mid-air."""
    rotation: int
    """Of the first picture, degrees, 0 to 359."""
    error: str
    """The demuxer's words where it could not go on."""


def demux(container: Any, stream: Any, *, progress: Callable[[], None]) -> Demuxed:
    """Read all packets of `container`; decode up to the first picture of `stream`, no further."""
    pts: list[int] = []
    keyframe: list[bool] = []
    visible: list[bool] = []
    others_end = video_end = 0.0
    cut, error = False, ""
    first_picture = _FirstPicture(stream)
    try:
        for number, packet in enumerate(container.demux()):
            if number % PACKETS_A_BEAT == 0:
                progress()
            if packet.size == 0:
                continue
            end = _end_seconds(packet)
            if packet.stream_index != stream.index:
                others_end = max(others_end, end)
                continue
            pts.append(NO_PTS if packet.pts is None else packet.pts)
            keyframe.append(packet.is_keyframe)
            visible.append(not packet.is_discard and _is_shown(stream, packet))
            video_end = max(video_end, end)
            cut = packet.is_corrupt
            first_picture.look(packet)
    except (av.error.FFmpegError, ValueError) as caught:
        error = str(caught)
    table, skipped = _table(pts, keyframe, visible)
    known = table.pts[table.shown]
    start = float(known.min() * stream.time_base) if len(known) and known.min() != NO_PTS else 0.0
    return Demuxed(
        packets=table,
        packets_read=len(pts),
        skipped_at_start=skipped,
        times_complete=bool(np.all(known != NO_PTS)) and len(np.unique(known)) == len(known),
        start_seconds=start,
        end_seconds=max(video_end, others_end),
        cut_packet=cut,
        rotation=first_picture.rotation,
        error=error,
    )


def _table(pts: list[int], keyframe: list[bool], visible: list[bool]) -> tuple[PacketTable, int]:
    """Columns as arrays; what lies before the first keyframe, in either order, is not shown."""
    ticks = np.array(pts, np.int64)
    keys = np.array(keyframe, np.bool_)
    shown = np.array(visible, np.bool_)
    before = shown.copy()
    if keys.any():
        first = int(np.argmax(keys))
        shown[:first] = False
        shown[first:] &= (ticks[first:] >= ticks[first]) | (ticks[first:] == NO_PTS)
    return PacketTable(ticks, keys, shown), int(before.sum() - shown.sum())


def _end_seconds(packet: Any) -> float:
    at = packet.pts if packet.pts is not None else packet.dts
    if at is None or packet.time_base is None:
        return 0.0
    return float((at + (packet.duration or 0)) * packet.time_base)


def _is_shown(stream: Any, packet: Any) -> bool:
    """VP8 hides frames in packets of their own; its first byte says so (RFC 6386, 9.1)."""
    if stream.codec_context.name not in ("vp8", "libvpx"):
        return True
    return bool(bytes(packet)[0] & 0x10)


class _FirstPicture:
    """Decodes until one picture is out: rotation is not in the stream's header in PyAV."""

    MAX_PACKETS = 64

    def __init__(self, stream: Any) -> None:
        self.rotation = 0
        self._context = stream.codec_context
        self._context.thread_count = 1
        self._left = self.MAX_PACKETS if stream.container.format.name[:3] in ("mov", "mat") else 0

    def look(self, packet: Any) -> None:
        """Try one more packet, if none gave a picture yet."""
        if not self._left:
            return
        self._left -= 1
        try:
            for frame in self._context.decode(packet):
                self.rotation = round(frame.rotation) % 360
                self._left = 0
        except (av.error.FFmpegError, ValueError):
            return  # whether it decodes is for the decoders to say
