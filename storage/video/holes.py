"""Damage that demuxers pass over in silence: bytes that are none of the container's own elements.

FFmpeg finds its way again after them and says nothing, and some codecs (VP9, WMV) decode what is
left to garbage without complaint. Only the heads of elements are looked at.
"""

from __future__ import annotations

import mmap
from pathlib import Path

__all__ = ["hole_in"]

EBML, SEGMENT, CLUSTER = 0x1A45DFA3, 0x18538067, 0x1F43B675
IN_SEGMENT = frozenset((
    CLUSTER, 0x114D9B74, 0x1549A966, 0x1654AE6B, 0x1C53BB6B, 0x1941A469, 0x1043A770, 0x1254C367,
    EBML, SEGMENT, 0xEC, 0xBF,
))  # fmt: skip
"""Matroska's elements of the Segment (RFC 9559, 5.1), those of files appended, void and CRC-32."""
IN_CLUSTER = frozenset((0xE7, 0xA3, 0xA0, 0xAB, 0xA7, 0xAF, 0x5854, 0xEC, 0xBF))

MAX_ELEMENTS = 4_000_000
"""More than ten hours have; then nothing is concluded."""

PACK, PACK_END = b"\0\0\1\xba", b"\0\0\1\xb9"
START_CODE = b"\0\0\1"
PADDING = 4096
"""Zeros between two packets that a writer of sectors may leave."""

ASF_HEADER = bytes.fromhex("3026b2758e66cf11a6d900aa0062ce6c")
ASF_DATA = bytes.fromhex("3626b2758e66cf11a6d900aa0062ce6c")
ASF_FILE_PROPERTIES = bytes.fromhex("a1dcab8c47a9cf118ee400c00c205365")
ASF_DATA_HEAD = 50
ASF_PACKET = 0x82
"""First byte of every packet, where it is that of the first: error correction of two bytes."""


def hole_in(path: str | Path) -> str:
    """Words about the first place where an element is due and none stands; "": there is none.

    Of Matroska, ASF, MPEG program streams and fragmented MP4. A file that merely ends early has
    no hole.
    """
    with (
        Path(path).open("rb") as file,
        mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data,
    ):
        if data[:4] == EBML.to_bytes(4, "big"):
            at = _matroska(data)
        elif data[:16] == ASF_HEADER:
            at = _asf(data)
        elif data[:4] == PACK:
            at = _program_stream(data)
        elif data[4:8] in (b"ftyp", b"styp", b"moof"):
            at = _fragments(data)
        else:
            at = None
    return "" if at is None else f"at byte {at} an element is due and none stands there"


def _matroska(data: mmap.mmap) -> int | None:
    """Where an element of the Segment or of a Cluster is due and none is."""
    at, length = 0, len(data)
    ends = [length]  # of the elements that are open: the file, the Segment, a Cluster
    for _ in range(MAX_ELEMENTS):
        if at >= length:
            return None
        while len(ends) > 1 and at >= ends[-1]:
            ends.pop()
        identity, size, head = _element(data, at)
        if len(ends) == 3 and identity in IN_SEGMENT and identity not in IN_CLUSTER:
            ends.pop()  # a Cluster of unknown size ends where the next element of the Segment is
        allowed = IN_CLUSTER if len(ends) == 3 else IN_SEGMENT
        if len(ends) == 1 and identity not in IN_SEGMENT:
            return None  # what follows the Segment belongs to no one
        if identity not in allowed:
            return at
        at += head
        end = ends[-1] if size is None else at + size
        if end > length:
            return None  # cut, which is seen elsewhere
        if end > ends[-1]:
            return at - head
        if identity in (SEGMENT, CLUSTER):
            ends.append(end)
        else:
            at = end
    return None


def _element(data: mmap.mmap, at: int) -> tuple[int, int | None, int]:
    """Identity (0: none), size of what follows (None: unknown), bytes of both."""
    wide = 9 - data[at].bit_length()
    if wide > 4 or at + wide >= len(data):
        return 0, None, 0
    identity = int.from_bytes(data[at : at + wide], "big")
    place = at + wide
    bytes_of_size = 9 - data[place].bit_length()
    if bytes_of_size > 8 or place + bytes_of_size > len(data):
        return 0, None, 0
    unknown = (1 << 7 * bytes_of_size) - 1
    size = int.from_bytes(data[place : place + bytes_of_size], "big") & unknown
    return identity, None if size == unknown else size, wide + bytes_of_size


def _asf(data: mmap.mmap) -> int | None:
    """Where a packet is due and none begins; all are of one size."""
    start = int.from_bytes(data[16:24], "little")
    facts = data.find(ASF_FILE_PROPERTIES, 0, start)
    if facts < 0 or data[start : start + 16] != ASF_DATA:
        return None
    size = int.from_bytes(data[facts + 92 : facts + 96], "little")
    end = start + int.from_bytes(data[start + 16 : start + 24], "little")
    first = start + ASF_DATA_HEAD
    if size < 16 or end <= first or first >= len(data) or data[first] != ASF_PACKET:
        return None
    heads = range(first, min(end, len(data)), size)
    return next((at for at in heads if data[at] != ASF_PACKET), None)


def _program_stream(data: mmap.mmap) -> int | None:
    """Where a packet is due and neither one nor a sector's padding stands."""
    at, length = 0, len(data)
    for _ in range(MAX_ELEMENTS):
        if at + 14 > length:
            return None
        head = data[at : at + 14]
        if head[:3] != START_CODE:
            found = data.find(START_CODE, at)
            if found < 0:
                return None  # what follows the last packet belongs to no one
            if found - at > PADDING or any(data[at:found]):
                return at
            at = found
        elif head[:4] == PACK:
            at += 14 + (head[13] & 7) if head[4] >> 6 == 1 else 12
        elif head[:4] == PACK_END:
            at += 4
        else:
            at += 6 + int.from_bytes(head[4:6], "big")
    return None


def _fragments(data: mmap.mmap) -> int | None:
    """Where a box is due after the first fragment and none stands."""
    at, length, fragments = 0, len(data), False
    for _ in range(MAX_ELEMENTS):
        if at + 16 > length:
            return None
        short, name = int.from_bytes(data[at : at + 4], "big"), data[at + 4 : at + 8]
        size = int.from_bytes(data[at + 8 : at + 16], "big") if short == 1 else short
        fragments |= name == b"moof"
        if short == 0 and name.isalnum():
            return None  # to the end of the file
        if size < 8 or not name.isalnum():
            return at if fragments else None
        at += size
    return None
