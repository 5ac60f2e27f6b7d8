"""The record batches of an Arrow file: all of them mapped, or where each lies, to read one."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa

from reelvec.storage.errors import IntegrityError
from reelvec.storage.places.failures import explained

__all__ = ["TAIL_BYTES", "Block", "batch_of", "batches_of", "blocks_of", "keys_of"]

TAIL_BYTES = 1 << 16
"""What is read of an end: the places of more than two thousand batches."""

_MAGIC = b"ARROW1"
_BATCHES_FIELD = 3  # of the table Footer in Arrow's File.fbs
_BLOCK = struct.Struct("<qi4xq")  # its struct Block: offset, metaDataLength, bodyLength


class Block(NamedTuple):
    """Where a record batch lies in its file: bytes [start, stop)."""

    start: int
    stop: int


def batches_of(source: Path | pa.RecordBatch) -> tuple[pa.Schema, list[pa.RecordBatch]]:
    """Schema and batches of a file, mapped; or of one batch.

    Raises:
        pyarrow.ArrowInvalid: the file is no Arrow file.
        StoreError: it cannot be read.
    """
    if isinstance(source, pa.RecordBatch):
        return source.schema, [source]
    with explained("read", path=source):
        reader = pa.ipc.open_file(pa.memory_map(str(source), "r"))
    return reader.schema, [reader.get_batch(i) for i in range(reader.num_record_batches)]


def keys_of(batches: Sequence[pa.RecordBatch]) -> tuple[str, ...]:
    """Clip keys of batches of one clip each, in their order."""
    return tuple(batch.column("clip_key")[0].as_py() for batch in batches)


def blocks_of(tail: bytes, *, name: str) -> tuple[list[Block], int]:
    """Places of the batches, from the last bytes of a file, and how many bytes that needs.

    Where it needs more than were given there are no places yet. pyarrow reads this footer too, and
    keeps it to itself. Source: Arrow's columnar format, "IPC File Format", and its File.fbs.

    Raises:
        IntegrityError: it is no end of an Arrow file.
    """
    try:
        if tail[-len(_MAGIC) :] != _MAGIC:
            raise ValueError("it does not end as one")
        (length,) = struct.unpack_from("<i", tail, len(tail) - len(_MAGIC) - 4)
        needed = length + 4 + len(_MAGIC)
        if needed > len(tail):
            return [], needed
        footer = tail[len(tail) - needed : len(tail) - 4 - len(_MAGIC)]
        return _blocks(footer), needed
    except (struct.error, ValueError) as error:
        raise IntegrityError(
            f"{name} is no Arrow file ({error}); it is damaged or not ours", path=name
        ) from error


def _blocks(footer: bytes) -> list[Block]:
    """A table of FlatBuffers: its first word leads to it, its own to where its fields are."""

    def number(form: str, at: int) -> int:
        value: int = struct.unpack_from(form, footer, at)[0]
        return value

    table = number("<I", 0)
    fields = table - number("<i", table)
    at = number("<H", fields + 4 + 2 * _BATCHES_FIELD)
    if not at:
        return []
    vector = table + at + number("<I", table + at)
    found = (
        _BLOCK.unpack_from(footer, vector + 4 + i * _BLOCK.size)
        for i in range(number("<I", vector))
    )
    return [Block(start, start + metadata + body) for start, metadata, body in found]


def batch_of(data: pa.Buffer, *, schema: pa.Schema, name: str) -> pa.RecordBatch:
    """The batch whose block these bytes are, without a copy.

    Raises:
        IntegrityError: they are no batch of that schema.
    """
    try:
        return pa.ipc.read_record_batch(pa.ipc.read_message(data), schema)
    except (pa.ArrowInvalid, OSError) as error:
        raise IntegrityError(
            f"{name} holds no record batch where its end says ({error}); it is damaged", path=name
        ) from error
