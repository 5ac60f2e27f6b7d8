"""Which frames: integers in, integers out. No decoder, no file.

A *policy* is a named rule from a clip's timeline to display indices. Ours go by the true
presentation times, so variable frame rates and 29.97 fps need no special case; the originals' are
kept to the letter (specs/clip4clip-clip2video.md 4, specs/xclip-adaclip.md A3 and B3), drift and
inclusive ends and all. Indices count the frames a player would show, from 0, in display order.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

__all__ = [
    "LIMITS",
    "POLICIES",
    "Rule",
    "Timeline",
    "adaclip_segment",
    "adaclip_subset",
    "adaclip_uniform",
    "choose",
    "clip2video_jitter",
    "clip2video_two_stage",
    "clip4clip_cv2",
    "limit",
    "pick_stored",
]

Indices = npt.NDArray[np.int64]

SAME_TIME_SECONDS = 0.0005
"""Times closer than this are equal: Matroska rounds its times to a millisecond."""

CLIP2VIDEO_JPEGS_A_SECOND = 5.0
"""CLIP2Video first writes five JPEGs a second, then chooses among those (spec 4.3)."""


@dataclass(frozen=True, kw_only=True)
class Rule:
    """How frames are chosen; the fields of configs.schema.SamplingConfig, and a seed."""

    policy: str = "per_second"
    """A key of POLICIES."""
    rate: float = 1.0
    """Frames a second (per_second, clip4clip); the divisor `framerate` (clip2video)."""
    count: int = 12
    """How many frames (uniform, segments, clip2video, adaclip_*)."""
    max_frames: int | None = None
    """At most so many, chosen by `limit`; the subset's size (adaclip_subset_*)."""
    limit: str = "linspace"
    """A key of LIMITS."""
    seed: int = 0
    """For the rules that draw (adaclip_random, clip2video_train, adaclip_subset_random)."""

    def __post_init__(self) -> None:
        if self.policy not in POLICIES:
            raise ValueError(
                f"sampling.policy ({self.policy!r}) must be one of {', '.join(POLICIES)}"
            )
        if self.limit not in LIMITS:
            raise ValueError(f"sampling.limit ({self.limit!r}) must be one of {', '.join(LIMITS)}")
        if not self.rate > 0:
            raise ValueError(f"sampling.rate ({self.rate}) must be > 0 frames a second")
        if self.count < 1:
            raise ValueError(f"sampling.count ({self.count}) must be >= 1")
        if self.max_frames is not None and self.max_frames < 1:
            raise ValueError(
                f"sampling.max_frames ({self.max_frames}) must be >= 1, or absent for no limit"
            )


@dataclass(frozen=True, kw_only=True)
class Timeline:
    """When each frame of a file is shown, and the window of it that is meant.

    `pts_seconds` [N] ascends, in display order, from 0 at the first frame shown.
    """

    pts_seconds: npt.NDArray[np.float64]
    fps: float
    """Frames a second as the container says (a rational, as a float); 0: it does not."""
    frames_from_header: int = 0
    """0: not declared. Only the originals' rules look at it."""
    start_seconds: float | None = None
    end_seconds: float | None = None
    """The window [start, end)."""
    first: int = field(init=False)
    """First display index whose time is in the window."""
    stop: int = field(init=False)
    """One past the last."""

    def __post_init__(self) -> None:
        start, end = self.start_seconds, self.end_seconds
        if start is not None and end is not None and not 0 <= start < end:
            raise ValueError(
                f"window ({start}, {end}) must be 0 <= start < end, in seconds of the file"
            )
        low = 0 if start is None else _first_at_or_after(self.pts_seconds, start)
        high = len(self.pts_seconds) if end is None else _first_at_or_after(self.pts_seconds, end)
        object.__setattr__(self, "first", low)
        object.__setattr__(self, "stop", max(low, high))

    @property
    def end_of_last_frame(self) -> float:
        """Seconds at which the last frame's time is over."""
        if len(self.pts_seconds) == 0:
            return 0.0
        if self.fps > 0:
            return float(self.pts_seconds[-1]) + 1 / self.fps
        gaps = np.diff(self.pts_seconds)
        return float(self.pts_seconds[-1]) + (float(np.median(gaps)) if len(gaps) else 0.0)


