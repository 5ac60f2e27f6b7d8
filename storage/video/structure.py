"""Whether all the bytes a container promises are there, by the sizes of its outermost boxes.

A header can lie about times and counts; the length of the outermost box against the length of the
file cannot be confused with that, so it tells a truncated file from a boastful header.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from enum import Enum
from pathlib import Path
from typing import BinaryIO

__all__ = ["Completeness", "completeness"]

HEAD_BYTES = 16384
"""Read to tell containers apart; an ASF file's own size lies within."""

TS_PACKET_BYTES = 188
M2TS_PACKET_BYTES = 192
ASF_HEADER = bytes.fromhex("3026b2758e66cf11a6d900aa0062ce6c")
ASF_FILE_PROPERTIES = bytes.fromhex("a1dcab8c47a9cf118ee400c00c205365")
OGG_PAGE = b"OggS\0"
OGG_PAGE_BYTES = 27 + 255 + 255 * 255
"""The longest there is."""
OGG_LAST = 4
"""Flag of a stream's last page."""
MXF_KEY = bytes.fromhex("060e2b34")

MAX_BOXES = 100_000
"""More outermost boxes than any honest file has; then nothing is concluded."""


class Completeness(Enum):
    """Whether the bytes promised are there."""

    COMPLETE = "complete"
    CUT = "cut"
    UNKNOWN = "unknown"


def completeness(path: str | Path) -> Completeness:
    """Compare what a file promises with its length.

    Of MP4, AVI, Matroska, ASF, MPEG-TS, GIF, Ogg and MXF.

    UNKNOWN for other containers, for sizes left open (live recordings) and for nonsense.
    """
    with Path(path).open("rb") as file:
        length = os.fstat(file.fileno()).st_size
        head = file.read(HEAD_BYTES)
        for matches, walk in _WALKS:
            if matches(head):
                file.seek(0)
                return walk(file, length)
    return Completeness.UNKNOWN


def _is_mp4(head: bytes) -> bool:
    return head[4:8] in (b"ftyp", b"styp", b"moov", b"mdat", b"free", b"skip", b"wide", b"moof")


def _is_riff(head: bytes) -> bool:
    return head[:4] == b"RIFF"


def _is_ebml(head: bytes) -> bool:
    return head[:4] == b"\x1a\x45\xdf\xa3"


def _is_ts(head: bytes) -> bool:
    return len(head) > 3 * TS_PACKET_BYTES and set(head[: 3 * TS_PACKET_BYTES : 188]) == {0x47}


def _is_m2ts(head: bytes) -> bool:
    return len(head) > 3 * M2TS_PACKET_BYTES and set(head[4 : 3 * M2TS_PACKET_BYTES : 192]) == {
        0x47
    }


def _is_asf(head: bytes) -> bool:
    return head.startswith(ASF_HEADER)


def _is_gif(head: bytes) -> bool:
    return head[:6] in (b"GIF87a", b"GIF89a")


def _is_ogg(head: bytes) -> bool:
    return head.startswith(OGG_PAGE)


def _is_mxf(head: bytes) -> bool:
    return head.startswith(MXF_KEY)


def _walk_gif(file: BinaryIO, length: int) -> Completeness:
    """Its last byte is a semicolon; some writers pad with zeros after it."""
    file.seek(max(0, length - HEAD_BYTES))
    end = file.read(HEAD_BYTES).rstrip(b"\0")
    return Completeness.COMPLETE if end.endswith(b";") else Completeness.CUT


def _walk_ogg(file: BinaryIO, length: int) -> Completeness:
    """The last page is whole: 27 bytes, the lengths of its segments, the segments."""
    start = max(0, length - OGG_PAGE_BYTES)
    file.seek(start)
    end = file.read(OGG_PAGE_BYTES)
    at = end.rfind(OGG_PAGE)
    if at < 0:
        return Completeness.UNKNOWN
    page = end[at:]
    if len(page) < 27 or len(page) < 27 + page[26]:
        return Completeness.CUT
    promised = 27 + page[26] + sum(page[27 : 27 + page[26]])
    if promised != len(page):
        return Completeness.CUT if promised > len(page) else Completeness.UNKNOWN
    return Completeness.COMPLETE if page[5] & OGG_LAST else Completeness.UNKNOWN


