"""What writers of shards of square frames share, whatever the file: checks, and what is stored."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Self

import numpy as np

from reelvec.storage.frames.contract import (
    ClipFrames,
    FrameShardReader,
    check_clip,
    check_key,
    check_source,
    jpegs_of,
)

__all__ = ["SquareShardWriter"]


class SquareShardWriter(ABC):
    """Takes clips of frames [T, size, size, 3]; a format says how one is written."""

    def __init__(self, *, payload: str, size: int) -> None:
        self._payload = payload
        self._size = size
        self._keys: set[str] = set()

    def add(self, clip: ClipFrames) -> None:
        check_clip(clip, size=self._size)
        stored = clip.frames if self._payload == "raw" else list(jpegs_of(clip.frames))
        self._take(clip.clip_key, stored, clip.pts_seconds, clip.frame_index)

    def copy(self, source: FrameShardReader, i: int) -> None:
        check_source(source, size=self._size, payload=self._payload)
        times, indices = source.pts_seconds(i), source.frame_index(i)
        self._take(source.keys[i], source.stored(i), times, indices)

    def _take(
        self, key: str, stored: np.ndarray | list[bytes], times: np.ndarray, indices: np.ndarray
    ) -> None:
        check_key(key, count=len(stored), taken=self._keys)
        self._write(key, stored, times, indices)

    @abstractmethod
    def _write(
        self, key: str, stored: np.ndarray | list[bytes], times: np.ndarray, indices: np.ndarray
    ) -> None:
        """Writes a clip that was checked: pixels, or a JPEG a frame."""

    @abstractmethod
    def close(self) -> None: ...

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
