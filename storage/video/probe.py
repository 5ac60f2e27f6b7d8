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

import av
import av.error
import numpy as np
import numpy.typing as npt

from reelvec.configs.decoding import MAX_PIXELS
from reelvec.storage.errors import VideoError
from reelvec.storage.reasons import Reason
from reelvec.storage.video.clock import DEFAULT_FPS, counted, frame_times, is_uneven
from reelvec.storage.video.content import check_file, no_progress
from reelvec.storage.video.orientation import Orientation, TiltedError
from reelvec.storage.video.packets import Demuxed, PacketTable, demux
from reelvec.storage.video.structure import Completeness, completeness

__all__ = ["CONTAINERS", "ProbeResult", "open_container", "probe"]

CONTAINERS = ("mov", "matroska", "avi", "mpegts", "mpeg", "asf", "flv")
"""The demuxers allowed. No playlist, concat list, image or network format is among them."""

IMAGE_BRANDS = ("avif", "avis", "heic", "heix", "hevc", "mif1", "msf1")
"""Pictures in the clothes of an MP4."""

ESTIMATED_DURATION = ("mpegts", "mpeg")
"""Containers that declare no duration: FFmpeg works one out from the last packets it finds."""

TIMELESS = ("mpegts", "asf")
"""Containers whose length in bytes is the only witness of a cut."""

TIMES_FROM_ZERO = ("matroska", "flv")
"""Containers whose declared duration counts from time zero, not from the first frame."""

MANY_TIMES = 10
"""A header may boast; a timeline so many times shorter than it says is a broken timeline."""

TRUNCATION_SLACK_SECONDS = 0.5
TRUNCATION_SLACK_FRACTION = 0.02
"""What may be missing at the end where a container's own length cannot be checked."""


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
    end_seconds: float
    """When the last frame of a variable rate is over, as the container says; 0: by `fps`."""
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
    def rotation(self) -> int:
        """Degrees counter-clockwise that a player turns the picture: 0, 90, 180 or 270."""
        return self.orientation.degrees

    def recounted(self, ticks: npt.NDArray[np.int64]) -> ProbeResult:
        """The same file, of which a whole decode showed frames at `ticks` and no others.

        Some packets hold no picture (dropped frames of MPEG-4, second fields of H.264).
        """
        if not self.by_time:
            times = counted(len(ticks), float(self.fps))
            return dataclasses.replace(self, pts_seconds=times)
        came = Counter(ticks.tolist())
        shown, kept = self.packets.shown.copy(), []
        for position in self.packets.display_order().tolist():
            tick = int(self.packets.pts[position])
            shown[position] = came[tick] > 0
            if came[tick] > 0:
                came[tick] -= 1
                kept.append(int(self.packets.ticks[position]))
        times = np.array(kept, np.int64)
        return dataclasses.replace(
            self,
            packets=dataclasses.replace(self.packets, shown=shown),
            pts_seconds=(times - times[:1]) * float(self.time_base),
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
        stream = _video_stream(container, path)
        _check_size(path, stream.codec_context, max_pixels)
        try:
            demuxed = demux(container, stream, progress=progress)
        except TiltedError as error:
            raise VideoError(
                f"{path}: {error}", path=str(path), reason=Reason.UNREADABLE
            ) from error
        result = _describe(str(path), container, stream, demuxed)
        declared = _declared_end(stream, demuxed)
    if result.frames_counted == 0:
        reason = Reason.TRUNCATED if result.truncated else Reason.NO_FRAMES
        words = result.truncated or demuxed.error or "its video stream has no packet"
        raise VideoError(f"{path}: no frame can be shown ({words})", path=str(path), reason=reason)
    _check_timeline(result, declared)
    return result


def open_container(
    path: str | Path, *, max_pixels: int, **codec_options: str
) -> av.container.InputContainer:
    """Open a local file with the containers we name, and nothing it may point to.

    Raises:
        VideoError: unreadable, or truncated where the container's own length says so.
    """
    options = {
        "protocol_whitelist": "file",
        "format_whitelist": ",".join(CONTAINERS),
        "max_pixels": str(max_pixels),
        **codec_options,
    }
    try:
        return av.open(f"file:{Path(path).absolute()}", mode="r", options=options)
    except (av.error.FFmpegError, ValueError) as error:
        if completeness(path) is Completeness.CUT:
            raise VideoError(
                f"{path}: ends before its own container does, and the index it needs is not there "
                f"({error}); fetch the file again",
                path=str(path),
                reason=Reason.TRUNCATED,
            ) from error
        raise VideoError(
            f"{path}: not a video in one of the containers read here ({', '.join(CONTAINERS)}): "
            f"{error}",
            path=str(path),
            reason=Reason.UNREADABLE,
        ) from error


def _video_stream(container: Any, path: str | Path) -> Any:
    """The best video stream that is not a cover picture."""
    if container.metadata.get("major_brand", "").strip() in IMAGE_BRANDS:
        raise VideoError(
            f"{path}: a still picture, not a video", path=str(path), reason=Reason.UNREADABLE
        )
    moving = [
        stream
        for stream in container.streams.video
        if not stream.disposition & av.stream.Disposition.attached_pic
    ]
    if not moving:
        kinds = ", ".join(sorted({stream.type for stream in container.streams})) or "nothing"
        cut = completeness(path) is Completeness.CUT and not container.streams.audio
        raise VideoError(
            f"{path}: no video stream (holds {kinds})"
            + (", and its end is missing" if cut else ""),
            path=str(path),
            reason=Reason.TRUNCATED if cut else Reason.NO_VIDEO_STREAM,
        )
    best = container.streams.best("video")
    chosen = best if best in moving else moving[0]
    if chosen.codec_context is None:
        raise VideoError(
            f"{path}: no decoder here for its video stream",
            path=str(path),
            reason=Reason.UNREADABLE,
        )
    return chosen


def _check_size(path: str | Path, context: Any, max_pixels: int) -> None:
    width, height = context.width, context.height
    if width * height == 0:  # over max_pixels, FFmpeg forgets the size; ask the header alone
        width, height = _declared_size(path)
    if width * height > max_pixels:
        raise VideoError(
            f"{path}: declares {width} x {height} pixels, over the limit of {max_pixels}; raise "
            "extract.max_pixels if it is meant",
            path=str(path),
            reason=Reason.TOO_LARGE,
        )


def _declared_size(path: str | Path) -> tuple[int, int]:
    with open_container(path, max_pixels=2**31 - 1, codec_whitelist="none") as container:
        context = container.streams.video[0].codec_context
        return context.width, context.height


def _describe(path: str, container: Any, stream: Any, demuxed: Demuxed) -> ProbeResult:
    name = _name(container)
    context = stream.codec_context
    fps = stream.average_rate or stream.guessed_rate or Fraction(0)
    table = demuxed.packets
    times = frame_times(
        table.ticks[table.shown],
        jumped=table.ticks is not table.pts,
        # AVI stores no presentation times: where the codec reorders, FFmpeg's are invented
        invented=name == "avi" and bool(context.has_b_frames),
        fps=float(fps),
        time_base=float(stream.time_base),
        container=name,
    )
    declared = _declared_seconds(container, stream, name)
    truncated, present = _truncation(path, stream, demuxed, declared)
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
        frames_from_header=stream.frames,
        duration_seconds_from_header=declared,
        pts_seconds=times.pts_seconds,
        end_seconds=0.0 if truncated else _end_seconds(stream, demuxed, times.pts_seconds),
        packets=table,
        by_time=times.by_time,
        in_order=times.in_order,
        reorders=bool(context.has_b_frames),
        refreshes=demuxed.refreshes,
        skipped_at_start=demuxed.skipped_at_start,
        truncated=truncated,
        fraction_present=present,
    )


