"""The contract of frame shards in every format: clips by key, in the order they were added.

A shard holds the sampled frames of many clips, RGB uint8 ``[T, S, S, 3]`` each, with their
presentation times (seconds) and display indices; a native one ``[T, H, W, 3]`` of each clip's own
height and width, and what it was made from. Payload ``raw`` is exact; ``jpeg`` (quality 95,
4:2:0) takes about 1/9 of the bytes at about 42 dB (notes/decoding-and-stores.md 3).
"""

from __future__ import annotations

import mmap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Literal, Protocol, Self

import numpy as np

from reelvec.storage.errors import StoreError
from reelvec.storage.frames import jpeg

__all__ = [
    "PIECE_BYTES",
    "ClipFrames",
    "FrameShardReader",
    "FrameShardWriter",
    "FrameSource",
    "Payload",
    "Source",
    "TooLongError",
    "check_clip",
    "check_key",
    "check_picks",
    "check_source",
    "jpegs_of",
    "let_go",
    "runs_of",
]

Payload = Literal["raw", "jpeg"]

PIECE_BYTES = 1 << 26
"""Of a long clip, written at once."""


class TooLongError(StoreError):
    """A clip has more frames than its format holds."""


@dataclass(frozen=True, slots=True)
class Source:
    """What a clip's frames were made from.

    Attributes:
        height: of the decoded pictures, upright, pixels.
        width: of the same.
        frames: of the file, counted.
        fps: of the file, as its container says.
    """

    height: int
    width: int
    frames: int
    fps: float


@dataclass(frozen=True, slots=True, eq=False)
class ClipFrames:
    """The stored frames of one clip.

    Attributes:
        clip_key: content hash, and window when there is one (records.clip_key).
        frames: uint8 [T, S, S, 3], RGB; native ones [T, H, W, 3].
        pts_seconds: float64 [T], presentation times.
        frame_index: int64 [T], positions in display order within the file.
        source: what they were made from; only native shards keep it, and need it.
    """

    clip_key: str
    frames: np.ndarray
    pts_seconds: np.ndarray
    frame_index: np.ndarray
    source: Source | None = None

    @property
    def picture(self) -> tuple[int, int]:
        """(height, width) of the decoded pictures; of the frames, where nothing says."""
        height, width = self.frames.shape[1:3]
        return (height, width) if self.source is None else (self.source.height, self.source.width)


class FrameShardWriter(Protocol):
    """Writes one shard; a context manager that closes it. The same clips give the same bytes."""

    def add(self, clip: ClipFrames) -> None:
        """Appends a clip; StoreError for a wrong shape or dtype, no frame, or a key twice."""

    def copy(self, source: FrameShardReader, i: int) -> None:
        """Appends clip `i` of another shard as it is stored: a JPEG is not encoded again."""

    def close(self) -> None: ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None: ...


class FrameShardReader(Protocol):
    """Reads one shard at random.

    Attributes:
        keys: clip keys in the order of writing.
        lengths: int64 [V], frames of each clip.
        size: height and width of a frame, pixels; of native ones the shorter side, at most.
        payload: raw or jpeg.
        native: whether each clip has its own height and width.
    """

    keys: tuple[str, ...]
    lengths: np.ndarray
    size: int
    payload: Payload
    native: bool

    def shape(self, i: int) -> tuple[int, int]:
        """(height, width) of the frames of clip `i`."""

    def source(self, i: int) -> Source | None:
        """What clip `i` was made from; None where the shard does not say."""

    def frames(self, i: int) -> np.ndarray:
        """Frames of clip `i`, uint8 [T, H, W, 3], read-only; a view where the format allows."""

    def pts_seconds(self, i: int) -> np.ndarray:
        """Presentation times of clip `i`, float64 [T], seconds."""

    def frame_index(self, i: int) -> np.ndarray:
        """Display indices of clip `i`, int64 [T]."""

    def read_into(self, i: int, picks: np.ndarray, out: np.ndarray) -> None:
        """Copies frames `picks` (int64 [P]) of clip `i` into `out` (uint8 [P, H, W, 3])."""

    def stored(self, i: int) -> np.ndarray | list[bytes]:
        """The payload of clip `i` as it is stored: raw frames, or one JPEG a frame."""

    def close(self) -> None:
        """Closes the file; views taken before stay valid."""


