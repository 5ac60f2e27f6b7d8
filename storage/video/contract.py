"""The decoders' contract: what each is given and gives back."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal, Protocol

import numpy as np
import numpy.typing as npt

from reelvec.configs.decoding import MAX_PIXELS, FrameOptions
from reelvec.storage.errors import VideoError
from reelvec.storage.video.content import no_progress
from reelvec.storage.video.probe import ProbeResult
from reelvec.storage.video.transform import fit, fitted_size

__all__ = [
    "Allocate",
    "CountDiffersError",
    "DecodedFrames",
    "FrameSink",
    "Reader",
    "Reading",
]

Allocate = Callable[[tuple[int, int, int, int]], npt.NDArray[np.uint8]]
"""Makes the array frames are written into, e.g. in shared memory."""


@dataclass(frozen=True, kw_only=True, eq=False)
class DecodedFrames:
    """Frames of one clip. Where salvaged, only those before the damage."""

    frames: npt.NDArray[np.uint8]
    """[T, H, W, 3] RGB; H = W = S but where they are kept native."""
    source: tuple[int, int]
    """(height, width) of the decoded pictures, upright, pixels."""
    pts_seconds: npt.NDArray[np.float64]
    """[T], seconds since the first frame of the file."""
    frame_index: npt.NDArray[np.int64]
    """[T], display indices."""
    status: Literal["ok", "salvaged"]
    reason: str
    """A storage.reasons.Reason; "" where ok."""
    message: str
    fraction_kept: float
    """Of the seconds declared, those before the damage; 1 where ok."""
    decoder: str
    """The one the frames are from."""
    attempts: tuple[str, ...]
    """What each decoder tried before it said."""


class CountDiffersError(VideoError):
    """A whole decode, without complaint, showed other frames than the packets promised.

    `ticks` are the times of those it showed: choose again from `ProbeResult.recounted(ticks)`.
    """

    def __init__(self, message: str, *, path: str, ticks: npt.NDArray[np.int64]) -> None:
        super().__init__(message, path=path, reason="damaged")
        self.ticks = ticks


class FrameSink:
    """Takes pictures by display index, shapes them, and knows which are still missing.

    Attributes:
        frames: [T, H, W, 3]; of native ones the first picture says H and W, and none is there
            before it.
        source: (height, width) of the first picture; (0, 0) before it.
    """

    def __init__(
        self, picks: npt.NDArray[np.int64], *, options: FrameOptions, allocate: Allocate
    ) -> None:
        self.source = (0, 0)
        self._allocate = allocate
        if options.fit == "native":
            self.frames = np.zeros((len(picks), 0, 0, 3), np.uint8)
        else:
            self.frames = allocate((len(picks), options.size, options.size, 3))
        self.picks = picks
        self.filled = np.zeros(len(picks), np.bool_)
        self._position = {int(index): place for place, index in enumerate(picks)}
        self._options = options

    def wants(self, index: int) -> bool:
        """Is the picture of display index `index` still needed."""
        place = self._position.get(index)
        return place is not None and not self.filled[place]

    def put(self, index: int, picture: npt.NDArray[np.uint8]) -> None:
        """Store the picture [H, W, 3] of display index `index`, upright."""
        place, options = self._position[index], self._options
        if self.source == (0, 0):
            self.source = picture.shape[0], picture.shape[1]
            self._make_room()
        fit(
            picture,
            size=options.size,
            out=self.frames[place],
            how=options.resize,
            fit=options.fit,
            interpolation=options.interpolation,
        )
        self.filled[place] = True

    def _make_room(self) -> None:
        """Of native frames, now that their size is known."""
        options = self._options
        shape = fitted_size(*self.source, size=options.size, fit=options.fit)
        if self.frames.shape[1:3] != shape:
            self.frames = self._allocate((len(self.picks), *shape, 3))

    def complete(self) -> bool:
        """Nothing is missing."""
        return bool(self.filled.all())

    def clear(self) -> None:
        """Forget all pictures: another decoder starts over."""
        self.filled[:] = False


@dataclass(frozen=True, kw_only=True)
class Reading:
    """One file to read."""

    path: str
    probe: ProbeResult
    sink: FrameSink
    options: FrameOptions
    max_pixels: int = MAX_PIXELS
    progress: Callable[[], None] = field(default=no_progress)


class Reader(Protocol):
    """A decoder: puts every wanted picture into `reading.sink`, or raises VideoError.

    What it put before raising is right: salvage keeps it. It never puts a picture it is not sure
    of.
    """

    def __call__(self, reading: Reading) -> None: ...
