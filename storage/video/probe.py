"""One pass over a file without decoding it: what it holds, when it shows it, whether it is whole.

Headers lie about counts and times, so each number's name says where it is from. The packets are
read once, to the end; the decoders work from the table made here.
"""

from __future__ import annotations

import dataclasses
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
from reelvec.storage.video.content import check_file, no_progress
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
    rotation: int
    """Degrees counter-clockwise that a player turns the stored picture, 0 to 359."""
    time_base: Fraction
    """Seconds a tick of `packets.pts`."""
    fps: Fraction
    """Frames a second, from the container; 0: not said."""
    frames_from_header: int
    duration_seconds_from_header: float
    """0: not declared."""
    pts_seconds: npt.NDArray[np.float64]
    """[N] of the frames a player shows, in display order, from 0 at the first."""
    packets: PacketTable
    by_time: bool
    """Frames can be told by their PTS. False: only by counting them as they are decoded."""
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

    def recounted(self, ticks: npt.NDArray[np.int64]) -> ProbeResult:
        """The same file, of which a whole decode showed frames at `ticks` and no others.

        Some packets hold no picture (dropped frames of MPEG-4, second fields of H.264).
        """
        if not self.by_time:
            times = np.arange(len(ticks)) / float(self.fps or 25)
            return dataclasses.replace(self, pts_seconds=times)
        shown = self.packets.shown & np.isin(self.packets.pts, ticks)
        kept = np.sort(self.packets.pts[shown])
        start = kept[0] if len(kept) else 0
        return dataclasses.replace(
            self,
            packets=dataclasses.replace(self.packets, shown=shown),
            pts_seconds=(kept - start) * float(self.time_base),
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
        demuxed = demux(container, stream, progress=progress)
        result = _describe(str(path), container, stream, demuxed)
    if result.frames_counted == 0:
        reason = Reason.TRUNCATED if result.truncated else Reason.NO_FRAMES
        words = result.truncated or demuxed.error or "its video stream has no packet"
        raise VideoError(f"{path}: no frame can be shown ({words})", path=str(path), reason=reason)
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
    name = container.format.name.split(",")[0]
    context = stream.codec_context
    fps = stream.average_rate or stream.guessed_rate or Fraction(0)
    table, shown = demuxed.packets, demuxed.packets.shown
    # AVI stores no presentation times: where the codec reorders, FFmpeg's are invented
    by_time = demuxed.times_complete and not (name == "avi" and context.has_b_frames)
    time_base = float(stream.time_base)
    if by_time:
        ticks = np.sort(table.pts[shown])
        pts_seconds = (ticks - ticks[0]) * time_base if len(ticks) else np.zeros(0)
    else:
        pts_seconds = np.arange(int(shown.sum())) / float(fps or 25)
    declared = _declared_seconds(container, stream, name)
    truncated, present = _truncation(path, stream, demuxed, declared)
    turned = demuxed.rotation % 180 == 90
    return ProbeResult(
        path=path,
        container=name,
        stream_index=stream.index,
        codec=context.codec.canonical_name,
        width=context.height if turned else context.width,
        height=context.width if turned else context.height,
        rotation=demuxed.rotation,
        time_base=Fraction(stream.time_base),
        fps=Fraction(fps),
        frames_from_header=stream.frames,
        duration_seconds_from_header=declared,
        pts_seconds=pts_seconds,
        packets=table,
        by_time=by_time,
        reorders=bool(context.has_b_frames),
        refreshes=demuxed.refreshes,
        skipped_at_start=demuxed.skipped_at_start,
        truncated=truncated,
        fraction_present=present,
    )


def _declared_seconds(container: Any, stream: Any, name: str) -> float:
    """Length of the video as the header has it; 0 where there is no header to have it."""
    if name in ESTIMATED_DURATION:
        return 0.0
    if stream.duration:
        return float(stream.duration * stream.time_base)
    tag = stream.metadata.get("DURATION", "")
    if tag.count(":") == 2:  # Matroska: the stream's end, as HH:MM:SS.nnn
        hours, minutes, seconds = tag.split(":")
        return int(hours) * 3600 + int(minutes) * 60 + float(seconds)
    return container.duration / av.time_base if container.duration else 0.0


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
