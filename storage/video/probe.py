"""One pass over a file without decoding it: what it holds, when it shows it, whether it is whole.

Headers lie about counts and times, so each number's name says where it is from. The packets are
read once, to the end; the decoders work from the table made here.
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from reelvec.configs.decoding import MAX_PIXELS
from reelvec.storage.errors import VideoError
from reelvec.storage.reasons import Reason
from reelvec.storage.video.clock import DEFAULT_FPS, counted, frame_times
from reelvec.storage.video.content import check_file, no_progress
from reelvec.storage.video.length import (
    ELEMENTARY,
    container_name,
    declared_end,
    declared_seconds,
    end_of_last_frame,
    is_placeholder,
    truncation,
)
from reelvec.storage.video.opening import check_size, open_container, still_picture, video_stream
from reelvec.storage.video.orientation import Orientation, TiltedError
from reelvec.storage.video.packets import Demuxed, PacketTable, demux

__all__ = ["ProbeResult", "probe", "said_seconds", "shown_seconds"]

MANY_TIMES = 10
"""A header may boast; a timeline so many times shorter than it says is a broken timeline."""


@dataclass(frozen=True, kw_only=True, eq=False)
class ProbeResult:
    """What one file holds. Sizes in pixels as displayed, times in seconds."""

    path: str
    container: str
    stream_index: int
    codec: str
    width: int
    height: int
    orientation: Orientation
    """How a player shows the stored picture."""
    time_base: Fraction
    """Seconds a tick of `packets.pts`."""
    fps: Fraction
    """Frames a second, from the container; 0: not said."""
    frames_from_header: int
    duration_seconds_from_header: float
    """0: not declared."""
    pts_seconds: npt.NDArray[np.float64]
    """[N] of the frames a player shows, in display order, from 0 at the first."""
    frame_seconds: npt.NDArray[np.float64]
    """[N], how long each of them is said to be shown, whenever the next one comes; 0: not said."""
    end_seconds: float
    """When the last frame is over, as the container says; 0: by `fps`, as at an even rate."""
    packets: PacketTable
    by_time: bool
    """Frames can be told by their PTS. False: only by counting them as they are decoded."""
    in_order: bool
    """Some share a PTS, or the clock jumps: told by PTS in a decode of everything, no other."""
    reorders: bool
    """The codec's decode order differs from its display order."""
    refreshes: bool
    """Its keyframes are no clean starts (H.264 intra refresh): decode from the first frame on."""
    skipped_at_start: int
    """Packets before the first keyframe: no player can show them."""
    truncated: str
    """Why the file is known to end early; "": it is whole."""
    fraction_present: float
    """Seconds found of seconds declared, at most 1."""

    @property
    def frames_counted(self) -> int:
        """Frames a player shows."""
        return len(self.pts_seconds)

    @property
    def keyframes(self) -> int:
        """Keyframe packets."""
        return int(self.packets.keyframe.sum())

    @property
    def keyframe(self) -> npt.NDArray[np.bool_] | None:
        """[N], which of the frames a player shows are keyframes; None: frames were counted anew."""
        shown = self.packets.display_order()
        return self.packets.keyframe[shown] if len(shown) == self.frames_counted else None

    @property
    def rotation(self) -> int:
        """Degrees counter-clockwise that a player turns the picture: 0, 90, 180 or 270."""
        return self.orientation.degrees

    def recounted(self, ticks: npt.NDArray[np.int64]) -> ProbeResult:
        """The same file, of which a whole decode showed frames at `ticks` and no others.

        Some packets hold no picture (dropped frames of MPEG-4, second fields of H.264).
        """
        if not self.by_time:
            times = counted(len(ticks), float(self.fps))
            return dataclasses.replace(self, pts_seconds=times, frame_seconds=np.zeros(len(times)))
        came = Counter(ticks.tolist())
        shown = self.packets.shown.copy()
        for position in self.packets.display_order().tolist():
            tick = int(self.packets.pts[position])
            shown[position] = came[tick] > 0
            came[tick] -= int(shown[position])
        packets = dataclasses.replace(self.packets, shown=shown)
        return dataclasses.replace(
            self,
            packets=packets,
            pts_seconds=shown_seconds(packets, self.time_base, fps=self.fps, by_time=True),
            frame_seconds=said_seconds(packets, self.time_base, by_time=True),
        )