def _walk_mxf(file: BinaryIO, length: int) -> Completeness:
    """Key, length, value, over and over."""
    at = 0
    for _ in range(MAX_BOXES):
        if at == length:
            return Completeness.COMPLETE
        file.seek(at)
        head = file.read(25)
        if not head.startswith(MXF_KEY[: len(head)]):
            return Completeness.UNKNOWN
        if len(head) < 17:
            return Completeness.CUT
        width = head[16] & 0x7F if head[16] & 0x80 else 0
        size = int.from_bytes(head[17 : 17 + width], "big") if width else head[16]
        at += 17 + width + size
        if at > length:
            return Completeness.CUT
    return Completeness.UNKNOWN


def _walk_ts(file: BinaryIO, length: int) -> Completeness:
    """No length is written anywhere, but a cut seldom falls between two packets."""
    del file
    return Completeness.CUT if length % TS_PACKET_BYTES else Completeness.UNKNOWN


def _walk_m2ts(file: BinaryIO, length: int) -> Completeness:
    """As MPEG-TS, each packet after four bytes of clock."""
    del file
    return Completeness.CUT if length % M2TS_PACKET_BYTES else Completeness.UNKNOWN


def _walk_asf(file: BinaryIO, length: int) -> Completeness:
    """The file properties object holds the file's size, unless it was a broadcast."""
    head = file.read(HEAD_BYTES)
    at = head.find(ASF_FILE_PROPERTIES)
    if at < 0 or at + 92 > len(head) or head[at + 88] & 1:
        return Completeness.UNKNOWN
    promised = int.from_bytes(head[at + 40 : at + 48], "little")
    return Completeness.CUT if promised > length else Completeness.COMPLETE


def _walk_mp4(file: BinaryIO, length: int) -> Completeness:
    at = 0
    for _ in range(MAX_BOXES):
        if at == length:
            return Completeness.COMPLETE
        file.seek(at)
        head = file.read(16)
        if len(head) < 8:
            return Completeness.CUT
        size = int.from_bytes(head[:4], "big")
        if size == 1:
            size = int.from_bytes(head[8:16], "big") if len(head) == 16 else length + 1
        elif size == 0:  # to the end of the file, wherever that is
            return Completeness.UNKNOWN
        if size < 8 or not head[4:8].isalnum():
            return Completeness.UNKNOWN
        at += size
        if at > length:
            return Completeness.CUT
    return Completeness.UNKNOWN


def _walk_riff(file: BinaryIO, length: int) -> Completeness:
    at = 0
    for _ in range(MAX_BOXES):
        file.seek(at)
        head = file.read(8)
        if at and (len(head) < 8 or head[:4] != b"RIFF"):  # what follows belongs to no one
            return Completeness.COMPLETE
        size = int.from_bytes(head[4:8], "little")
        if size in (0, 0xFFFFFFFF):
            return Completeness.UNKNOWN
        at += 8 + size
        if at > length:
            return Completeness.CUT
        at += size % 2
    return Completeness.UNKNOWN


def _walk_ebml(file: BinaryIO, length: int) -> Completeness:
    at = 0
    for _ in range(MAX_BOXES):
        if at == length:
            return Completeness.COMPLETE
        file.seek(at)
        head = file.read(16)
        identity = _vint_length(head[0]) if head else 0
        if not 1 <= identity <= 4 or len(head) <= identity:
            return Completeness.UNKNOWN
        width = _vint_length(head[identity])
        field = head[identity : identity + width]
        if width > 8 or len(field) < width:
            return Completeness.UNKNOWN
        size = int.from_bytes(field, "big") & ((1 << 7 * width) - 1)
        if size == (1 << 7 * width) - 1:  # all ones: not known when it was written
            return Completeness.UNKNOWN
        at += identity + width + size
        if at > length:
            return Completeness.CUT
    return Completeness.UNKNOWN


def _vint_length(first: int) -> int:
    """Bytes of an EBML number from its first byte: one more than its leading zero bits."""
    return 9 - first.bit_length()


_WALKS: tuple[tuple[Callable[[bytes], bool], Callable[[BinaryIO, int], Completeness]], ...] = (
    (_is_mp4, _walk_mp4),
    (_is_riff, _walk_riff),
    (_is_ebml, _walk_ebml),
    (_is_asf, _walk_asf),
    (_is_ts, _walk_ts),
    (_is_m2ts, _walk_m2ts),
    (_is_gif, _walk_gif),
    (_is_ogg, _walk_ogg),
    (_is_mxf, _walk_mxf),
)
