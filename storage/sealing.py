"""Checksums, and small JSON files that carry their own.

A sealed file is readable JSON, ``{"body": …, "xxh3_128": "…"}``, whose checksum covers the exact
bytes of the body and whose frame is fixed, so that any flipped bit is seen.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import xxhash

from reelvec.storage.errors import IntegrityError
from reelvec.storage.layout import canonical

__all__ = ["checksum_of_bytes", "checksum_of_file", "seal", "unseal"]

_HEAD = b'{"body":'
_MIDDLE = b',\n"xxh3_128":"'
_TAIL = b'"}\n'
_DIGITS = 32
_BLOCK = 1 << 22


def checksum_of_bytes(data: bytes) -> str:
    """xxh3-128, 32 hex digits."""
    return xxhash.xxh3_128_hexdigest(data)


def checksum_of_file(path: Path) -> str:
    """xxh3-128 of a file's bytes, read in blocks of 4 MiB at most."""
    digest = xxhash.xxh3_128()
    with path.open("rb", buffering=0) as stream:
        size = os.fstat(stream.fileno()).st_size
        buffer = bytearray(max(1, min(size, _BLOCK)))  # a large one costs more than a small file
        view = memoryview(buffer)
        while count := stream.readinto(buffer):
            digest.update(view[:count])
    return digest.hexdigest()


def seal(body: Mapping[str, Any], *, indent: int | None = None) -> bytes:
    """The sealed bytes of `body`; `indent` makes the body pleasant to read."""
    data = canonical(body)
    if indent is not None:
        data = json.dumps(json.loads(data), indent=indent, ensure_ascii=True).encode()
    return b"".join((_HEAD, data, _MIDDLE, checksum_of_bytes(data).encode(), _TAIL))


def unseal(data: bytes, *, path: str) -> dict[str, Any]:
    """The body of sealed bytes.

    Raises:
        IntegrityError: the bytes are not what was sealed.
    """
    end = len(data) - len(_TAIL) - _DIGITS - len(_MIDDLE)
    body = data[len(_HEAD) : max(end, 0)]
    if b"".join((_HEAD, body, _MIDDLE, checksum_of_bytes(body).encode(), _TAIL)) != data:
        raise IntegrityError(
            f"{path} is damaged ({len(data)} bytes that do not match the checksum they carry); "
            "`reelvec verify` names what must be redone",
            path=path,
        )
    parsed: dict[str, Any] = json.loads(body)
    return parsed
