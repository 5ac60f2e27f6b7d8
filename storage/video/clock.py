"""When frames are shown, where a container's times are doubled, missing, or its clock jumps.

Times are in ticks of the stream, one a packet, in decode order.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

__all__ = [
    "BROADCAST",
    "DEFAULT_FPS",
    "JUMP_SECONDS",
    "NO_PTS",
    "UNEVEN",
    "FrameTimes",
    "bridged",
    "counted",
    "frame_times",
    "is_uneven",
]

Ticks = npt.NDArray[np.int64]

NO_PTS = np.iinfo(np.int64).min
"""The container gives none."""

BROADCAST = ("mpegts", "mpeg")
"""Their clock is the sender's: it goes on while nobody records, and wraps after 26.5 hours."""

INDEXED = ("mov", "avi")
"""Their times are made from an index that cannot go back."""

JUMP_SECONDS = 10.0
"""A longer step of a broadcast clock is a jump, as it is for the ffmpeg program."""

JUMP_STEPS = 10.0
"""And it is so many usual steps long: slides that change every half minute are no jumps."""

BACK_SECONDS = 0.1
"""Decode times ascend; less than this is a careless writer."""

BACK_SECONDS_OF_PTS = 1.0
"""Presentation times go back within a group of pictures: where there are no others."""

UNEVEN = 1.5
"""Longest step between frames over the shortest, from which the rate counts as variable: above the
rounding of times to milliseconds."""

DEFAULT_FPS = 25.0
"""Where frames are counted and the container does not say."""


@dataclass(frozen=True, kw_only=True, eq=False)
class FrameTimes:
    """What the times of the frames shown are good for."""

    pts_seconds: npt.NDArray[np.float64]
    """[N] in display order, from 0 at the first."""
    by_time: bool
    """Frames can be told by their PTS; those of one time in the order in which they come out."""
    in_order: bool
    """Some share a time, or the clock jumps: only a decode of everything tells which is which."""


def bridged(
    pts: Ticks,
    dts: Ticks,
    *,
    keyframe: npt.NDArray[np.bool_],
    goes_on: npt.NDArray[np.bool_],
    time_base: float,
    container: str,
) -> Ticks:
    """`pts` without the jumps of the clock: after one, time goes on by the usual step.

        dts   0  1  2  3 | 900 901 902 |  5  6      two recordings more were appended
        kept  0  1  2  3 |   4   5   6 |  7  8

    Args:
        pts: [N], NO_PTS where there is none.
        dts: [N], as `pts`. They ascend but for jumps, so they show them.
        keyframe: [N]. Outside broadcasts FFmpeg makes the decode times: only here they may jump.
        goes_on: [N], other streams fill the time before this packet: a pause, not a jump.
        time_base: seconds a tick.
        container: FFmpeg's name of it.

    Returns:
        `pts` itself where nothing jumps.
    """
    if container in INDEXED or len(pts) < 2:
        return pts
    by_dts = 2 * np.count_nonzero(dts != NO_PTS) > len(dts)
    clock = dts if by_dts else pts
    known = np.flatnonzero(clock != NO_PTS)
    steps = np.diff(clock[known])
    ahead = steps[steps > 0]
    usual = int(np.median(ahead)) if len(ahead) else round(1 / DEFAULT_FPS / time_base)
    back = steps * time_base < -(BACK_SECONDS if by_dts else BACK_SECONDS_OF_PTS)
    if container in BROADCAST:
        far = (steps * time_base > JUMP_SECONDS) & (steps > JUMP_STEPS * usual)
        jumps = back | (far & ~goes_on[known[1:]])
    else:
        jumps = back & keyframe[known[1:]]
    if not jumps.any():
        return pts
    shift = np.zeros(len(pts), np.int64)
    shift[known[1:][jumps]] = usual - steps[jumps]
    return np.where(pts == NO_PTS, NO_PTS, pts + np.cumsum(shift))


def frame_times(
    ticks: Ticks, *, jumped: bool, invented: bool, fps: float, time_base: float, container: str
) -> FrameTimes:
    """The times of the frames shown; the container's where it gives most of them, else counted.

    Args:
        ticks: [N] of the frames shown, in decode order, bridged.
        jumped: the clock jumps.
        invented: by FFmpeg, and not to be believed (AVI has no times, its codec reorders).
        fps: frames a second, as the container says; 0: it does not.
        time_base: seconds a tick.
        container: FFmpeg's name of it.
    """
    by_count = FrameTimes(pts_seconds=counted(len(ticks), fps), by_time=False, in_order=False)
    known = ticks[ticks != NO_PTS]
    distinct = len(np.unique(known))
    if invented or 2 * len(known) <= len(ticks) or 4 * distinct < len(ticks):
        return by_count
    if len(known) < len(ticks):
        seconds = _filled(ticks, time_base)
        even = _is_even(seconds, by_count.pts_seconds)
        return by_count if even else FrameTimes(pts_seconds=seconds, by_time=False, in_order=False)
    ordered = np.sort(ticks)
    seconds = (ordered - ordered[0]) * time_base
    shared = distinct < len(ticks)
    # FFmpeg itself doubles a time of MPEG program streams now and then
    if shared and container == "mpeg" and _is_even(seconds, by_count.pts_seconds):
        return by_count
    return FrameTimes(pts_seconds=seconds, by_time=True, in_order=shared or jumped)


def counted(count: int, fps: float) -> npt.NDArray[np.float64]:
    """[count] seconds of frames that follow one another evenly."""
    return np.arange(count) / float(fps or DEFAULT_FPS)


def is_uneven(pts_seconds: npt.NDArray[np.float64]) -> bool:
    """The frame rate is variable."""
    steps = np.diff(pts_seconds)
    return len(steps) > 0 and bool(steps.max() > UNEVEN * steps.min())


def _filled(ticks: Ticks, time_base: float) -> npt.NDArray[np.float64]:
    """Seconds [N], ascending from 0; missing ones lie between their neighbours in the file."""
    known = np.flatnonzero(ticks != NO_PTS)
    step = float(np.median(np.diff(np.sort(ticks[known]))))
    at = np.arange(len(ticks))
    filled = np.interp(at, known, ticks[known].astype(np.float64))
    filled += np.minimum(at - known[0], 0) * step + np.maximum(at - known[-1], 0) * step
    ordered = np.sort(filled)
    seconds: npt.NDArray[np.float64] = (ordered - ordered[0]) * time_base
    return seconds


def _is_even(seconds: npt.NDArray[np.float64], even: npt.NDArray[np.float64]) -> bool:
    """Nine of ten are within half a frame of an even rate, and so is the end within two frames."""
    frame = even[1] if len(even) > 1 else 1.0
    off = np.abs(seconds - even)
    return bool(np.quantile(off, 0.9) <= frame / 2 and off[-1] <= 2 * frame)
