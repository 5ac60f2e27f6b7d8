"""The originals' rules over a timeline and its window; their arithmetic is in originals.py."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import numpy as np
import numpy.typing as npt

from reelvec.models.sampling.originals import (
    adaclip_segment,
    adaclip_subset,
    adaclip_uniform,
    clip2video_jitter,
    clip2video_two_stage,
    clip4clip_cv2,
    embedding_gemma2,
    evenly_to_both_ends,
    ffmpeg_pictures,
    qwen3_vl,
    videoprism,
    xpool_segment,
)
from reelvec.models.sampling.timeline import Timeline

__all__ = ["ORIGINALS"]

Indices = npt.NDArray[np.int64]


class Rule(Protocol):
    """What these rules read of `models.sampling.rules.Rule`."""

    @property
    def policy(self) -> str: ...
    @property
    def rate(self) -> float: ...
    @property
    def count(self) -> int: ...
    @property
    def max_frames(self) -> int | None: ...
    @property
    def seed(self) -> int: ...


CLIP2VIDEO_JPEGS_A_SECOND = 5.0
"""CLIP2Video first writes five JPEGs a second, then chooses among those
(specs/clip4clip-clip2video.md 4.3)."""


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


def _five_a_second(timeline: Timeline) -> Indices:
    """CLIP2Video's pictures by true time, where its ffmpeg drifts by up to one at the start."""
    return timeline.on_screen(CLIP2VIDEO_JPEGS_A_SECOND)


def _as_ffmpeg_writes(timeline: Timeline) -> Indices:
    """CLIP2Video's pictures as its script writes them."""
    window = slice(timeline.first, timeline.stop)
    times, durations = timeline.pts_seconds[window], timeline.durations[window]
    if len(times) == 0:
        return np.zeros(0, np.int64)
    times = times - times[0]
    return timeline.first + ffmpeg_pictures(times, durations, rate=CLIP2VIDEO_JPEGS_A_SECOND)


def _clip2video(
    pictures: Callable[[Timeline], Indices], *, jitter: bool = False
) -> Callable[[Timeline, Rule], Indices]:
    """Its two stages over these pictures; `jitter`: the noise of its training."""

    def choose_among(timeline: Timeline, rule: Rule) -> Indices:
        among = pictures(timeline)
        picks = clip2video_two_stage(len(among), framerate=_whole(rule), max_frames=rule.count)
        if jitter:
            picks = clip2video_jitter(picks, random=np.random.RandomState(rule.seed))
        return among[picks]

    return choose_among


def _of_window(pick: Callable[..., Indices]) -> Callable[[Timeline, Rule], Indices]:
    """A rule that counts a window's frames alone."""
    return lambda at, rule: at.first + pick(at.stop - at.first, count=rule.count)


_adaclip_uniform = _of_window(adaclip_uniform)


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


def _qwen3_vl(timeline: Timeline, rule: Rule) -> Indices:
    return timeline.first + qwen3_vl(
        timeline.stop - timeline.first, fps=timeline.fps, rate=rule.rate, most=rule.max_frames or 64
    )


def _embedding_gemma2(timeline: Timeline, rule: Rule) -> Indices:
    return timeline.first + embedding_gemma2(
        timeline.stop - timeline.first, fps=timeline.fps, rate=rule.rate
    )


ORIGINALS: dict[str, Callable[[Timeline, Rule], Indices]] = {
    "clip4clip": _clip4clip,
    "clip2video": _clip2video(_five_a_second),
    "clip2video_ffmpeg": _clip2video(_as_ffmpeg_writes),
    "clip2video_train": _clip2video(_five_a_second, jitter=True),
    "clip2video_ffmpeg_train": _clip2video(_as_ffmpeg_writes, jitter=True),
    "adaclip_uniform": _adaclip_uniform,
    "adaclip_segment": _of_window(adaclip_segment),
    "adaclip_random": _adaclip_random,
    "adaclip_subset_uniform": _adaclip_subset_uniform,
    "adaclip_subset_random": _adaclip_subset_random,
    "videoprism": _of_window(videoprism),
    "qwen3_vl": _qwen3_vl,
    "embedding_gemma2": _embedding_gemma2,
    "pe_video": _of_window(evenly_to_both_ends),
    "xpool": _of_window(xpool_segment),
}
"""Name of a policy -> the rule."""