def probe(
    path: str | Path,
    *,
    max_pixels: int = MAX_PIXELS,
    progress: Callable[[], None] = no_progress,
) -> ProbeResult:
    """Read every packet of `path` once and say what the file holds.

    Args:
        path: a regular file.
        max_pixels: largest declared picture, width times height; more is refused undecoded.
        progress: called now and then while packets are read.

    Raises:
        VideoError: reason missing, permission, empty, unreadable, no_video_stream, too_large,
            truncated (its index is lost) or no_frames.
    """
    check_file(path)
    with open_container(path, max_pixels=max_pixels) as container:
        stream = video_stream(container, path)
        check_size(path, stream.codec_context, max_pixels)
        try:
            demuxed = demux(container, stream, progress=progress)
        except TiltedError as error:
            raise VideoError(
                f"{path}: {error}", path=str(path), reason=Reason.UNREADABLE
            ) from error
        result = _describe(str(path), container, stream, demuxed)
        declared = declared_end(stream, demuxed)
    if result.frames_counted == 0:
        reason = Reason.TRUNCATED if result.truncated else Reason.NO_FRAMES
        words = result.truncated or demuxed.error or "its video stream has no packet"
        raise VideoError(f"{path}: no frame can be shown ({words})", path=str(path), reason=reason)
    if result.container == "gif" and result.frames_counted == 1:
        raise still_picture(path)
    _check_timeline(result, declared=declared, last_frame=demuxed.last_seconds)
    return result


def _describe(path: str, container: Any, stream: Any, demuxed: Demuxed) -> ProbeResult:
    name = container_name(container)
    context = stream.codec_context
    fps = stream.average_rate or stream.guessed_rate or Fraction(0)
    table = demuxed.packets
    times = frame_times(
        table.ticks[table.shown],
        jumped=table.ticks is not table.pts,
        # AVI stores no presentation times: where the codec reorders, FFmpeg's are invented
        invented=name in ELEMENTARY or (name == "avi" and bool(context.has_b_frames)),
        fps=float(fps),
        time_base=float(stream.time_base),
        container=name,
    )
    declared = declared_seconds(container, stream, name)
    truncated, present = truncation(path, stream, demuxed, declared)
    turned = demuxed.orientation.swaps_sides
    return ProbeResult(
        path=path,
        container=name,
        stream_index=stream.index,
        codec=context.codec.canonical_name,
        width=context.height if turned else context.width,
        height=context.width if turned else context.height,
        orientation=demuxed.orientation,
        time_base=Fraction(stream.time_base),
        fps=Fraction(fps),
        frames_from_header=0 if is_placeholder(stream.frames) else stream.frames,
        duration_seconds_from_header=declared,
        pts_seconds=times.pts_seconds,
        frame_seconds=said_seconds(table, stream.time_base, by_time=times.by_time),
        end_seconds=0.0 if truncated else end_of_last_frame(stream, demuxed, times.pts_seconds),
        packets=table,
        by_time=times.by_time,
        in_order=times.in_order,
        reorders=bool(context.has_b_frames),
        refreshes=demuxed.refreshes,
        skipped_at_start=demuxed.skipped_at_start,
        truncated=truncated,
        fraction_present=present,
    )


def shown_seconds(
    packets: PacketTable, time_base: Fraction, *, fps: Fraction, by_time: bool
) -> npt.NDArray[np.float64]:
    """[N] when each frame is shown, in display order: by its time, or counted at `fps`."""
    ticks = packets.ticks[packets.display_order()]
    if not by_time:
        return counted(len(ticks), float(fps))
    return np.asarray((ticks - ticks[:1]) * float(time_base), np.float64)


def said_seconds(
    packets: PacketTable, time_base: Fraction, *, by_time: bool
) -> npt.NDArray[np.float64]:
    """How long each frame is said to be shown, in display order, seconds; 0: nothing is said."""
    lengths = packets.lengths[packets.display_order()].astype(np.float64)
    return lengths * float(time_base) if by_time else np.zeros_like(lengths)


def _check_timeline(result: ProbeResult, *, declared: float, last_frame: float) -> None:
    """Refuse times that cannot be true, rather than choose frames by them."""
    span = float(result.pts_seconds[-1]) + max(last_frame, 1 / float(result.fps or DEFAULT_FPS))
    single = result.frames_counted == 1  # one picture may last as long as it likes
    if not single and not result.truncated and declared > MANY_TIMES * span:
        raise VideoError(
            f"{result.path}: the times of its {result.frames_counted} frames span {span:.2f} s, "
            f"but its header declares {declared:.2f} s: they cannot be true; remux it "
            "(ffmpeg -i FILE -c copy OTHER.mkv), or encode it anew",
            path=result.path,
            reason=Reason.DAMAGED,
        )
