"""Frames in their own proportions as Arrow IPC files: one record batch a clip, one row a frame.

Columns: ``clip_key`` string, ``frame_index`` int64, ``pts_seconds`` float64, ``height`` and
``width`` int32 of the frame, ``source_height``, ``source_width`` int32, ``source_frames`` int64 and
``source_fps`` float64 of the file, and either ``frame`` (large_binary, RGB uint8 [H, W, 3]) or
``jpeg`` (binary).
"""

from __future__ import annotations

from pathlib import Path
from typing import Self

import numpy as np
import pyarrow as pa

from reelvec.storage.errors import IntegrityError, StoreError
from reelvec.storage.frames import jpeg
from reelvec.storage.frames.batches import batches_of, keys_of
from reelvec.storage.frames.contract import (
    ClipFrames,
    FrameShardReader,
    Payload,
    Source,
    check_clip,
    check_key,
    check_picks,
    check_source,
    jpegs_of,
)
from reelvec.storage.places.failures import explained

__all__ = ["NativeShardReader", "NativeShardWriter", "is_native"]

_VERSION = "1"
_FACTS = {
    "height": pa.int32(),
    "width": pa.int32(),
    "source_height": pa.int32(),
    "source_width": pa.int32(),
    "source_frames": pa.int64(),
    "source_fps": pa.float64(),
}
"""Of a clip, the same in each of its rows."""


def is_native(path: Path) -> bool:
    """Whether a file is an Arrow shard of native frames; one that is damaged is not."""
    try:
        with explained("read", path=path), pa.ipc.open_file(pa.memory_map(str(path), "r")) as file:
            return (file.schema.metadata or {}).get(b"fit") == b"native"
    except pa.ArrowInvalid:
        return False


def _schema(payload: str, size: int) -> pa.Schema:
    frame = pa.field("frame", pa.large_binary(), False)
    return pa.schema(
        [
            pa.field("clip_key", pa.string(), False),
            pa.field("frame_index", pa.int64(), False),
            pa.field("pts_seconds", pa.float64(), False),
            *(pa.field(name, kind, False) for name, kind in _FACTS.items()),
            frame if payload == "raw" else pa.field("jpeg", pa.large_binary(), False),
        ],
        metadata={
            "reelvec.frames": _VERSION,
            "fit": "native",
            "payload": payload,
            "size": str(size),
        }
        | ({} if payload == "raw" else {"quality": f"{jpeg.QUALITY} {jpeg.SUBSAMPLING}"}),
    )


class NativeShardWriter:
    """Writes record batches as clips come; never holds more than one of them."""

    def __init__(self, path: Path, *, payload: str, size: int) -> None:
        self._schema = _schema(payload, size)
        self._payload = payload
        self._size = size
        self._keys: set[str] = set()
        options = pa.ipc.IpcWriteOptions(allow_64bit=True)
        self._writer = pa.ipc.new_file(str(path), self._schema, options=options)

    def add(self, clip: ClipFrames) -> None:
        check_clip(clip, size=self._size, native=True)
        if clip.source is None:
            raise StoreError(f"clip {clip.clip_key}: native frames need what they were made from")
        stored = clip.frames if self._payload == "raw" else list(jpegs_of(clip.frames))
        shape = (int(clip.frames.shape[1]), int(clip.frames.shape[2]))
        times, indices = clip.pts_seconds, clip.frame_index
        self._write(clip.clip_key, stored, (times, indices), shape, clip.source)

    def copy(self, source: FrameShardReader, i: int) -> None:
        check_source(source, size=self._size, payload=self._payload, native=True)
        made_from = source.source(i)
        if made_from is None:
            raise StoreError(f"clip {source.keys[i]}: native frames need what they were made from")
        order = source.pts_seconds(i), source.frame_index(i)
        self._write(source.keys[i], source.stored(i), order, source.shape(i), made_from)

    def _write(
        self,
        key: str,
        stored: np.ndarray | list[bytes],
        order: tuple[np.ndarray, np.ndarray],
        shape: tuple[int, int],
        source: Source,
    ) -> None:
        count = len(stored)
        check_key(key, count=count, taken=self._keys)
        facts = (*shape, source.height, source.width, source.frames, source.fps)
        columns = [
            pa.array([key] * count, pa.string()),
            pa.array(np.ascontiguousarray(order[1])),
            pa.array(np.ascontiguousarray(order[0])),
            *(
                pa.array(np.full(count, fact), kind)
                for fact, kind in zip(facts, _FACTS.values(), strict=True)
            ),
            _binary(stored),
        ]
        self._writer.write_batch(pa.record_batch(columns, schema=self._schema))

    def close(self) -> None:
        self._writer.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _binary(stored: np.ndarray | list[bytes]) -> pa.Array:
    """One value a frame; raw ones without a copy."""
    if not isinstance(stored, np.ndarray):
        return pa.array(stored, pa.large_binary())
    pixels = np.ascontiguousarray(stored)
    step = pixels[0].nbytes
    ends = np.arange(0, (len(pixels) + 1) * step, step, dtype=np.int64)
    buffers = [None, pa.py_buffer(ends), pa.py_buffer(pixels)]
    return pa.LargeBinaryArray.from_buffers(pa.large_binary(), len(pixels), buffers)


