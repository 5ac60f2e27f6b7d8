"""Result memory a sandbox owns and its worker fills: an anonymous file, so there is none to leak.

Layout: a header page with the worker's last sign of life, then arrays at page boundaries. The
parent reads by file offset, not through a mapping: a worker gone mad can shrink the file, and a
mapping would then take the parent down with SIGBUS.
"""

from __future__ import annotations

import math
import mmap
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["ArrayPlace", "Slot", "SlotWriter"]

PAGE = mmap.PAGESIZE
PLAIN_TYPES = ("uint8", "int32", "int64", "float32", "float64", "bool")


@dataclass(frozen=True)
class ArrayPlace:
    """Where an array lies in a slot."""

    offset: int
    shape: tuple[int, ...]
    dtype: str

    @property
    def nbytes(self) -> int:
        """Bytes it takes."""
        return math.prod(self.shape) * np.dtype(self.dtype).itemsize


class Slot:
    """The parent's side."""

    def __init__(self, *, keep_bytes: int) -> None:
        self.fd = os.memfd_create("reelvec-slot", os.MFD_CLOEXEC)
        self._keep = PAGE + keep_bytes
        os.ftruncate(self.fd, PAGE)

    def last_sign_of_life(self) -> float:
        """time.monotonic() of the worker's last heartbeat; 0: none yet."""
        raw = os.pread(self.fd, 8, 0)
        return float(np.frombuffer(raw, np.float64)[0]) if len(raw) == 8 else 0.0

    def take(self, places: Sequence[ArrayPlace]) -> tuple[npt.NDArray[Any], ...]:
        """Copies of the arrays at `places`; then memory beyond what is kept is given back.

        Raises:
            ValueError: a place that is not one: the worker is not to be believed.
        """
        arrays = tuple(self._read(place) for place in places)
        if os.fstat(self.fd).st_size > self._keep:
            os.ftruncate(self.fd, self._keep)
        return arrays

    def _read(self, place: ArrayPlace) -> npt.NDArray[Any]:
        size = os.fstat(self.fd).st_size
        if (
            place.dtype not in PLAIN_TYPES
            or any(side < 0 for side in place.shape)
            or place.offset < PAGE
            or place.offset + place.nbytes > size
        ):
            raise ValueError(f"{place} does not lie in the {size} bytes of its slot")
        array = np.empty(place.shape, place.dtype)
        view = array.reshape(-1).view(np.uint8).data
        done = 0
        while done < array.nbytes:
            got = os.preadv(self.fd, [view[done:]], place.offset + done)
            if got == 0:
                raise ValueError(f"{place} ends before its slot does")
            done += got
        return array

    def close(self) -> None:
        """Give the memory back."""
        os.close(self.fd)


class SlotWriter:
    """The worker's side: arrays one after the other, the file growing as they come."""

    def __init__(self, fd: int, *, max_bytes: int) -> None:
        self._fd = fd
        self._max_bytes = max_bytes
        self._header = np.frombuffer(mmap.mmap(fd, PAGE), np.float64)
        self.places: list[ArrayPlace] = []

    def beat(self) -> None:
        """Record a heartbeat."""
        self._header[0] = time.monotonic()

    def clear(self) -> None:
        """Start the next job's arrays at the beginning of the slot."""
        self.places = []

    def allocate(self, shape: tuple[int, ...], dtype: npt.DTypeLike = np.uint8) -> npt.NDArray[Any]:
        """An array in the slot, zeroed or holding an older job's bytes.

        Raises:
            MemoryError: the job's arrays would be larger than a result may be.
        """
        end = PAGE
        if self.places:
            end = self.places[-1].offset + self.places[-1].nbytes
        place = ArrayPlace(-(-end // PAGE) * PAGE, tuple(shape), np.dtype(dtype).name)
        needed = place.offset + max(place.nbytes, 1)
        if needed > self._max_bytes:
            raise MemoryError(
                f"a result of {needed} bytes is over the limit of {self._max_bytes}; choose fewer "
                "or smaller frames"
            )
        if os.fstat(self._fd).st_size < needed:
            os.ftruncate(self._fd, needed)
        self.places.append(place)
        mapped = mmap.mmap(self._fd, max(place.nbytes, 1), offset=place.offset)
        count = math.prod(shape)
        return np.frombuffer(mapped, place.dtype, count=count).reshape(shape)
