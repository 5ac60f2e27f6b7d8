"""Rules that choose frames: from frame times to frame indices, without decoder or file.

A *policy* is a named rule from a clip's timeline to display indices. Ours go by the true
presentation times, so variable frame rates and 29.97 fps need no special case; the originals' are
kept to the letter (specs/clip4clip-clip2video.md 4, specs/xclip-adaclip.md A3 and B3), drift and
inclusive ends and all. Indices count the frames a player would show, from 0, in display order.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from reelvec.models.sampling.authors import ORIGINALS
from reelvec.models.sampling.originals import adaclip_uniform
from reelvec.models.sampling.timeline import Timeline

__all__ = [
    "LIMITS",
    "POLICIES",
    "Rule",
    "Timeline",
    "choose",
    "limit",
    "pick_stored",
]

Indices = npt.NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class Rule:
    """How frames are chosen; the fields of configs.schema.SamplingConfig."""

    policy: str = "per_second"
    """A key of POLICIES."""
    rate: float = 1.0
    """Frames a second (per_second, clip4clip); the divisor `framerate` (clip2video)."""
    count: int = 12
    """How many frames (uniform, segments, clip2video, adaclip_*, xpool, pe_video)."""
    max_frames: int | None = None
    """At most so many, chosen by `limit`; the subset's size (adaclip_subset_*)."""
    limit: str = "linspace"
    """A key of LIMITS."""
    seed: int = 0
    """For the rules that draw (adaclip_random, adaclip_subset_random, clip2video_*train)."""

    @property
    def counts(self) -> bool:
        """Whether `count` says how many frames are kept."""
        unbounded = ("all", "per_second", "clip4clip", "qwen3_vl", "embedding_gemma2", "keyframes")
        return self.policy not in unbounded

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


def choose(rule: Rule, *, timeline: Timeline) -> Indices:
    """Display indices of the frames `rule` keeps, ascending; empty when the window holds none.

    adaclip rules (short clips) and clip2video_ffmpeg (low rates) may repeat an index, no others.

    Raises:
        ValueError: the original's rule fails on this clip (0 fps, fewer fps than asked).
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
        starts                    x   x   x          (linspace(0, n, m) without its end, truncated)

    Source: `slice_framepos` 0, 1, 2 of CLIP4Clip and X-CLIP (specs/clip4clip-clip2video.md 4.2,
    specs/xclip-adaclip.md A3); starts: AdaCLIP's uniform frames (specs/xclip-adaclip.md B3).
    """
    if max_frames < 1:
        raise ValueError(f"max_frames ({max_frames}) must be >= 1")
    if how not in LIMITS:
        raise ValueError(f"limit ({how!r}) must be one of {', '.join(LIMITS)}")
    if n_stored <= max_frames:
        return np.arange(n_stored, dtype=np.int64)
    return LIMITS[how](n_stored, max_frames)


def _head(n: int, m: int) -> Indices:
    del n
    return np.arange(m, dtype=np.int64)


def _tail(n: int, m: int) -> Indices:
    return np.arange(n - m, n, dtype=np.int64)


def _linspace(n: int, m: int) -> Indices:
    """`m` of `n` positions, first and last included, truncated exactly as NumPy truncates."""
    return np.linspace(0, n - 1, m, dtype=np.int64)


def _starts(n: int, m: int) -> Indices:
    """The first of each of `m` equal segments. Of c m evenly stored frames: as of all of them."""
    return adaclip_uniform(n, count=m)


LIMITS: dict[str, Callable[[int, int], Indices]] = {
    "head": _head,
    "tail": _tail,
    "linspace": _linspace,
    "starts": _starts,
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
    return timeline.on_screen(rule.rate)


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


POLICIES: dict[str, Callable[[Timeline, Rule], Indices]] = {
    "per_second": _per_second,
    "uniform": _uniform,
    "segments": _segments,
    "all": _all,
    "keyframes": lambda at, _: at.keyframes_within,
    **ORIGINALS,
}
