"""The formats of frame shards: the one place that knows their names, suffixes and classes."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import pyarrow as pa

from reelvec.storage.errors import StoreError
from reelvec.storage.frames.arrow import ArrowShardReader, ArrowShardWriter
from reelvec.storage.frames.contract import FrameShardReader, FrameShardWriter, Payload
from reelvec.storage.frames.native import NativeShardReader, NativeShardWriter, is_native

__all__ = [
    "NATIVE_FORMAT",
    "SUFFIXES",
    "Format",
    "format_of",
    "open_clip",
    "open_reader",
    "open_writer",
]

NATIVE_FORMAT = "frames in their own proportions (native) are stored as arrow, not as {}"
"""Why another format is refused."""

Format = Literal["arrow", "hdf5"]

SUFFIXES: dict[Format, str] = {"arrow": ".arrow", "hdf5": ".h5"}
"""Format -> suffix of its files, by which they are opened again."""


def open_writer(
    path: Path, *, format: Format, payload: Payload, size: int, native: bool = False
) -> FrameShardWriter:
    """A writer of a new shard at `path`.

    Args:
        path: a local path, usually `PartWriter.path` with the suffix `SUFFIXES[format]`.
        format: arrow or hdf5.
        payload: raw or jpeg.
        size: height and width of every frame, pixels.
        native: each clip has its own height and width, the shorter of them at most `size`.

    Raises:
        StoreError: an unknown format or payload, or one that holds no native frames.
    """
    if payload not in ("raw", "jpeg"):
        raise StoreError(f"no frame payload is called {payload!r}: known are raw and jpeg")
    if native and format != "arrow":
        raise StoreError(NATIVE_FORMAT.format(format))
    if native:
        return NativeShardWriter(path, payload=payload, size=size)
    if format == "arrow":
        return ArrowShardWriter(path, payload=payload, size=size)
    if format == "hdf5":
        from reelvec.storage.frames.hdf5 import Hdf5ShardWriter  # h5py only where it is used

        return Hdf5ShardWriter(path, payload=payload, size=size)
    raise StoreError(f"no shard format is called {format!r}: known are {', '.join(SUFFIXES)}")


def open_reader(path: Path) -> FrameShardReader:
    """A reader of the shard at `path`, by its suffix.

    Raises:
        StoreError: the suffix is none of ours.
        IntegrityError: the file is no shard of that format.
    """
    if format_of(path) == "arrow":
        return NativeShardReader(path) if is_native(path) else ArrowShardReader(path)
    from reelvec.storage.frames.hdf5 import Hdf5ShardReader

    return Hdf5ShardReader(path)


def open_clip(batch: pa.RecordBatch) -> FrameShardReader:
    """A reader of the one clip whose record batch this is, of either kind of Arrow shard.

    Raises:
        IntegrityError: it is of neither.
    """
    native = (batch.schema.metadata or {}).get(b"fit") == b"native"
    return NativeShardReader(batch) if native else ArrowShardReader(batch)


def format_of(path: Path) -> Format:
    """The shard format a file's suffix says.

    Raises:
        StoreError: it is none of ours.
    """
    for format, suffix in SUFFIXES.items():
        if path.suffix == suffix:
            return format
    raise StoreError(
        f"{path} is no frame shard: its suffix must be one of {', '.join(SUFFIXES.values())}",
        path=str(path),
    )
