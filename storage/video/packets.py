"""The packets of a video stream as a table, from one pass over the file."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import av.error
import numpy as np
import numpy.typing as npt

from reelvec.storage.video.recovery import nal_length_bytes, recovers_later

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
    refreshes: bool
    """H.264 whose keyframes are no clean starts: intra refresh."""
    error: str
    """The demuxer's words where it could not go on."""


def demux(container: Any, stream: Any, *, progress: Callable[[], None]) -> Demuxed:
    """Read all packets of `container`; decode up to the first picture of `stream`, no further."""
    pts: list[int] = []
    keyframe: list[bool] = []
    visible: list[bool] = []
    wanted, hides = stream.index, stream.codec_context.name in ("vp8", "libvpx")
    ends = _Ends()
    last: Any = None
    error = ""
    first_picture, starts = _FirstPicture(stream), _Starts(stream.codec_context)
    try:
        for number, packet in enumerate(container.demux()):
            if number % PACKETS_A_BEAT == 0:
                progress()
            if packet.size == 0:
                continue
            at = ends.see(packet)
            if packet.stream_index != wanted:
                continue
            pts.append(NO_PTS if at is None else at)
            keyframe.append(packet.is_keyframe)
            starts.look(packet)
            visible.append(not packet.is_discard and not (hides and _is_hidden(packet)))
            last = packet
            if first_picture.wanted:
                first_picture.look(packet)
    except (av.error.FFmpegError, ValueError) as caught:
        error = str(caught)
    table, skipped = _table(pts, keyframe, visible)
    known = table.pts[table.shown]
    return Demuxed(
        packets=table,
        packets_read=len(pts),
        skipped_at_start=skipped,
        times_complete=bool(np.all(known != NO_PTS)) and len(np.unique(known)) == len(known),
        start_seconds=_start_seconds(known, stream),
        end_seconds=ends.seconds(),
        cut_packet=last is not None and last.is_corrupt,
        rotation=first_picture.rotation,
        refreshes=starts.refreshes,
        error=error,
    )


def _start_seconds(known: npt.NDArray[np.int64], stream: Any) -> float:
    first = known.min() if len(known) else NO_PTS
    return float(first * stream.time_base) if first != NO_PTS else 0.0


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


class _Ends:
    """When each stream's latest packet is over; in ticks, for this is asked of every packet."""

    def __init__(self) -> None:
        self._ticks: dict[int, int] = {}
        self._bases: dict[int, Any] = {}

    def see(self, packet: Any) -> int | None:
        """Note the packet; its PTS."""
        index, pts = packet.stream_index, packet.pts
        at = packet.dts if pts is None else pts
        if at is not None:
            if index not in self._bases:
                self._bases[index] = packet.time_base
            self._ticks[index] = max(self._ticks.get(index, 0), at + (packet.duration or 0))
        return pts if pts is None else int(pts)

    def seconds(self) -> float:
        """The latest end of all streams, at least 0."""
        ends = (float(self._ticks[i] * base) for i, base in self._bases.items() if base is not None)
        return max(ends, default=0.0)


def _is_hidden(packet: Any) -> bool:
    """VP8 hides frames in packets of their own; its first byte says so (RFC 6386, 9.1)."""
    return not bytes(packet)[0] & 0x10


class _Starts:
    """Looks for an H.264 keyframe that is no clean start."""

    def __init__(self, context: Any) -> None:
        self.refreshes = False
        self._wanted = context.codec.canonical_name == "h264"
        self._length_bytes = nal_length_bytes(context.extradata) if self._wanted else 0

    def look(self, packet: Any) -> None:
        """Look at one more packet, until one is found out."""
        if self._wanted and packet.is_keyframe:
            self.refreshes = recovers_later(memoryview(packet), length_bytes=self._length_bytes)
            self._wanted = not self.refreshes


class _FirstPicture:
    """Decodes until one picture is out: rotation is not in the stream's header in PyAV."""

    MAX_PACKETS = 64

    def __init__(self, stream: Any) -> None:
        self.rotation = 0
        self._context = stream.codec_context
        self._context.thread_count = 1
        self._left = self.MAX_PACKETS if stream.container.format.name[:3] in ("mov", "mat") else 0

    @property
    def wanted(self) -> bool:
        """No picture came out yet, and there is some hope."""
        return self._left > 0

    def look(self, packet: Any) -> None:
        """Try one more packet: a keyframe alone gives its picture when the decoder is drained."""
        tried, self._left = self._left < self.MAX_PACKETS, self._left - 1
        if tried and not packet.is_keyframe:
            return
        try:
            self._context.flush_buffers()
            for frame in (*self._context.decode(packet), *self._context.decode(None)):
                self.rotation = round(frame.rotation) % 360
                self._left = 0
        except (av.error.FFmpegError, ValueError):
            return  # whether it decodes is for the decoders to say
