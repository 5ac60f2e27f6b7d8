"""Windows of a file: spans of one length, or from cut to cut, told from its stored frames alone.

A cut is a frame whose colours are far from those of the frame before, wherever in the picture they
are: what moves within a shot moves no colours, and a new shot has others. Frames are looked at one
block after the other, so that a film may be of any length.
"""

from __future__ import annotations

import bisect
import math
from collections.abc import Iterable
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from reelvec.configs.corpora import WindowsConfig
from reelvec.models.sampling.timeline import SAME_TIME_SECONDS
from reelvec.models.spans import Span

__all__ = ["colour_changes", "cut_times", "end_of_file", "frames_within", "spans_of"]

Seconds = npt.NDArray[np.float64]

_SIDE = 32
"""Rows and columns of pixels that are looked at, evenly spread."""


def spans_of(
    pts_seconds: Seconds, *, end: float, options: WindowsConfig, changes: Seconds | None = None
) -> list[Span]:
    """The windows of a file, ascending; each holds a stored frame at least.

    Length 10, stride 5, of a file of 23 s; the last window ends with the file:

        0----5----10---15---20--23
        |---------|
             |---------|
                  |---------|
                     |---------|

    Args:
        pts_seconds: [T] of the stored frames, ascending, T at least 1.
        end: of the file, seconds.
        options: length and stride; how shots are told.
        changes: [T] `colour_changes` of the stored frames, for shots.
    """
    bounds = [0.0, end]
    if options.by == "shots":
        if changes is None:
            raise ValueError("shots are told by the changes of the stored frames: give them")
        inner = cut_times(changes, pts_seconds, end=end, options=options)
        bounds = [0.0, *inner, end]
    spans = [
        span
        for first, stop in pairwise(bounds)
        for span in _pieces(first, stop, seconds=options.seconds, step=options.step)
    ]
    return [span for span in spans if _shows_any(pts_seconds, span)]


def _shows_any(pts_seconds: Seconds, span: Span) -> bool:
    first, stop = frames_within(pts_seconds, span)
    return first < stop


def _pieces(start: float, end: float, *, seconds: float, step: float) -> list[Span]:
    """Windows of one length, the last of them at the end; the whole where it is no longer."""
    spare = end - start - seconds
    if spare <= SAME_TIME_SECONDS:
        return [Span(start, end)]
    count = math.ceil((spare - 2 * SAME_TIME_SECONDS) / step)
    starts = [start + k * step for k in range(count)]
    return [*(Span(first, first + seconds) for first in starts), Span(end - seconds, end)]


def frames_within(pts_seconds: Seconds, span: Span) -> tuple[int, int]:
    """(first, stop) of the frames whose times are in the span."""
    at = np.array([span.start, span.end]) - SAME_TIME_SECONDS
    first, stop = np.searchsorted(pts_seconds, at, side="left").tolist()
    return first, stop


def end_of_file(pts_seconds: Seconds, *, declared: float) -> float:
    """When the last stored frame is over, seconds: as declared; else after a usual step."""
    last = float(pts_seconds[-1])
    if declared > last:
        return declared
    steps = np.diff(pts_seconds)
    return last + (float(np.median(steps)) if len(steps) else 1.0)


def colour_changes(blocks: Iterable[npt.NDArray[np.uint8]]) -> Seconds:
    """How far colours are from those of the frame before, levels of 255; 0 for the first.

    Of each channel the distance of the two distributions (the earth mover's), on the mean.

    Args:
        blocks: uint8 [B, S, S, 3] each, the frames one after the other.

    Returns:
        float64 [T].
    """
    found: list[npt.NDArray[np.float64]] = []
    before: npt.NDArray[np.int16] | None = None
    for frames in blocks:
        if not len(frames):
            continue
        colours = _sorted_colours(frames)
        first = colours[:1] if before is None else before
        steps = np.diff(np.concatenate([first, colours]), axis=0)
        found.append(np.abs(steps).mean(axis=(1, 2)))
        before = colours[-1:]
    return np.concatenate(found) if found else np.zeros(0)


def _sorted_colours(frames: npt.NDArray[np.uint8]) -> npt.NDArray[np.int16]:
    """int16 [B, pixels, 3], each channel ascending."""
    places = [(2 * np.arange(n) + 1) * s // (2 * n) for s in frames.shape[1:3]
              for n in [min(_SIDE, s)]]  # fmt: skip
    some = frames[:, places[0]][:, :, places[1]]
    return np.sort(some.reshape(len(frames), -1, 3), axis=1).astype(np.int16)


def cut_times(
    changes: Seconds, pts_seconds: Seconds, *, end: float, options: WindowsConfig
) -> list[float]:
    """When shots begin but for the first, ascending; none nearer to another than `shortest`.

    Args:
        changes: [T] `colour_changes`.
        pts_seconds: [T].
        end: of the file, seconds.
        options: threshold and shortest.
    """
    apart = max(options.shortest, 2 * SAME_TIME_SECONDS) - SAME_TIME_SECONDS
    kept = [0.0, end]
    cuts = np.flatnonzero(changes >= options.threshold)
    for place in cuts[np.argsort(-changes[cuts], kind="stable")].tolist():
        time = float(pts_seconds[place])
        at = bisect.bisect_left(kept, time)
        if 0 < at < len(kept) and min(time - kept[at - 1], kept[at] - time) >= apart:
            kept.insert(at, time)
    return kept[1:-1]
