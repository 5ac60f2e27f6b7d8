"""Whether an H.264 keyframe starts clean, or the picture only becomes whole some frames later.

Intra refresh has no clean starts but the first: its "keyframes" carry a recovery point message
(ITU-T H.264 D.1.8) that says after how many frames the picture is right. Open groups' say 0.
"""

from __future__ import annotations

from collections.abc import Iterator

__all__ = ["has_decodable_leading", "nal_length_bytes", "recovers_later"]

HEAD_BYTES = 4096
"""Of a packet that are looked at: such messages precede the picture."""

SLICES = (1, 5)
MESSAGES = 6
RECOVERY_POINT = 6

LAST_SLICE = {"hevc": 31, "vvc": 11}
IDR_WITH_LEADING = {"hevc": 19, "vvc": 7}
"""Types of NAL units."""


def nal_length_bytes(extradata: bytes | None) -> int:
    """Bytes of a NAL unit's length in MP4 and Matroska (ISO/IEC 14496-15); 0: start codes."""
    if not extradata or len(extradata) < 5 or extradata[0] != 1:
        return 0
    return (extradata[4] & 3) + 1


def has_decodable_leading(packet: memoryview, *, codec: str, extradata: bytes | None) -> bool:
    """The keyframe of HEVC or VVC may be followed by pictures shown before it that need no other.

    Those of an IDR_W_RADL (ITU-T H.265 7.4.2.2, H.266 7.4.2.2); the ones after a clean random
    access point may need what came before it.
    """
    head = bytes(packet[:HEAD_BYTES])
    extra = extradata or b""
    if codec == "hevc":
        width = (extra[21] & 3) + 1 if len(extra) > 21 and extra[0] == 1 else 0
    elif codec == "vvc":
        width = (extra[0] >> 1 & 3) + 1 if extra and extra[0] else 0
    else:
        return False
    for unit in _by_length(head, width) if width else _by_start_code(head):
        if len(unit) < 2:
            continue
        kind = unit[0] >> 1 & 63 if codec == "hevc" else unit[1] >> 3
        if kind <= LAST_SLICE[codec]:
            return kind == IDR_WITH_LEADING[codec]
    return False


def recovers_later(packet: memoryview, *, length_bytes: int) -> bool:
    """A recovery point of more than 0 frames comes before the packet's first slice."""
    head = bytes(packet[:HEAD_BYTES])
    for unit in _by_length(head, length_bytes) if length_bytes else _by_start_code(head):
        kind = unit[0] & 31 if unit else 0
        if kind in SLICES:
            return False
        if kind == MESSAGES and _waits(unit[1:]):
            return True
    return False


def _by_length(head: bytes, width: int) -> Iterator[bytes]:
    at = 0
    while at + width < len(head):
        size = int.from_bytes(head[at : at + width], "big")
        yield head[at + width : at + width + size]
        at += width + size


def _by_start_code(head: bytes) -> Iterator[bytes]:
    yield from head.split(b"\x00\x00\x01")[1:]


def _waits(messages: bytes) -> bool:
    """Among the messages is a recovery point whose frame count, an Exp-Golomb number, is not 0."""
    at = 0
    while at + 2 < len(messages):
        kind, at = _number(messages, at)
        size, at = _number(messages, at)
        if kind == RECOVERY_POINT and at < len(messages):
            return not messages[at] & 0x80  # a leading 1 bit is the number 0
        at += size
    return False


def _number(messages: bytes, at: int) -> tuple[int, int]:
    """A value written as bytes of 255 and a last one below; where it ends."""
    value = 0
    while at < len(messages) and messages[at] == 255:
        value, at = value + 255, at + 1
    return value + (messages[at] if at < len(messages) else 0), at + 1
