"""Frame shards as Arrow IPC files: memory-mapped, one record batch a clip, one row a frame.

Columns: ``clip_key`` string, ``frame_index`` int64, ``pts_seconds`` float64, and either ``frame``
(fixed_shape_tensor uint8 [S, S, 3]) or ``jpeg`` (binary). Any Arrow reader opens them.
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from reelvec.storage.errors import IntegrityError
from reelvec.storage.frames import jpeg
from reelvec.storage.frames.batches import batches_of, keys_of
from reelvec.storage.frames.contract import (
    PIECE_BYTES,
    Payload,
    TooLongError,
    check_picks,
    let_go,
    runs_of,
)
from reelvec.storage.frames.squares import SquareShardWriter

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

__all__ = ["ArrowShardReader", "ArrowShardWriter"]

_VERSION = "1"
_BINARY_BYTES = 2**31 - 1
_BUFFER = 1 << 23  # bytes; large writes get large pages in the cache, which map faster later


def _schema(payload: str, size: int) -> pa.Schema:
    if payload == "raw":
        column = pa.field("frame", pa.fixed_shape_tensor(pa.uint8(), [size, size, 3]), False)
    else:
        column = pa.field("jpeg", pa.binary(), False)
    return pa.schema(
        [
            pa.field("clip_key", pa.string(), False),
            pa.field("frame_index", pa.int64(), False),
            pa.field("pts_seconds", pa.float64(), False),
            column,
        ],
        metadata={"reelvec.frames": _VERSION, "payload": payload, "size": str(size)}
        | ({} if payload == "raw" else {"quality": f"{jpeg.QUALITY} {jpeg.SUBSAMPLING}"}),
    )


class _Pieces(io.BufferedWriter):
    """A file that takes the frames of a long clip piece by piece, and lets go of each."""

    let_go_of: np.ndarray | None = None

    def write(self, data: ReadableBuffer) -> int:
        view = memoryview(data)
        for start in range(0, len(view), PIECE_BYTES):
            super().write(view[start : start + PIECE_BYTES])
            if self.let_go_of is not None:
                let_go(self.let_go_of)
        return len(view)


class ArrowShardWriter(SquareShardWriter):
    """Writes record batches as clips come; never holds more than one of them."""

    def __init__(self, path: Path, *, payload: str, size: int) -> None:
        super().__init__(payload=payload, size=size)
        self._schema = _schema(payload, size)
        self._file = _Pieces(io.FileIO(path, "wb"), _BUFFER)
        # a clip of more than 2 GiB is one batch all the same, as any Arrow C++ reads it
        options = pa.ipc.IpcWriteOptions(allow_64bit=True)
        self._writer = pa.ipc.new_file(self._file, self._schema, options=options)

    def _write(
        self, key: str, stored: np.ndarray | list[bytes], times: np.ndarray, indices: np.ndarray
    ) -> None:
        if isinstance(stored, np.ndarray):
            flat = pa.array(np.ascontiguousarray(stored).reshape(-1))
            kind = self._schema.field("frame").type
            rows = pa.FixedSizeListArray.from_arrays(flat, self._size * self._size * 3)
            column = pa.ExtensionArray.from_storage(kind, rows.cast(kind.storage_type))
        else:
            column = self._binary(key, stored)
        columns = [
            pa.array([key] * len(stored), pa.string()),
            pa.array(np.ascontiguousarray(indices)),
            pa.array(np.ascontiguousarray(times)),
            column,
        ]
        self._file.let_go_of = stored if isinstance(stored, np.ndarray) else None
        self._writer.write_batch(pa.record_batch(columns, schema=self._schema))

    def _binary(self, key: str, stored: list[bytes]) -> pa.Array:
        if sum(map(len, stored)) > _BINARY_BYTES:
            raise TooLongError(
                f"clip {key}: its {len(stored):,} JPEG frames are over the 2 GiB that an Arrow"
                " column takes; extract.sampling.max_frames keeps fewer, extract.payload=raw and"
                " extract.format=hdf5 have no such limit"
            )
        return pa.array(stored, pa.binary())

    def close(self) -> None:
        self._writer.close()
        self._file.close()


class ArrowShardReader:
    """Maps the file and keeps one view a clip, so that reading is a copy and nothing else."""

    native = False

    def __init__(self, source: Path | pa.RecordBatch) -> None:
        """Of a file, or of the batch of one clip."""
        try:
            schema, batches = batches_of(source)
            described: Mapping[bytes, bytes] = schema.metadata or {}
            self.payload: Payload = "raw" if described[b"payload"] == b"raw" else "jpeg"
            self.size = int(described[b"size"])
        except (pa.ArrowInvalid, KeyError) as error:
            raise IntegrityError(
                f"{source} is no Arrow frame shard ({error}); it is damaged or not ours",
                path=str(source),
            ) from error
        self.keys = keys_of(batches)
        self._counts = [batch.num_rows for batch in batches]
        self.lengths = np.array(self._counts, np.int64)
        self._batches = batches
        self._views = [self._view(batch) for batch in batches] if self.payload == "raw" else []

    def _view(self, batch: pa.RecordBatch) -> np.ndarray:
        flat = batch.column("frame").storage.flatten().to_numpy(zero_copy_only=True)
        view: np.ndarray = flat.reshape(batch.num_rows, self.size, self.size, 3)
        return view

    def shape(self, i: int) -> tuple[int, int]:
        del i
        return self.size, self.size

    def source(self, i: int) -> None:
        del i  # shards of one form hold frames alone

    def frames(self, i: int) -> np.ndarray:
        if self.payload == "raw":
            return self._views[i]
        count = int(self.lengths[i])
        out = np.empty((count, self.size, self.size, 3), np.uint8)
        self.read_into(i, np.arange(count), out)
        out.flags.writeable = False
        return out

    def pts_seconds(self, i: int) -> np.ndarray:
        times: np.ndarray = self._batches[i].column("pts_seconds").to_numpy()
        return times

    def frame_index(self, i: int) -> np.ndarray:
        indices: np.ndarray = self._batches[i].column("frame_index").to_numpy()
        return indices

    def read_into(self, i: int, picks: np.ndarray, out: np.ndarray) -> None:
        chosen = check_picks(picks, key=self.keys[i], count=self._counts[i])
        if self.payload == "raw":
            view = self._views[i]
            for first, stop, slot in runs_of(chosen):
                out[slot : slot + stop - first] = view[first:stop]
            return
        column = self._batches[i].column("jpeg")
        for slot, pick in enumerate(chosen):
            jpeg.decode_into(memoryview(column[pick].as_buffer()).cast("B"), out[slot])

    def stored(self, i: int) -> np.ndarray | list[bytes]:
        if self.payload == "raw":
            return self._views[i]
        encoded: list[bytes] = self._batches[i].column("jpeg").to_pylist()
        return encoded

    def close(self) -> None:
        self._views = []
        self._batches = []