def choose(rule: Rule, *, timeline: Timeline) -> Indices:
    """Display indices of the frames `rule` keeps, ascending; empty when the window holds none.

    The adaclip rules may repeat an index (a clip shorter than their count); all others never do.

    Raises:
        ValueError: the original's rule fails on this clip (0 fps; fewer frames a second than asked).
    """
    if len(timeline.pts_seconds) == 0:
        return np.zeros(0, np.int64)
    chosen = POLICIES[rule.policy](timeline, rule)
    return chosen if rule.max_frames is None else limit(chosen, rule.max_frames, rule.limit)


def limit(indices: Indices, max_frames: int, how: str = "linspace") -> Indices:
    """At most `max_frames` of `indices`, in order; all of them where there are no more."""
    return indices[pick_stored(len(indices), max_frames, how)]


def pick_stored(n_stored: int, max_frames: int, how: str = "linspace") -> Indices:
    """Positions among `n_stored` frames of the at most `max_frames` to use, ascending.

    Seven frames, three wanted:   0 1 2 3 4 5 6
        head                      x x x
        tail                              x x x
        linspace                  x     x     x      (linspace(0, n-1, m), truncated)

    Source: `slice_framepos` 0, 1, 2 of CLIP4Clip and X-CLIP (specs 4.2, A3).
    """
    if max_frames < 1:
        raise ValueError(f"max_frames ({max_frames}) must be >= 1")
    if how not in LIMITS:
        raise ValueError(f"limit ({how!r}) must be one of {', '.join(LIMITS)}")
    if n_stored <= max_frames:
        return np.arange(n_stored, dtype=np.int64)
    return LIMITS[how](n_stored, max_frames)


def _linspace(n: int, m: int) -> Indices:
    """`m` of `n` positions, first and last included, truncated exactly as NumPy truncates."""
    return np.linspace(0, n - 1, m, dtype=np.int64)


LIMITS: dict[str, Callable[[int, int], Indices]] = {
    "head": lambda n, m: np.arange(m, dtype=np.int64),
    "tail": lambda n, m: np.arange(n - m, n, dtype=np.int64),
    "linspace": _linspace,
}


# Ours: by time.


def _per_second(timeline: Timeline, rule: Rule) -> Indices:
    """The frame on screen at start, start + 1/rate, start + 2/rate, …, before the end.

    Rate 1, frames `|` at 2.5 a second, asked at `^`:

        |0    |1    |2    |3    |4    |5
        ^           ^                ^          -> 0 2 5 at 0 s, 1 s, 2 s
        0 s   0.4   0.8   1.2  1.6   2.0        (at 1 s, frame 2 is still on screen)

    A frame on screen at several of these times is kept once.
    """
    return _on_screen(timeline, rule.rate)


def _on_screen(timeline: Timeline, rate: float) -> Indices:
    pts = timeline.pts_seconds
    start = 0.0 if timeline.start_seconds is None else timeline.start_seconds
    end = timeline.end_of_last_frame
    if timeline.end_seconds is not None:
        end = min(end, timeline.end_seconds)
    # float error grows with k, not with the sum: each time is one division away from exact
    n = max(0, int(np.ceil((end - start) * rate)))
    times = start + np.arange(n, dtype=np.float64) / rate
    times = times[times < end - SAME_TIME_SECONDS]
    if len(times) == 0 and end > start:  # a clip shorter than half a millisecond still has a frame
        times = np.array([start])
    shown = np.searchsorted(pts, times + SAME_TIME_SECONDS, side="right") - 1
    return np.unique(np.maximum(shown, 0)).astype(np.int64)


def _uniform(timeline: Timeline, rule: Rule) -> Indices:
    """`count` frames, first and last included: linspace(0, N-1, count), truncated.

    Nine frames, count 3:      0 1 2 3 4 5 6 7 8
                               x       x       x
    Fewer frames than `count`: each once.
    """
    return timeline.first + pick_stored(timeline.stop - timeline.first, rule.count, "linspace")


def _segments(timeline: Timeline, rule: Rule) -> Indices:
    """The middle frame of each of `count` equal segments: floor((i + 1/2) N / count).

    Nine frames, count 3:      0 1 2|3 4 5|6 7 8
                                 x     x     x
    Fewer frames than `count`: each once.
    """
    n = timeline.stop - timeline.first
    if n <= rule.count:
        return np.arange(timeline.first, timeline.stop, dtype=np.int64)
    i = np.arange(rule.count, dtype=np.int64)
    return timeline.first + (2 * i + 1) * n // (2 * rule.count)