class FrameSource(Protocol):
    """Clips by key for an encoder: `reader.FrameReader`, or clips in memory."""

    def lengths(self, keys: Sequence[str]) -> np.ndarray:
        """Frames of each clip, int64 [V]."""

    def picture(self, key: str) -> tuple[int, int]:
        """(height, width) of the decoded pictures of a clip; of its frames, where nothing says."""

    def gather(self, keys: Sequence[str], *, picks: Sequence[np.ndarray], out: np.ndarray) -> None:
        """Fills ``out`` [V, F, S, S, 3] with the picked frames, the rest with zeros."""

    def ahead(self, keys: Sequence[str]) -> None:
        """Says which clips are read next, to a source that has to fetch them."""

    def clip(self, key: str, picks: np.ndarray) -> ClipFrames:
        """The picked frames of a clip as they are stored, with all that is known of them."""


def let_go(frames: np.ndarray) -> None:
    """Give back the memory of frames that are mapped from a file; touched again, they are read.

    Frames in memory are left alone.
    """
    base: object = frames
    while isinstance(base, np.ndarray):
        base = base.base
    if isinstance(base, memoryview):
        base = base.obj
    if isinstance(base, mmap.mmap):
        base.madvise(mmap.MADV_DONTNEED)


def jpegs_of(frames: np.ndarray) -> Iterator[bytes]:
    """The frames as JPEGs, one by one; of frames mapped from a file few are in memory at once."""
    at_once = max(1, PIECE_BYTES // max(1, frames[:1].nbytes))
    for first in range(0, len(frames), at_once):
        yield from map(jpeg.encode, frames[first : first + at_once])
        let_go(frames)


def check_clip(clip: ClipFrames, *, size: int, native: bool = False) -> None:
    """Refuses a clip that does not fit the shard.

    Raises:
        StoreError: wrong shape or dtype, times or indices of another length.
    """
    count, height, width = len(clip.frames), size, size
    if native and clip.frames.ndim == 4 and 0 < min(clip.frames.shape[1:3]) <= size:
        height, width = clip.frames.shape[1:3]
    wanted = {
        "frames": (clip.frames, np.uint8, (count, height, width, 3)),
        "pts_seconds": (clip.pts_seconds, np.float64, (count,)),
        "frame_index": (clip.frame_index, np.int64, (count,)),
    }
    for name, (array, dtype, shape) in wanted.items():
        if array.dtype != dtype or array.shape != shape:
            raise StoreError(
                f"clip {clip.clip_key}: {name} is {array.dtype}{list(array.shape)}, must be "
                f"{np.dtype(dtype)}{list(shape)}"
            )


def check_key(key: str, *, count: int, taken: set[str]) -> None:
    """Refuses a clip without frames, and a key the shard has already.

    Raises:
        StoreError: either of them.
    """
    if count == 0:
        raise StoreError(f"clip {key} has no frame; record it as quarantined instead")
    if key in taken:
        raise StoreError(f"clip {key} is in this shard already")
    taken.add(key)


def check_source(
    source: FrameShardReader, *, size: int, payload: str, native: bool = False
) -> None:
    """Refuses to copy between shards that do not hold the same thing.

    Raises:
        StoreError: another frame size or payload, or another fit.
    """
    held, wanted = (source.size, source.payload, source.native), (size, payload, native)
    if held != wanted:
        said = [f"{px} px {kind}{' native' if own else ''}" for px, kind, own in (held, wanted)]
        raise StoreError(
            f"clips of {said[0]} cannot be copied as they are into a shard "
            f"of {said[1]}; decode and add them instead"
        )


def check_picks(picks: np.ndarray, *, key: str, count: int) -> list[int]:
    """The picks as plain integers; refused where the clip has no such frame.

    Negative ones are refused too, which numpy would wrap. Plain integers, because for a dozen of
    them every numpy call costs more than the loop.

    Raises:
        StoreError: a pick is outside [0, count).
    """
    chosen: list[int] = picks.tolist()
    if chosen and (min(chosen) < 0 or max(chosen) >= count):
        raise StoreError(f"clip {key} has frames 0 to {count - 1}, asked for {chosen}")
    return chosen


def runs_of(picks: list[int]) -> list[tuple[int, int, int]]:
    """(first, stop, slot of the first) of each run of consecutive picks: one copy each."""
    runs: list[tuple[int, int, int]] = []
    slot = 0
    while slot < len(picks):
        first, start = picks[slot], slot
        slot += 1
        while slot < len(picks) and picks[slot] == picks[slot - 1] + 1:
            slot += 1
        runs.append((first, first + slot - start, start))
    return runs
