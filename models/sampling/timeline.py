"""Presentation times of a file's frames, and the part of the file that is the clip."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

__all__ = ["SAME_TIME_SECONDS", "Timeline"]

SAME_TIME_SECONDS = 0.0005
"""Times closer than this are equal: Matroska rounds its times to a millisecond."""


@dataclass(frozen=True, kw_only=True)
class Timeline:
    """Presentation times of a file's frames, and the window that is the clip.

    `pts_seconds` [N] ascends, in display order, from 0 at the first frame shown.
    """

    pts_seconds: npt.NDArray[np.float64]
    fps: float
    """Frames a second as the container says (a rational, as a float); 0: it does not."""
    declared_end_seconds: float = 0.0
    """End of the last frame, as the container says where the rate is variable; 0: by `fps`."""
    frames_from_header: int = 0
    """0: not declared. Only the originals' rules look at it."""
    frame_seconds: npt.NDArray[np.float64] | None = None
    """[N], how long each frame says it is shown; 0, or None: it does not say. Only
    `clip2video_ffmpeg` looks at it."""
    keyframe: npt.NDArray[np.bool_] | None = None
    """[N], which of them are keyframes; None: it is not known. Only `keyframes` looks at it."""
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
        """End of the last frame, seconds."""
        if len(self.pts_seconds) == 0:
            return 0.0
        if self.declared_end_seconds > self.pts_seconds[-1]:
            return self.declared_end_seconds
        if self.fps > 0:
            return float(self.pts_seconds[-1]) + 1 / self.fps
        gaps = np.diff(self.pts_seconds)
        return float(self.pts_seconds[-1]) + (float(np.median(gaps)) if len(gaps) else 0.0)

    @property
    def durations(self) -> npt.NDArray[np.float64]:
        """[N], seconds: as each frame says; else until the next one comes, the last to its end."""
        until = np.diff(self.pts_seconds, append=self.end_of_last_frame)
        if self.frame_seconds is None:
            return until
        return np.where(self.frame_seconds > 0, self.frame_seconds, until)

    @property
    def keyframes_within(self) -> npt.NDArray[np.int64]:
        """Display indices of the window's keyframes; of a window without one, that before it.

        Raises:
            ValueError: it is not known which frames are keyframes.
        """
        if self.keyframe is None or not self.keyframe.any():
            raise ValueError("it is not known which frames are keyframes; use the rule per_second")
        every = np.flatnonzero(self.keyframe).astype(np.int64)
        inside = every[(every >= self.first) & (every < self.stop)]
        if len(inside) or self.first == self.stop:
            return inside
        return every[every < self.first][-1:]

    def on_screen(self, rate: float) -> npt.NDArray[np.int64]:
        """Display indices on screen at start, start + 1/rate, … before the end; each once."""
        pts = self.pts_seconds
        start = 0.0 if self.start_seconds is None else self.start_seconds
        end = self.end_of_last_frame
        if self.end_seconds is not None:
            end = min(end, self.end_seconds)
        # float error grows with k, not with the sum: each time is one division away from exact
        n = max(0, int(np.ceil((end - start) * rate)))
        times = start + np.arange(n, dtype=np.float64) / rate
        times = times[times < end - SAME_TIME_SECONDS]
        if (
            len(times) == 0 and end > start
        ):  # a clip shorter than half a millisecond still has a frame
            times = np.array([start])
        shown = np.searchsorted(pts, times + SAME_TIME_SECONDS, side="right") - 1
        return np.unique(np.maximum(shown, 0)).astype(np.int64)


def _first_at_or_after(pts: npt.NDArray[np.float64], seconds: float) -> int:
    return int(np.searchsorted(pts, seconds - SAME_TIME_SECONDS, side="left"))
