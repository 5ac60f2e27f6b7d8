"""A ledger's columns as they stand in a receipt: plain JSON, or packed where they are long.

Ledgers are most of what a store holds beside its vectors: keys and hashes, a row each. Packed, a
hash takes its sixteen bytes and not thirty-two digits in quotes. Short ones stay readable, and
so does every receipt that was written before there was packing.
"""

from __future__ import annotations

import base64
import json
from functools import cache
from typing import Any

import pyarrow as pa

from reelvec.storage.layout import canonical

__all__ = ["pack", "unpack"]

Columns = dict[str, list[Any]]

PACKED_FROM = 64
"""Rows from which on columns are packed."""
_CODEC, _PACKED, _SIZE = "zstd", "packed", "size"


def pack(columns: Columns, *, key: str = "key") -> dict[str, Any]:
    """What is written: the columns themselves, or ``{"packed": text, "size": bytes}``.

    Args:
        columns: field -> a value a row.
        key: a field that is always among them.
    """
    if len(columns[key]) < PACKED_FROM:
        return dict(columns)
    plain = canonical(columns)
    packed = pa.Codec(_CODEC, compression_level=9).compress(plain, asbytes=True)
    return {_PACKED: base64.b64encode(packed).decode(), _SIZE: len(plain)}


def unpack(written: dict[str, Any]) -> Columns:
    """The columns that `pack` was given."""
    if _PACKED not in written:
        return written
    packed = base64.b64decode(written[_PACKED])
    plain = _unpacker().decompress(packed, written[_SIZE], asbytes=True)
    columns: Columns = json.loads(plain)
    return columns


@cache
def _unpacker() -> pa.Codec:
    return pa.Codec(_CODEC)
