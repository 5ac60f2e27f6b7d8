"""The packets of a video stream as a table, from one pass over the file."""

from __future__ import annotations

from array import array
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import av.error
import numpy as np
import numpy.typing as npt
from av.codec.context import CodecContext

from reelvec.storage.video.clock import BROADCAST, JUMP_SECONDS, NO_PTS, bridged
from reelvec.storage.video.orientation import UPRIGHT, Orientation, TiltedError, orientation_of
from reelvec.storage.video.recovery import has_decodable_leading, nal_length_bytes, recovers_later

__all__ = ["Demuxed", "PacketTable", "demux"]

PACKETS_A_BEAT = 64
"""Packets read between two signs of life."""


@dataclass(frozen=True, eq=False)
class PacketTable:
    """Columns of one row a packet, in decode order; times in the stream's ticks."""

    pts: npt.NDArray[np.int64]
    """As the container gives them, and as decoders give them back; NO_PTS: it gives none."""
    ticks: npt.NDArray[np.int64]
    """The same without jumps of the clock: what order and times go by."""
    keyframe: npt.NDArray[np.bool_]
    shown: npt.NDArray[np.bool_]
    """A player shows its frame: not cut away by an edit list, not before the first keyframe."""
    lengths: npt.NDArray[np.int64]
    """How long its frame is shown, as the container or FFmpeg's demuxer says; 0: it does not."""

    def display_order(self) -> npt.NDArray[np.int64]:
        """Positions in decode order of the frames shown, in display order."""
        shown = np.flatnonzero(self.shown)
        return shown[np.argsort(self.ticks[shown], kind="stable")]


@dataclass(frozen=True, kw_only=True, eq=False)
class Demuxed:
    """What the pass over a file found."""

    packets: PacketTable
    packets_read: int
    """Of the video stream, those cut away by an edit list included."""
    skipped_at_start: int
    start_seconds: float
    """The container's time of the first frame shown."""
    end_seconds: float
    """The container's time at which the last packet of any stream is over."""
    cut_packet: bool
    """The last packet ends in mid-air."""
    left_over: bool
    """Half a frame follows the last packet: YUV4MPEG, which holds nothing else."""
    orientation: Orientation
    """Of the first picture."""
    last_seconds: float
    """Length of the last packet whose frame is shown, as it says; 0: it does not."""
    refreshes: bool
    """H.264 whose keyframes are no clean starts: intra refresh."""
    error: str
    """The demuxer's words where it could not go on."""


def demux(container: Any, stream: Any, *, progress: Callable[[], None]) -> Demuxed:
    """Read all packets of `container`; decode up to the first picture of `stream`, no further.

    Raises:
        TiltedError: its pictures are turned by no quarter turn.
    """
    columns, ends, others = _Columns(stream), _Ends(), _OtherStreams(stream.container)
    last: Any = None
    error = ""
    first_picture, starts = _FirstPicture(stream), _Starts(stream.codec_context)
    try:
        for number, packet in enumerate(container.demux()):
            if number % PACKETS_A_BEAT == 0:
                progress()
            at = ends.see(packet)
            if packet.size == 0:  # Theora and AVI: the picture before is shown on
                continue
            if packet.stream_index != stream.index:
                others.see(packet)
                continue
            columns.add(packet, pts=at, goes_on=others.reach(packet))
            starts.look(packet)
            last = packet
            if first_picture.wanted:
                first_picture.look(packet)
    except TiltedError:
        raise
    except (av.error.FFmpegError, ValueError) as caught:
        error = str(caught)
    table, skipped = columns.table()
    shown = np.flatnonzero(table.shown)
    return Demuxed(
        packets=table,
        packets_read=len(table.pts),
        skipped_at_start=skipped,
        start_seconds=_start_seconds(table.pts[table.shown], stream),
        end_seconds=ends.seconds(),
        cut_packet=last is not None and last.is_corrupt,
        left_over=container.format.name == "yuv4mpegpipe"
        and last is not None
        and last.pos + last.size < container.size,
        orientation=first_picture.orientation,
        last_seconds=columns.lengths[shown[-1]] * float(stream.time_base) if len(shown) else 0.0,
        refreshes=starts.refreshes,
        error=error,
    )


def _start_seconds(known: npt.NDArray[np.int64], stream: Any) -> float:
    first = known.min() if len(known) else NO_PTS
    return float(first * stream.time_base) if first != NO_PTS else 0.0


