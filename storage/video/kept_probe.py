"""What a probe found, as a short text: carried from ingest to who decodes, who need not read again.

A text is good for one content, one FFmpeg and one state of this folder's code; with any other it
is as if there were none. It is made only where it gives back the very numbers that went in.
"""

from __future__ import annotations

import base64
import dataclasses
import json
import zlib
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import numpy.typing as npt
import xxhash

from reelvec.storage.video.orientation import Orientation
from reelvec.storage.video.packets import PacketTable
from reelvec.storage.video.probe import ProbeResult, said_seconds, shown_seconds

__all__ = ["MOST_CHARACTERS", "kept_text", "probe_from_text"]

MOST_CHARACTERS = 4096
"""A longer text is not kept: times that jitter for minutes cost a corpus row more than a pass."""

SEAL_BYTES = 8
MADE_ANEW = ("path", "packets", "pts_seconds", "frame_seconds")
"""Fields of a ProbeResult that follow from the packets, and the path; the others are written."""
COLUMNS = ("pts", "lengths", "ticks")
FLAGS = ("keyframe", "shown")


def _makers() -> bytes:
    """A digest of all that decides what a probe finds beside the file: this code and FFmpeg."""
    digest = xxhash.xxh3_64(json.dumps(av.library_versions, sort_keys=True).encode())
    for source in sorted(Path(__file__).parent.glob("*.py")):
        digest.update(source.read_bytes())
    return digest.digest()


MAKERS = _makers()
"""Made on import, once for all workers of a process that forks them."""


def kept_text(probe: ProbeResult, *, content_hash: str) -> str:
    """The text of what was found in the file of `content_hash`; "": none is kept of such a file."""
    if probe.truncated or not content_hash:
        return ""
    data = zlib.compress(_written(probe), 9)
    text = base64.b64encode(_seal(data, content_hash) + data).decode()
    if len(text) > MOST_CHARACTERS:
        return ""
    back = probe_from_text(text, path=probe.path, content_hash=content_hash)
    return text if back is not None and _facts(back) == _facts(probe) else ""


def probe_from_text(text: str, *, path: str, content_hash: str) -> ProbeResult | None:
    """What `kept_text` was given, for the file at `path`; None: the text is not for this content.

    Args:
        text: damaged, of another content, code or FFmpeg, or "": gives None.
        path: of the file, which is not opened.
        content_hash: xxh3-128 that its bytes are known to have, hex; "": gives None.
    """
    try:
        sealed = base64.b64decode(text, validate=True)
    except ValueError:
        return None
    data = sealed[SEAL_BYTES:]
    if not content_hash or sealed[:SEAL_BYTES] != _seal(data, content_hash):
        return None
    return _read(zlib.decompress(data), path=path)


def _seal(data: bytes, content_hash: str) -> bytes:
    return xxhash.xxh3_64(MAKERS + content_hash.encode() + data).digest()


def _written(probe: ProbeResult) -> bytes:
    table = probe.packets
    jumped = not np.array_equal(table.ticks, table.pts)
    head = [len(table.pts), jumped, *(_plain(getattr(probe, name)) for name in _names())]
    columns = [_steps(getattr(table, name)) for name in COLUMNS[: 2 + jumped]]
    flags = [np.packbits(getattr(table, name)).tobytes() for name in FLAGS]
    return b"".join((json.dumps(head, separators=(",", ":")).encode(), b"\n", *columns, *flags))


def _read(data: bytes, *, path: str) -> ProbeResult:
    head, _, body = data.partition(b"\n")
    count, jumped, *values = json.loads(head)
    given = {name: _unplain(value) for name, value in zip(_names(), values, strict=True)}
    numbers = 2 + jumped
    columns = [_from_steps(body[8 * count * i : 8 * count * (i + 1)]) for i in range(numbers)]
    bits = np.frombuffer(body[8 * count * numbers :], np.uint8).reshape(len(FLAGS), -1)
    keyframe, shown = np.unpackbits(bits, axis=1, count=count).astype(np.bool_)
    packets = PacketTable(
        pts=columns[0], ticks=columns[-1 if jumped else 0], keyframe=keyframe, shown=shown,
        lengths=columns[1],
    )  # fmt: skip
    base, by_time = given["time_base"], given["by_time"]
    return ProbeResult(
        path=path,
        packets=packets,
        pts_seconds=shown_seconds(packets, base, fps=given["fps"], by_time=by_time),
        frame_seconds=said_seconds(packets, base, by_time=by_time),
        **given,
    )


def _names() -> list[str]:
    names = (field.name for field in dataclasses.fields(ProbeResult))
    return [name for name in names if name not in MADE_ANEW]


def _plain(value: Any) -> Any:
    if isinstance(value, Fraction):
        return [value.numerator, value.denominator]
    return dataclasses.asdict(value) if isinstance(value, Orientation) else value


def _unplain(value: Any) -> Any:
    if isinstance(value, list):
        return Fraction(*value)
    return Orientation(**value) if isinstance(value, dict) else value


def _steps(column: npt.NDArray[np.int64]) -> bytes:
    """Differences, all first bytes, then all second ones: mostly the same few, or zero."""
    steps = np.diff(column, prepend=np.int64(0)).astype("<i8")
    return steps.view(np.uint8).reshape(-1, 8).T.tobytes()


def _from_steps(data: bytes) -> npt.NDArray[np.int64]:
    steps = np.frombuffer(data, np.uint8).reshape(8, -1).T.copy().view("<i8")
    return np.cumsum(steps.ravel(), dtype=np.int64)


def _facts(probe: ProbeResult) -> list[Any]:
    """All that `probe` says, to the bit."""
    columns = [probe.pts_seconds, probe.frame_seconds]
    columns += [getattr(probe.packets, name) for name in (*COLUMNS, *FLAGS)]
    plain = [getattr(probe, name) for name in _names()]
    return [*plain, *((column.dtype.str, column.tobytes()) for column in columns)]