def _name(container: Any) -> str:
    return str(container.format.name.split(",")[0])


def _declared_seconds(container: Any, stream: Any, name: str) -> float:
    """Length of the video as the header has it; 0 where there is no header to have it."""
    if name in ESTIMATED_DURATION:
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


def _end_seconds(stream: Any, demuxed: Demuxed, pts_seconds: npt.NDArray[np.float64]) -> float:
    """When the last frame of a variable rate is over, from the first frame on; 0: not said."""
    if len(pts_seconds) == 0 or (len(pts_seconds) > 1 and not is_uneven(pts_seconds)):
        return 0.0
    last = float(pts_seconds[-1])
    ends = [last + demuxed.last_seconds, _declared_end(stream, demuxed)]
    if _name(stream.container) == "matroska":  # its packets all last the default of the track
        ends.reverse()
    return next((end for end in ends if end > last), 0.0)


def _declared_end(stream: Any, demuxed: Demuxed) -> float:
    """End of this very stream as declared, seconds from its first frame; 0: not said."""
    container = stream.container
    name = _name(container)
    if name in ESTIMATED_DURATION:
        return 0.0
    alone = len(container.streams) == 1 and container.duration
    end = _own_seconds(stream) or (container.duration / av.time_base if alone else 0.0)
    return end - (demuxed.start_seconds if end and name in TIMES_FROM_ZERO else 0.0)


def _check_timeline(result: ProbeResult, declared: float) -> None:
    """Refuse times that cannot be true, rather than choose frames by them."""
    frame = 1 / float(result.fps or DEFAULT_FPS)
    span = max(result.end_seconds, float(result.pts_seconds[-1]) + frame)
    if not result.truncated and declared > MANY_TIMES * span:
        raise VideoError(
            f"{result.path}: the times of its {result.frames_counted} frames span {span:.2f} s, "
            f"but its header declares {declared:.2f} s: they cannot be true; remux it "
            "(ffmpeg -i FILE -c copy OTHER.mkv), or encode it anew",
            path=result.path,
            reason=Reason.DAMAGED,
        )


def _truncation(path: str, stream: Any, demuxed: Demuxed, declared: float) -> tuple[str, float]:
    """Why the file is known to end early ("" if not), and the fraction of its time found."""
    frame = float(1 / stream.average_rate) if stream.average_rate else 0.04
    declared = max(declared, stream.frames * frame)  # an AVI without its index shortens the other
    absolute = stream.container.format.name.startswith(TIMES_FROM_ZERO)
    present = demuxed.end_seconds - (0.0 if absolute else demuxed.start_seconds)
    missing = declared - present
    fraction = min(1.0, present / declared) if declared > 0 else 1.0
    state = completeness(path)
    if state is Completeness.COMPLETE and not demuxed.error:
        return "", 1.0  # every promised byte is there: a longer declared time is the header's error
    lost = stream.frames - demuxed.packets_read
    slack = max(TRUNCATION_SLACK_SECONDS, TRUNCATION_SLACK_FRACTION * declared)
    timeless = stream.container.format.name in TIMELESS  # nothing declared to be compared with
    gone = timeless or missing > 0.75 * frame or lost > 0 or demuxed.cut_packet
    cut = state is Completeness.CUT and gone
    short = declared > 0 and missing > slack
    if not (cut or short or demuxed.error):
        return "", 1.0
    words = f"{present:.2f} s of {declared:.2f} s declared are there" if declared else "cut short"
    return words + (f"; the demuxer says: {demuxed.error}" if demuxed.error else ""), fraction
