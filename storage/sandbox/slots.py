"""Result memory a sandbox owns and its worker fills: an anonymous file, so there is none to leak.

Layout: a header page with the worker's last sign of life, then arrays at page boundaries. The
parent reads by file offset, not through a mapping: a worker gone mad can shrink the file, and a
mapping would then take the parent down with SIGBUS.
"""

from __future__ import annotations

import math
import mmap
import os
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["ArrayPlace", "Slot", "SlotWriter"]

PAGE = mmap.PAGESIZE
BEATS_A_RELEASE = 64
FEWER = "extract.sampling.max_frames keeps fewer frames, extract.size smaller ones"
PLAIN_TYPES = ("uint8", "int32", "int64", "float32", "float64", "bool")


@dataclass(frozen=True)
class ArrayPlace:
    """Where an array lies in a slot."""

    offset: int
    shape: tuple[int, ...]
    dtype: str
    in_file: bool = False
    """In the file on disk, not in memory."""

    @property
    def nbytes(self) -> int:
        """Bytes it takes."""
        return math.prod(self.shape) * np.dtype(self.dtype).itemsize


class Slot:
    """The parent's side.

    Args:
        keep_bytes: memory that stays between two jobs.
        scratch: folder of the file that takes what is too large for memory; None: there is none.
    """

    def __init__(self, *, keep_bytes: int, scratch: Path | None = None) -> None:
        self.fd = os.memfd_create("reelvec-slot", os.MFD_CLOEXEC)
        self._keep = PAGE + keep_bytes
        os.ftruncate(self.fd, PAGE)
        self._file = tempfile.TemporaryFile(dir=scratch, buffering=0) if scratch else None  # noqa: SIM115

    @property
    def fds(self) -> tuple[int, ...]:
        """What the writer is given: memory, and the file where there is one."""
        return (self.fd,) if self._file is None else (self.fd, self._file.fileno())

    def last_sign_of_life(self) -> float:
        """time.monotonic() of the worker's last heartbeat; 0: none yet."""
        raw = os.pread(self.fd, 8, 0)
        return float(np.frombuffer(raw, np.float64)[0]) if len(raw) == 8 else 0.0

    def take(self, places: Sequence[ArrayPlace]) -> tuple[npt.NDArray[Any], ...]:
        """The arrays at `places`, the caller's own; memory beyond what is kept is given back.

        Those in memory are copied. Those in the file are mapped from it, read-only: the worker
        must have ended, and the file goes when the last of them does.

        Raises:
            ValueError: a place that is not one: the worker is not to be believed.
        """
        arrays = tuple(self._map(p) if p.in_file else self._read(p) for p in places)
        if os.fstat(self.fd).st_size > self._keep:
            os.ftruncate(self.fd, self._keep)
        return arrays

    def _read(self, place: ArrayPlace) -> npt.NDArray[Any]:
        _check_place(place, size=os.fstat(self.fd).st_size, start=PAGE)
        array = np.empty(place.shape, place.dtype)
        view = array.reshape(-1).view(np.uint8).data
        done = 0
        while done < array.nbytes:
            got = os.preadv(self.fd, [view[done:]], place.offset + done)
            if got == 0:
                raise ValueError(f"{place} ends before its slot does")
            done += got
        return array

    def _map(self, place: ArrayPlace) -> npt.NDArray[Any]:
        if self._file is None:
            raise ValueError(f"{place} lies in a file that is not there")
        file = self._file.fileno()
        _check_place(place, size=os.fstat(file).st_size, start=0)
        mapped = mmap.mmap(file, max(place.nbytes, 1), access=mmap.ACCESS_READ, offset=place.offset)
        return _array_in(mapped, place)

    def close(self) -> None:
        """Give memory and file back; arrays that are mapped stay."""
        os.close(self.fd)
        if self._file is not None:
            self._file.close()


def _check_place(place: ArrayPlace, *, size: int, start: int) -> None:
    if (
        place.dtype not in PLAIN_TYPES
        or any(side < 0 for side in place.shape)
        or place.offset < start
        or place.offset % mmap.ALLOCATIONGRANULARITY
        or place.offset + place.nbytes > size
    ):
        raise ValueError(f"{place} does not lie in the {size} bytes of its slot")


def _array_in(mapped: mmap.mmap, place: ArrayPlace) -> npt.NDArray[Any]:
    count = math.prod(place.shape)
    return np.frombuffer(mapped, place.dtype, count=count).reshape(place.shape)


class SlotWriter:
    """The worker's side: arrays one after the other, memory or the file growing as they come.

    Args:
        fds: memory, and a file where there is one, as `Slot.fds`.
        max_bytes: of the arrays in memory.
    """

    def __init__(self, fds: Sequence[int], *, max_bytes: int) -> None:
        self._fd, self._file = fds[0], fds[1] if len(fds) > 1 else None
        self._max_bytes = max_bytes
        self._header = np.frombuffer(mmap.mmap(self._fd, PAGE), np.float64)
        self._beats = 0
        self._mapped: list[mmap.mmap] = []
        self.places: list[ArrayPlace] = []

    def beat(self) -> None:
        """Record a heartbeat; now and then let go of what the file has taken."""
        self._header[0] = time.monotonic()
        self._beats += 1
        if self._beats % BEATS_A_RELEASE == 0:
            for mapped in self._mapped:
                mapped.madvise(mmap.MADV_DONTNEED)  # of this process alone: the file has it

    def clear(self) -> None:
        """Start the next job's arrays at the beginning of the slot."""
        self.places = []
        self._mapped = []

    def allocate(self, shape: tuple[int, ...], dtype: npt.DTypeLike = np.uint8) -> npt.NDArray[Any]:
        """An array in the slot, zeroed or holding an older job's bytes.

        Raises:
            MemoryError: the job's arrays would be larger than a result may be, or than the disk.
        """
        place = self._next_place(shape, dtype, in_file=False)
        needed = place.offset + max(place.nbytes, 1)
        if needed <= self._max_bytes:
            if os.fstat(self._fd).st_size < needed:
                os.ftruncate(self._fd, needed)
            mapped = mmap.mmap(self._fd, max(place.nbytes, 1), offset=place.offset)
        elif self._file is not None:
            place = self._next_place(shape, dtype, in_file=True)
            mapped = self._room_in_file(place)
        else:
            raise MemoryError(
                f"a result of {needed} bytes is over the limit of {self._max_bytes}; {FEWER}"
            )
        self.places.append(place)
        return _array_in(mapped, place)

    def _next_place(
        self, shape: tuple[int, ...], dtype: npt.DTypeLike, *, in_file: bool
    ) -> ArrayPlace:
        ends = [place.offset + place.nbytes for place in self.places if place.in_file is in_file]
        end = max(ends, default=0 if in_file else PAGE)
        return ArrayPlace(-(-end // PAGE) * PAGE, tuple(shape), np.dtype(dtype).name, in_file)

    def _room_in_file(self, place: ArrayPlace) -> mmap.mmap:
        """Space is taken before it is written to: a full disk kills who writes to a mapping."""
        file = self._fd if self._file is None else self._file
        try:
            os.posix_fallocate(file, place.offset, max(place.nbytes, 1))
        except OSError as error:
            raise MemoryError(
                f"no room for the {place.nbytes} bytes of its frames in the store's .scratch "
                f"({error.strerror}); free space there, or {FEWER}"
            ) from error
        mapped = mmap.mmap(file, max(place.nbytes, 1), offset=place.offset)
        self._mapped.append(mapped)
        return mapped