class NativeShardReader:
    """Maps the file; raw frames are views of it."""

    native = True

    def __init__(self, source: Path | pa.RecordBatch) -> None:
        """Of a file, or of the batch of one clip."""
        try:
            schema, self._batches = batches_of(source)
            described = schema.metadata
            self.payload: Payload = "raw" if described[b"payload"] == b"raw" else "jpeg"
            self.size = int(described[b"size"])
        except (pa.ArrowInvalid, KeyError) as error:
            raise IntegrityError(
                f"{source} is no Arrow shard of native frames ({error}); it is damaged or not ours",
                path=str(source),
            ) from error
        self.keys = keys_of(self._batches)
        self.lengths = np.array([batch.num_rows for batch in self._batches], np.int64)

    def _fact(self, i: int, name: str) -> int | float:
        value: int | float = self._batches[i].column(name)[0].as_py()
        return value

    def shape(self, i: int) -> tuple[int, int]:
        return int(self._fact(i, "height")), int(self._fact(i, "width"))

    def source(self, i: int) -> Source:
        height, width = self._fact(i, "source_height"), self._fact(i, "source_width")
        frames, fps = self._fact(i, "source_frames"), self._fact(i, "source_fps")
        return Source(int(height), int(width), int(frames), float(fps))

    def frames(self, i: int) -> np.ndarray:
        if self.payload == "raw":
            return self._view(i)
        count = int(self.lengths[i])
        out = np.empty((count, *self.shape(i), 3), np.uint8)
        self.read_into(i, np.arange(count), out)
        out.flags.writeable = False
        return out

    def _view(self, i: int) -> np.ndarray:
        column = self._batches[i].column("frame")
        pixels = np.frombuffer(column.buffers()[2], np.uint8)
        return pixels.reshape(len(column), *self.shape(i), 3)

    def pts_seconds(self, i: int) -> np.ndarray:
        times: np.ndarray = self._batches[i].column("pts_seconds").to_numpy()
        return times

    def frame_index(self, i: int) -> np.ndarray:
        indices: np.ndarray = self._batches[i].column("frame_index").to_numpy()
        return indices

    def read_into(self, i: int, picks: np.ndarray, out: np.ndarray) -> None:
        chosen = check_picks(picks, key=self.keys[i], count=int(self.lengths[i]))
        if self.payload == "raw":
            np.take(self._view(i), chosen, axis=0, out=out)
            return
        column = self._batches[i].column("jpeg")
        for slot, pick in enumerate(chosen):
            jpeg.decode_into(memoryview(column[pick].as_buffer()).cast("B"), out[slot])

    def stored(self, i: int) -> np.ndarray | list[bytes]:
        if self.payload == "raw":
            return self._view(i)
        encoded: list[bytes] = self._batches[i].column("jpeg").to_pylist()
        return encoded

    def close(self) -> None:
        self._batches = []
