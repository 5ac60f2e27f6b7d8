"""PyAV, decoding only what the wanted frames need; the default.

Decode only the groups of pictures that hold targets, and in those skip the non-reference pictures
that are none. Identical, bit for bit, to decoding everything, by five guards
(notes/decoding-and-stores.md 1.3):

1. AVI with a reordering codec, absent times: decode everything, count frames. Doubled times, a
   clock that jumps, intra refresh, whose keyframes are no clean starts: decode everything.
2. Seek in MP4 and Matroska only (after a seek AVI's times may be a frame late); elsewhere read on,
   but decode from keyframes just the same.
3. A target shown before its own keyframe (open GOP) starts one group earlier.
4. After a seek the expected keyframe must come; if not, decode everything.
5. A target that does not come out, or any complaint of the decoder: decode everything.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import av.error
import numpy as np
from av.codec.context import Flags
from av.video.reformatter import VideoReformatter

from reelvec.storage.errors import VideoError
from reelvec.storage.reasons import Reason
from reelvec.storage.video.clock import NO_PTS
from reelvec.storage.video.contract import CountDiffersError, Reading
from reelvec.storage.video.opening import open_container
from reelvec.storage.video.orientation import orientation_of

__all__ = ["read_selectively", "read_sequentially"]

SEEKABLE = ("mov", "matroska")
SKIPS_NON_REFERENCE = ("h264", "hevc", "mpeg4", "mpeg2video", "mpeg1video")
"""VP9 gains nothing from it, AV1 loses frames."""

NONE: Iterator[int] = iter(())
"""No display index: the frame is not shown."""

WORTH_A_SEEK = 100
"""Packets passed over for less are read and dropped: that costs less than a seek."""


class _GuardError(Exception):
    """A guard found that only a full decode can be trusted."""


def read_selectively(reading: Reading) -> None:
    """Put the wanted frames, decoding as little as is safe.

    Raises:
        VideoError: damaged, as read_sequentially.
    """
    probe = reading.probe
    whole = probe.in_order or probe.refreshes or not probe.packets.keyframe.any()
    if whole or not probe.by_time:
        read_sequentially(reading)
        return
    try:
        with _open(reading) as container:
            _Selective(container, reading).run()
    except (_GuardError, av.error.FFmpegError, ValueError):
        reading.sink.clear()
        read_sequentially(reading)


def read_sequentially(reading: Reading) -> None:
    """Put the wanted frames, decoding everything in order until the last of them.

    Raises:
        VideoError: damaged, at the first complaint of the decoder.
        CountDiffersError: nothing complained, but some packets gave no frame.
    """
    probe, sink = reading.probe, reading.sink
    indices = _indices_by_pts(reading) if probe.by_time else None
    ticks: list[int] = []
    convert = VideoReformatter()
    try:
        with _open(reading) as container:
            for frame in _decode_from_first_keyframe(container, reading):
                index = len(ticks) if indices is None else next(indices.get(frame.pts, NONE), -1)
                ticks.append(NO_PTS if frame.pts is None else frame.pts)
                if sink.wants(index):
                    sink.put(index, _picture(frame, convert, reading))
                    if sink.complete():
                        return
                del frame  # its buffer is warm: the next picture goes there
    except (av.error.FFmpegError, ValueError) as error:
        raise _damaged(reading, f"after {len(ticks)} frames: {error}") from error
    if sink.complete():
        return
    words = f"{len(ticks)} frames came out of {probe.frames_counted} packets"
    if probe.truncated:
        raise _damaged(reading, words)
    raise CountDiffersError(
        f"{reading.path}: {words}", path=reading.path, ticks=np.array(ticks, np.int64)
    )


class _Selective:
    """One selective pass over an open container."""

    def __init__(self, container: Any, reading: Reading) -> None:
        self._container = container
        self._stream = _stream(container, reading)
        self._context = self._stream.codec_context
        self._reading = reading
        self._table = reading.probe.packets
        self._pts: list[int] = self._table.pts.tolist()  # asked for one by one: no NumPy scalars
        self._keys = np.flatnonzero(self._table.keyframe)
        self._index = {ticks: next(indices) for ticks, indices in _indices_by_pts(reading).items()}
        self._skips = self._context.codec.canonical_name in SKIPS_NON_REFERENCE
        self._seeks = reading.probe.container in SEEKABLE
        self._convert = VideoReformatter()
        self._packets = self._demux()
        self._pushed_back: Any = None
        self._at = 0  # decode position of the packet that comes next

    def run(self) -> None:
        for group, positions in self._targets().items():
            self._go_to(int(self._keys[group]))
            self._decode_group(positions)

    def _targets(self) -> dict[int, list[int]]:
        """Group to start from -> decode positions of the targets of that run, both ascending."""
        positions = self._table.display_order()[self._reading.sink.picks]
        groups = np.searchsorted(self._keys, positions, side="right") - 1
        leading = self._table.pts[positions] < self._table.pts[self._keys[groups]]
        groups = groups - leading
        if (groups < 0).any():
            raise _GuardError
        by_group: dict[int, list[int]] = {}
        runs_to, running = -1, -1
        for group, position in sorted(zip(groups.tolist(), positions.tolist(), strict=True)):
            if self._keys[group] > runs_to:  # else the group before runs on into this one: one run
                running = group
            by_group.setdefault(running, []).append(position)
            runs_to = max(runs_to, position)
        return by_group

    def _go_to(self, key: int) -> None:
        """Stand before the keyframe at decode position `key`, the decoder empty."""
        if self._seeks and key - self._at > WORTH_A_SEEK:
            self._seek(key)
        while self._at < key:
            self._next()
        self._context.flush_buffers()

    def _seek(self, key: int) -> None:
        ticks = self._pts[key]
        # by presentation time: by decode time the MP4 demuxer lands a group early
        self._container.seek(ticks, stream=self._stream, backward=True, any_frame=False)
        self._packets = self._demux()
        first = next(self._packets, None)
        found = np.flatnonzero(self._table.pts == (first.pts if first is not None else None))
        if first is None or len(found) != 1 or found[0] > key:
            raise _GuardError
        self._at = int(found[0])
        self._pushed_back = first

    def _demux(self) -> Iterator[Any]:
        for packet in self._container.demux(self._stream):
            if packet.size:
                yield packet

    def _next(self) -> Any:
        packet, self._pushed_back = self._pushed_back, None
        if packet is None:
            packet = next(self._packets, None)
        if packet is None or packet.pts != self._pts[self._at]:
            raise _GuardError  # the file is not what the probe saw
        self._at += 1
        return packet

    def _decode_group(self, positions: list[int]) -> None:
        targets, last = set(positions), max(positions)
        start, skipped = self._at, ""
        while self._at <= last:
            skip = "NONREF" if self._skips and self._at not in targets else "DEFAULT"
            if skip != skipped:
                self._context.skip_frame = skipped = skip
            at_start, packet = self._at == start, self._next()
            if at_start and not packet.is_keyframe:
                raise _GuardError  # not where the probe saw one: times have shifted
            self._take(packet)
            self._reading.progress()
        if self._misses(targets):
            self._take(None)  # what reordering still holds back
        if self._misses(targets):
            raise _GuardError

    def _misses(self, targets: set[int]) -> bool:
        return any(self._reading.sink.wants(self._index[self._pts[p]]) for p in targets)

    def _take(self, packet: Any) -> None:
        for frame in self._context.decode(packet):
            if frame.is_corrupt:
                raise _GuardError
            index = self._index.get(frame.pts, -1)
            if self._reading.sink.wants(index):
                self._reading.sink.put(index, _picture(frame, self._convert, self._reading))


def _decode_from_first_keyframe(container: Any, reading: Reading) -> Iterator[Any]:
    """Frames in display order; ends with an error at the first that is not sound."""
    stream = _stream(container, reading)
    keys = reading.probe.packets.keyframe
    skip = int(np.argmax(keys)) if keys.any() else 0
    packets = (packet for packet in container.demux(stream) if packet.size)
    for packet in itertools.chain(itertools.islice(packets, skip, None), [None]):
        reading.progress()
        for frame in stream.codec_context.decode(packet):
            if frame.is_corrupt:
                raise ValueError(f"the decoder calls the frame at {frame.time} s corrupt")
            yield frame
            del frame


def _open(reading: Reading) -> Any:
    return open_container(reading.path, max_pixels=reading.max_pixels)


def _stream(container: Any, reading: Reading) -> Any:
    """The stream the probe chose, set up for one thread that says when something is wrong."""
    stream = container.streams[reading.probe.stream_index]
    context = stream.codec_context
    context.thread_count = 1
    context.thread_type = "NONE"
    context.flags |= Flags.unaligned  # a cropped edge is where the stream says, not near it
    context.options = {
        "err_detect": "explode",
        "max_pixels": str(reading.max_pixels),
    }
    return stream


def _indices_by_pts(reading: Reading) -> dict[int, Iterator[int]]:
    """PTS in ticks -> display indices of the frames shown then, mostly one, in order."""
    table = reading.probe.packets
    indices: dict[int, list[int]] = {}
    for index, ticks in enumerate(table.pts[table.display_order()].tolist()):
        indices.setdefault(ticks, []).append(index)
    return {ticks: iter(shown) for ticks, shown in indices.items()}


def _picture(frame: Any, convert: VideoReformatter, reading: Reading) -> Any:
    # by default swscale starts a thread a core for each picture: dearer than the work itself
    picture: Any = convert.reformat(frame, format="rgb24", threads=1).to_ndarray()
    # a matrix inside the stream comes with its keyframes alone, and holds for what follows
    return (orientation_of(frame) or reading.probe.orientation).show(picture)


def _damaged(reading: Reading, words: str) -> VideoError:
    truncated = bool(reading.probe.truncated)
    return VideoError(
        f"{reading.path}: {words}",
        path=reading.path,
        reason=Reason.TRUNCATED if truncated else Reason.DAMAGED,
    )