def _all(timeline: Timeline, rule: Rule) -> Indices:
    """Every frame of the window."""
    del rule
    return np.arange(timeline.first, timeline.stop, dtype=np.int64)


# The originals', to the letter.


def clip4clip_cv2(
    frame_count: int,
    *,
    fps: float,
    readable: int,
    rate: int = 1,
    window: tuple[int, int] | None = None,
) -> Indices:
    """CLIP4Clip's and X-CLIP's frames: whole fps, every second through the end *inclusive*.

    29.97 fps counts as 29, so picks drift: 0 29 58 87 … (never 30); reading stops at the first
    frame that is not there. Seconds 0, 1, … of 25 fps, rate 1:

        0 ........ 25 ........ 50 ........ 75      window (0, 3) takes 0 25 50 and 75 too
        x          x           x           x

    Args:
        frame_count: frames the header declares.
        fps: frames a second the header declares.
        readable: frames that can be read.
        rate: frames a second; 0: every frame.
        window: whole seconds (start, end), end inclusive; capped at the duration.

    Raises:
        ValueError: 0 fps (the original divides by zero), or fewer frames a second than `rate`.

    Source: RawVideoExtractorCV2.video_to_tensor; specs 4.1, A3.
    """
    whole_fps = int(fps)
    if whole_fps < 1:
        raise ValueError(f"fps ({fps}) must be >= 1 for the rule clip4clip; use per_second instead")
    duration = -(-frame_count // whole_fps)
    start, end = (0, duration) if window is None else (window[0], min(window[1], duration))
    offsets = np.arange(0, whole_fps, max(whole_fps // rate, 1) if rate > 0 else 1)
    if len(offsets) < rate:
        raise ValueError(
            f"rate ({rate}) must be <= fps ({whole_fps}) for the rule clip4clip; lower the rate, "
            "or use per_second"
        )
    offsets = offsets[: rate or whole_fps]
    wanted = (np.arange(start, end + 1)[:, None] * whole_fps + offsets[None, :]).ravel()
    return wanted[wanted < readable].astype(np.int64)


def clip2video_two_stage(n_jpeg: int, *, framerate: int, max_frames: int) -> Indices:
    """CLIP2Video's choice among `n_jpeg` pictures: n // framerate of them, then max_frames of those.

    Both stages are linspace with both ends, truncated. n_jpeg 12, framerate 2, max_frames 3:

        0 1 2 3 4 5 6 7 8 9 10 11
        x   x   x   x   x      x       k = 6 of 12
        x       x              x       3 of those 6

    n_jpeg < framerate gives none (the original's empty video). Source: spec 4.3.
    """
    k = n_jpeg // framerate
    first = np.linspace(0, n_jpeg - 1, k, dtype=np.int64)
    if k <= max_frames:
        return first
    return first[np.linspace(0, k - 1, max_frames, dtype=np.int64)]


def clip2video_jitter(indices: Indices, *, random: np.random.RandomState) -> Indices:
    """Its training noise: integers in [-step, step) on all but the first and the last.

    step = half the first gap, and nothing moves where that is 2 or less:

        0         12        25        37         49      gaps 12 -> step 6
        0      9.....       2…        40         49
    Source: spec 4.3.
    """
    if len(indices) < 3:
        return indices
    step = int(indices[1] - indices[0]) // 2
    if step <= 2:
        return indices
    moved = indices.copy()
    moved[1:-1] += random.randint(-step, step, size=len(indices) - 2)
    return moved


def adaclip_uniform(n_jpeg: int, *, count: int) -> Indices:
    """floor(i T / count): the first of each segment; repeats where T < count.

    T 8, count 4:   0 1|2 3|4 5|6 7        T 2, count 4:   0 0 1 1
                    x   x   x   x
    Source: linspace(0, T, count, endpoint=False, dtype=int); spec B3.
    """
    if n_jpeg == 0:
        return np.zeros(0, np.int64)
    return np.linspace(0, n_jpeg, count, endpoint=False, dtype=np.int64)


def adaclip_segment(n_jpeg: int, *, count: int) -> Indices:
    """The middle of each segment, its ends truncated first: (tick[i] + tick[i+1]) // 2.

    T 9, count 3:   0 1 2|3 4 5|6 7 8      T 17, count 16 ends … 13 14 16 (the last is two long)
                      x     x     x
    Source: spec B3 (`--segment_sampling`).
    """
    if n_jpeg == 0:
        return np.zeros(0, np.int64)
    ticks = np.linspace(0, n_jpeg, count + 1, dtype=np.int64)
    return (ticks[:-1] + ticks[1:]) // 2


def adaclip_subset(indices: Indices, *, size: int) -> Indices:
    """`size` of `indices`: those at floor(i n / size) (`--num_frm_subset`, uniform; spec B3)."""
    if len(indices) == 0:
        return indices
    return indices[np.linspace(0, len(indices), size, endpoint=False, dtype=np.int64)]


def _whole(rule: Rule) -> int:
    if rule.rate != int(rule.rate):
        raise ValueError(f"rate ({rule.rate}) must be a whole number for the rule {rule.policy}")
    return int(rule.rate)


def _clip4clip(timeline: Timeline, rule: Rule) -> Indices:
    window = None
    if timeline.start_seconds is not None or timeline.end_seconds is not None:
        end = timeline.end_of_last_frame if timeline.end_seconds is None else timeline.end_seconds
        window = (int(timeline.start_seconds or 0), int(end))
    readable = len(timeline.pts_seconds)
    return clip4clip_cv2(
        timeline.frames_from_header or readable,
        fps=timeline.fps,
        readable=readable,
        rate=_whole(rule),
        window=window,
    )


def _clip2video(timeline: Timeline, rule: Rule) -> Indices:
    jpegs = _on_screen(timeline, CLIP2VIDEO_JPEGS_A_SECOND)
    return jpegs[clip2video_two_stage(len(jpegs), framerate=_whole(rule), max_frames=rule.count)]


def _clip2video_train(timeline: Timeline, rule: Rule) -> Indices:
    jpegs = _on_screen(timeline, CLIP2VIDEO_JPEGS_A_SECOND)
    picks = clip2video_two_stage(len(jpegs), framerate=_whole(rule), max_frames=rule.count)
    return jpegs[clip2video_jitter(picks, random=np.random.RandomState(rule.seed))]


def _adaclip_uniform(timeline: Timeline, rule: Rule) -> Indices:
    return timeline.first + adaclip_uniform(timeline.stop - timeline.first, count=rule.count)


def _adaclip_segment(timeline: Timeline, rule: Rule) -> Indices:
    return timeline.first + adaclip_segment(timeline.stop - timeline.first, count=rule.count)


def _adaclip_random(timeline: Timeline, rule: Rule) -> Indices:
    """`count` different frames, sorted (the original crashes where there are fewer)."""
    n = timeline.stop - timeline.first
    if n < rule.count:
        raise ValueError(
            f"count ({rule.count}) must be <= frames ({n}) for the rule adaclip_random; lower it, "
            "or use adaclip_uniform"
        )
    drawn = np.random.RandomState(rule.seed).choice(n, rule.count, replace=False)
    return timeline.first + np.sort(drawn).astype(np.int64)


def _adaclip_subset_uniform(timeline: Timeline, rule: Rule) -> Indices:
    return adaclip_subset(_adaclip_uniform(timeline, rule), size=rule.max_frames or rule.count)


def _adaclip_subset_random(timeline: Timeline, rule: Rule) -> Indices:
    among = _adaclip_uniform(timeline, rule)
    size = min(rule.max_frames or rule.count, len(among))
    drawn = np.random.RandomState(rule.seed).choice(len(among), size, replace=False)
    return among[np.sort(drawn)]


POLICIES: dict[str, Callable[[Timeline, Rule], Indices]] = {
    "per_second": _per_second,
    "uniform": _uniform,
    "segments": _segments,
    "all": _all,
    "clip4clip": _clip4clip,
    "clip2video": _clip2video,
    "clip2video_train": _clip2video_train,
    "adaclip_uniform": _adaclip_uniform,
    "adaclip_segment": _adaclip_segment,
    "adaclip_random": _adaclip_random,
    "adaclip_subset_uniform": _adaclip_subset_uniform,
    "adaclip_subset_random": _adaclip_subset_random,
}


def _first_at_or_after(pts: npt.NDArray[np.float64], seconds: float) -> int:
    return int(np.searchsorted(pts, seconds - SAME_TIME_SECONDS, side="left"))
