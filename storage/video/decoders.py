"""Reading chosen frames of a file: one contract, three decoders, and what each said.

`auto` is the order of the table for the file's kind (storage.video.decoder_table): decoders that
are right there and notice damage, cheapest first; one that fails gives way to the next.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from reelvec.configs.decoding import MAX_PIXELS, FrameOptions
from reelvec.storage.errors import VideoError
from reelvec.storage.reasons import Reason
from reelvec.storage.video.content import no_progress
from reelvec.storage.video.contract import (
    Allocate,
    CountDiffersError,
    DecodedFrames,
    FrameSink,
    Reader,
    Reading,
)
from reelvec.storage.video.decoder_table import kind_of, shipped_table
from reelvec.storage.video.decord_reader import read_with_decord
from reelvec.storage.video.ffmpeg_reader import read_with_ffmpeg
from reelvec.storage.video.probe import ProbeResult
from reelvec.storage.video.selective import read_selectively

__all__ = ["READERS", "CountDiffersError", "DecodedFrames", "read_frames"]

READERS: dict[str, Reader] = {
    "selective": read_selectively,
    "decord": read_with_decord,
    "ffmpeg": read_with_ffmpeg,
}


def _in_memory(shape: tuple[int, int, int, int]) -> npt.NDArray[np.uint8]:
    return np.zeros(shape, np.uint8)


def read_frames(
    picks: npt.NDArray[np.int64],
    *,
    probe: ProbeResult,
    options: FrameOptions | None = None,
    max_pixels: int = MAX_PIXELS,
    allocate: Allocate = _in_memory,
    progress: Callable[[], None] = no_progress,
) -> DecodedFrames:
    """The pictures of display indices `picks` of the file `probe` describes.

    Args:
        picks: [T] int64, ascending, each once, at least one.
        probe: of the file, made from the same bytes.
        options: decoder, size, resize, damaged policy.
        max_pixels: largest declared picture that is opened.
        allocate: makes the [T, S, S, 3] array the frames are written into.
        progress: called as frames come out.

    Raises:
        VideoError: no frame can be used; its message holds what each decoder said.
        CountDiffersError: choose again from `probe.recounted(error.ticks)`.
        ValueError: picks that are not display indices of the file.
    """
    options = options or FrameOptions()
    picks = np.asarray(picks, np.int64)
    _check_picks(picks, probe)
    if probe.truncated and options.damaged == "strict":
        raise VideoError(
            f"{probe.path}: truncated ({probe.truncated}); fetch it again, or set "
            "extract.damaged=salvage to keep what is there",
            path=probe.path,
            reason=Reason.TRUNCATED,
        )
    sink = FrameSink(picks, options=options, allocate=allocate)
    reading = Reading(
        path=probe.path,
        probe=probe,
        sink=sink,
        options=options,
        max_pixels=max_pixels,
        progress=progress,
    )
    best = _Kept()
    said: list[str] = []
    for name in _order(options, probe, said):
        sink.clear()
        try:
            READERS[name](reading)
        except CountDiffersError:
            raise
        except VideoError as error:
            said.append(f"{name}: {error}")
            best = best.or_better(name, reading, error, allocate=allocate)
            continue
        return _decoded(sink, name, probe, options, said)
    if options.damaged == "strict" or best.count == 0 or best.error is None:
        reason = best.error.reason if best.error else Reason.UNREADABLE
        raise VideoError(" | ".join(said), path=probe.path, reason=reason)
    _copy(best.frames, sink.frames, progress=progress)
    return _salvaged(sink, best, probe, said)


@dataclass(frozen=True, eq=False)
class _Kept:
    """The frames before the damage, of the decoder that came furthest."""

    count: int = 0
    decoder: str = ""
    frames: npt.NDArray[np.uint8] = field(default_factory=lambda: np.zeros(0, np.uint8))
    error: VideoError | None = None

    def or_better(
        self, decoder: str, reading: Reading, error: VideoError, *, allocate: Allocate
    ) -> _Kept:
        """This, or what `decoder` put before its error; pictures are kept to salvage alone."""
        sink = reading.sink
        count = int(np.argmin(np.append(sink.filled, False)))  # the first that is missing
        if self.error is not None and count <= self.count:
            return self
        if reading.options.damaged == "strict":
            return _Kept(count, decoder, self.frames, self.error or error)
        height, width, channels = sink.frames.shape[1:]
        frames = allocate((count, height, width, channels))
        _copy(sink.frames[:count], frames, progress=reading.progress)
        return _Kept(count, decoder, frames, self.error or error)


def _copy(
    pictures: npt.NDArray[np.uint8], out: npt.NDArray[np.uint8], *, progress: Callable[[], None]
) -> None:
    """One by one, with signs of life: the frames of a long clip are gigabytes."""
    for place, picture in enumerate(pictures):
        out[place] = picture
        progress()


def _order(options: FrameOptions, probe: ProbeResult, said: list[str]) -> tuple[str, ...]:
    """Decoders to try, by the table; no decoder is used for a file it is not proven right on."""
    if options.decoder not in ("auto", "decord"):
        return (options.decoder,)  # those two decode in order, or as if they did
    table, kind = shipped_table(), kind_of(probe)
    if options.decoder == "decord":
        if table.is_right("decord", kind):
            return ("decord",)
        said.append(f"decord: not proven right on {probe.codec} in {probe.container} of this kind")
    return table.order(kind)


def _decoded(
    sink: FrameSink, name: str, probe: ProbeResult, options: FrameOptions, said: list[str]
) -> DecodedFrames:
    salvaged = bool(probe.truncated) and options.damaged == "salvage"
    return DecodedFrames(
        frames=sink.frames,
        source=sink.source,
        pts_seconds=probe.pts_seconds[sink.picks],
        frame_index=sink.picks,
        status="salvaged" if salvaged else "ok",
        reason=str(Reason.TRUNCATED) if salvaged else "",
        message=f"truncated: {probe.truncated}" if salvaged else "",
        fraction_kept=probe.fraction_present if salvaged else 1.0,
        decoder=name,
        attempts=tuple(said),
    )


def _salvaged(sink: FrameSink, best: _Kept, probe: ProbeResult, said: list[str]) -> DecodedFrames:
    kept = sink.picks[: best.count]
    return DecodedFrames(
        frames=sink.frames[: best.count],
        source=sink.source,
        pts_seconds=probe.pts_seconds[kept],
        frame_index=kept,
        status="salvaged",
        reason=str(best.error.reason) if best.error else str(Reason.DAMAGED),
        message=f"kept {best.count} of {len(sink.picks)} frames, up to the damage: {best.error}",
        fraction_kept=probe.fraction_present * best.count / len(sink.picks),
        decoder=best.decoder,
        attempts=tuple(said),
    )


def _check_picks(picks: npt.NDArray[np.int64], probe: ProbeResult) -> None:
    if picks.ndim != 1 or len(picks) == 0:
        raise ValueError(f"picks {picks.shape} must be one axis with at least one index")
    if picks[0] < 0 or picks[-1] >= probe.frames_counted or (np.diff(picks) <= 0).any():
        raise ValueError(
            f"picks ({picks[0]} … {picks[-1]}) must ascend, each once, below the "
            f"{probe.frames_counted} frames counted"
        )
