"""Frame shards as HDF5: one file a shard, one writer a file, all clips along the first axis.

Datasets: ``clip_key`` [V] fixed-length bytes, ``offsets`` int64 [V + 1] (clip v is rows
offsets[v] to offsets[v + 1]), ``frame_index`` int64 [N], ``pts_seconds`` float64 [N], and either
``frames`` uint8 [N, S, S, 3] in chunks of one frame, or ``jpeg`` uint8 [B] with ``jpeg_offsets``
int64 [N + 1]. Nothing in the file depends on the clock, so the same clips give the same bytes.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from reelvec.storage.errors import IntegrityError
from reelvec.storage.frames import jpeg
from reelvec.storage.frames.contract import (
    PIECE_BYTES,
    Payload,
    check_picks,
    let_go,
    runs_of,
)
from reelvec.storage.frames.squares import SquareShardWriter
from reelvec.storage.places.failures import WRITE_FAILURES, explained

__all__ = ["Hdf5ShardReader", "Hdf5ShardWriter"]

_VERSION = 1
_LIBVER = ("v108", "v108")  # fixed, so that the library's version does not decide the bytes
_JPEG_CHUNK = 1 << 18  # bytes


class Hdf5ShardWriter(SquareShardWriter):
    """Appends clips to a growing dataset; the small columns are written at close."""

    def __init__(self, path: Path, *, payload: str, size: int) -> None:
        super().__init__(payload=payload, size=size)
        self._clips: list[tuple[str, np.ndarray, np.ndarray]] = []
        self._ends = [0]  # of each JPEG, bytes
        self._rows = 0
        self._file = h5py.File(path, "x", libver=_LIBVER, locking=False)
        self._descriptor = self._file.id.get_vfd_handle()
        self._file.attrs.update({"reelvec.frames": _VERSION, "payload": payload, "size": size})
        if payload == "raw":
            self._data = self._growing("frames", (size, size, 3), chunk=1)
        else:
            self._file.attrs["quality"] = f"{jpeg.QUALITY} {jpeg.SUBSAMPLING}"
            self._data = self._growing("jpeg", (), chunk=_JPEG_CHUNK)

    def _growing(self, name: str, row: tuple[int, ...], *, chunk: int) -> Any:
        return self._file.create_dataset(
            name,
            shape=(0, *row),
            maxshape=(None, *row),
            chunks=(chunk, *row),
            dtype=np.uint8,
            fillvalue=0,
            fill_time="alloc",  # the rest of a last chunk is zeros, not what memory held
            track_times=False,
        )

    def _write(
        self, key: str, stored: np.ndarray | list[bytes], times: np.ndarray, indices: np.ndarray
    ) -> None:
        with self._abandoned_where_it_fails():
            if isinstance(stored, np.ndarray):
                self._append_pictures(np.ascontiguousarray(stored))
            else:
                self._append(np.frombuffer(b"".join(stored), np.uint8))
        if not isinstance(stored, np.ndarray):
            self._ends.extend(self._ends[-1] + np.cumsum([len(data) for data in stored]))
        self._clips.append((key, times.copy(), indices.copy()))

    def _append_pictures(self, pictures: np.ndarray) -> None:
        start, at_once = self._data.shape[0], max(1, PIECE_BYTES // pictures[0].nbytes)
        self._data.resize(start + len(pictures), axis=0)
        for first in range(0, len(pictures), at_once):
            piece = pictures[first : first + at_once]
            self._data[start + first : start + first + len(piece)] = piece
            let_go(pictures)

    def _append(self, rows: np.ndarray) -> None:
        start = self._data.shape[0]
        self._data.resize(start + len(rows), axis=0)
        self._data[start:] = rows

    def close(self) -> None:
        if not self._file:
            return
        lengths = [len(times) for _, times, _ in self._clips]
        keys = [key.encode() for key, _, _ in self._clips]
        columns = {
            "clip_key": np.array(keys, f"S{max(map(len, keys), default=1)}"),
            "offsets": np.cumsum([0, *lengths], dtype=np.int64),
            "frame_index": np.concatenate([np.empty(0, np.int64), *(c[2] for c in self._clips)]),
            "pts_seconds": np.concatenate([np.empty(0), *(c[1] for c in self._clips)]),
        }
        if self._payload == "jpeg":
            columns["jpeg_offsets"] = np.array(self._ends, np.int64)
        with self._abandoned_where_it_fails():
            for name, column in columns.items():
                self._file.create_dataset(name, data=column, track_times=False)
            self._file.close()

    @contextmanager
    def _abandoned_where_it_fails(self) -> Iterator[None]:
        """Closes the file where the disk takes no more; what the library still holds goes nowhere.

        It would try to write that when the process ends, and crash there.
        """
        try:
            yield
        except OSError:
            nowhere = os.open(os.devnull, os.O_RDWR)
            os.dup2(nowhere, self._descriptor, inheritable=False)
            os.close(nowhere)
            with suppress(OSError, RuntimeError):
                self._file.close()
            raise


class Hdf5ShardReader:
    """Reads rows straight into the caller's array.

    HDF5 handles must not cross a fork: in another process than the one that opened it, the file
    is opened again before the first read.
    """

    native = False

    def __init__(self, path: Path) -> None:
        self._path = path
        self._open()
        with _readable(path), _ours(path):
            self.payload: Payload = "raw" if self._file.attrs["payload"] == "raw" else "jpeg"
            self.size = int(self._file.attrs["size"])
            self.keys = tuple(key.decode() for key in self._file["clip_key"][:])
            self._offsets = self._file["offsets"][:]
            jpegs = "jpeg_offsets" if self.payload == "jpeg" else "offsets"
            self._jpeg_offsets = self._file[jpegs][:]
        self.lengths = np.diff(self._offsets)

    def _open(self) -> None:
        with _readable(self._path):
            self._file = h5py.File(self._path, "r", locking=False)
        self._process = os.getpid()
        name = "frames" if "frames" in self._file else "jpeg"
        self._data = self._file[name]

    def _dataset(self) -> Any:
        if os.getpid() != self._process:
            self._open()
        return self._data

    def _column(self, name: str, i: int) -> np.ndarray:
        self._dataset()
        with _readable(self._path):
            values: np.ndarray = self._file[name][self._offsets[i] : self._offsets[i + 1]]
        return values

    def shape(self, i: int) -> tuple[int, int]:
        del i
        return self.size, self.size

    def source(self, i: int) -> None:
        del i  # shards of one form hold frames alone

    def frames(self, i: int) -> np.ndarray:
        count = int(self.lengths[i])
        out = np.empty((count, self.size, self.size, 3), np.uint8)
        self.read_into(i, np.arange(count), out)
        out.flags.writeable = False
        return out

    def pts_seconds(self, i: int) -> np.ndarray:
        return self._column("pts_seconds", i)

    def frame_index(self, i: int) -> np.ndarray:
        return self._column("frame_index", i)

    def read_into(self, i: int, picks: np.ndarray, out: np.ndarray) -> None:
        chosen = check_picks(picks, key=self.keys[i], count=int(self.lengths[i]))
        data = self._dataset()
        base = int(self._offsets[i])
        if self.payload == "jpeg":
            for slot, pick in enumerate(chosen):
                jpeg.decode_into(self._encoded(base + pick), out[slot])
            return
        for first, stop, slot in runs_of(chosen):
            rows, slots = np.s_[base + first : base + stop], np.s_[slot : slot + stop - first]
            with _readable(self._path):
                data.read_direct(out, rows, slots)

    def stored(self, i: int) -> np.ndarray | list[bytes]:
        if self.payload == "raw":
            return self.frames(i)
        return [self._encoded(row) for row in range(self._offsets[i], self._offsets[i + 1])]

    def _encoded(self, row: int) -> bytes:
        start, stop = self._jpeg_offsets[row : row + 2]
        with _readable(self._path):
            data: bytes = self._dataset()[start:stop].tobytes()
        return data

    def close(self) -> None:
        if os.getpid() == self._process:
            self._file.close()


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    """Tells a place that refuses (StoreError) from bytes that are no HDF5 (IntegrityError)."""
    try:
        yield
    except OSError as error:
        if error.errno in WRITE_FAILURES:
            with explained("read", path=path):
                raise
        raise IntegrityError(
            f"{path} cannot be read as HDF5 ({error}); it is damaged or not ours", path=str(path)
        ) from error


@contextmanager
def _ours(path: Path) -> Iterator[None]:
    try:
        yield
    except KeyError as error:
        raise IntegrityError(
            f"{path} is no HDF5 frame shard ({error}); it is damaged or not ours", path=str(path)
        ) from error