class _Columns:
    """Collects the table's columns, 8 bytes a number."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream
        self._leading_decodable = False
        self._hides = stream.codec_context.name in ("vp8", "libvpx")
        self._pts, self._dts, self.lengths = array("q"), array("q"), array("q")
        self._keyframe, self._visible, self._goes_on = bytearray(), bytearray(), bytearray()

    def add(self, packet: Any, *, pts: int | None, goes_on: bool) -> None:
        """One more packet of the stream."""
        self._pts.append(NO_PTS if pts is None else pts)
        self._dts.append(NO_PTS if packet.dts is None else packet.dts)
        self.lengths.append(packet.duration or 0)
        if packet.is_keyframe and 1 not in self._keyframe:
            context = self._stream.codec_context
            self._leading_decodable = has_decodable_leading(
                memoryview(packet),
                codec=context.codec.canonical_name,
                extradata=context.extradata,
            )
        self._keyframe.append(packet.is_keyframe)
        self._visible.append(not packet.is_discard and not (self._hides and _is_hidden(packet)))
        self._goes_on.append(goes_on)

    def table(self) -> tuple[PacketTable, int]:
        """The table, and how many packets are hidden, being before the first keyframe."""
        pts = np.array(self._pts, np.int64)
        keys = np.array(self._keyframe, np.bool_)
        shown = np.array(self._visible, np.bool_)
        ticks = bridged(
            pts,
            np.array(self._dts, np.int64),
            keyframe=keys,
            goes_on=np.array(self._goes_on, np.bool_),
            time_base=float(self._stream.time_base),
            container=self._stream.container.format.name.split(",")[0],
        )
        visible = int(shown.sum())
        if keys.any():
            first = int(np.argmax(keys))
            shown[:first] = False
        if keys.any() and not self._leading_decodable:
            shown[first:] &= (ticks[first:] >= ticks[first]) | (ticks[first:] == NO_PTS)
        lengths = np.array(self.lengths, np.int64)
        return PacketTable(pts, ticks, keys, shown, lengths), visible - int(shown.sum())


class _OtherStreams:
    """Whether sound goes on while no picture comes: that is a pause, not a jump of the clock."""

    def __init__(self, container: Any) -> None:
        self._asked = container.format.name in BROADCAST  # elsewhere nothing jumps ahead
        self._last: dict[int, float] = {}
        self._latest: float | None = None
        self._jumped = False

    def see(self, packet: Any) -> None:
        """A packet of another stream."""
        at = _seconds(packet) if self._asked else None
        if at is None:
            return
        before = self._last.get(packet.stream_index, at)
        self._jumped |= abs(at - before) > JUMP_SECONDS
        self._last[packet.stream_index] = self._latest = at

    def reach(self, packet: Any) -> bool:
        """They came, without a jump, close to this packet of the stream since the one before."""
        latest, jumped = self._latest, self._jumped
        self._latest, self._jumped = None, False
        at = _seconds(packet) if latest is not None and not jumped else None
        return at is not None and latest is not None and abs(at - latest) < JUMP_SECONDS


def _seconds(packet: Any) -> float | None:
    at = packet.pts if packet.dts is None else packet.dts
    return None if at is None else float(at * packet.time_base)


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
    """Decodes until one picture is out: only its frames have the display matrix in PyAV."""

    MAX_PACKETS = 64
    CONTAINERS = ("mov", "matroska")
    CODECS = ("h264", "hevc", "mjpeg")
    """They carry a matrix of their own, in any container."""

    def __init__(self, stream: Any) -> None:
        self.orientation = UPRIGHT
        codec = stream.codec_context.codec
        in_header = stream.container.format.name.split(",")[0] in self.CONTAINERS
        self._left = self.MAX_PACKETS if in_header or codec.canonical_name in self.CODECS else 0
        # the stream's own context knows the header's; elsewhere it is left as the demuxer made it
        self._context = stream.codec_context if in_header else CodecContext.create(codec)
        if not in_header and stream.codec_context.extradata:
            self._context.extradata = stream.codec_context.extradata
        self._context.thread_count = 1

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
                self.orientation = orientation_of(frame) or UPRIGHT
                self._left = 0
        except TiltedError:
            raise
        except (av.error.FFmpegError, ValueError):
            return  # whether it decodes is for the decoders to say
