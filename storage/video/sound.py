"""The sound of a file: one channel at the rate that is asked for, and when it begins.

Channels are averaged, as librosa and the models' own loaders do it; then libswresample changes the
rate. A pause in the clock is not filled with silence: what comes after it follows at once, and the
result says how long the pauses were. The times of pictures are those of the file's first one.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

import av
import av.error
import numpy as np
import numpy.typing as npt
from av.audio.resampler import AudioResampler

from reelvec.configs.decoding import MAX_PIXELS, SoundForm
from reelvec.storage.errors import VideoError
from reelvec.storage.reasons import Reason
from reelvec.storage.video.content import no_progress
from reelvec.storage.video.opening import open_container
from reelvec.storage.video.probe import ProbeResult

__all__ = ["DecodedSound", "read_sound"]

_PAUSE_SECONDS = 0.1
"""A step of the clock that is more than rounding and an encoder's delay."""

Samples = npt.NDArray[np.float32]


@dataclass(frozen=True, kw_only=True, eq=False)
class DecodedSound:
    """The sound of one clip. Where salvaged, only what comes before the damage."""

    samples: Samples
    """[N], one channel, full scale is 1."""
    start_seconds: float
    """Of the first sample, since the first picture of the file; negative where sound is earlier."""
    status: Literal["ok", "salvaged"]
    reason: str
    """A storage.reasons.Reason; "" where ok."""
    message: str
    codec: str
    channels: int
    pauses_seconds: float
    """Steps of the clock between samples that now follow each other, added up."""
    is_cut: bool
    """There was more than the form's `max_seconds`."""


def read_sound(
    probe: ProbeResult,
    *,
    form: SoundForm,
    window: tuple[float | None, float | None] = (None, None),
    salvage: bool = False,
    progress: Callable[[], None] = no_progress,
) -> DecodedSound:
    """Decode the sound of a clip.

    Args:
        probe: of the file.
        form: rate, and how much of it.
        window: (start, end) seconds since the first picture; None: from or to the end of the track.
        salvage: keep what decodes up to the damage.
        progress: called for each packet.

    Raises:
        VideoError: no_audio_stream; no_samples, of a track that gives none (in the window);
            damaged or truncated, where not salvaged.
    """
    with open_container(probe.path, max_pixels=MAX_PIXELS) as container:
        pieces = _Pieces(_stream(container, probe), probe=probe, form=form, window=window)
        try:
            pieces.take(container, progress)
        except (av.error.FFmpegError, ValueError) as error:
            pieces.problem = f"after {pieces.seconds:.2f} s of sound: {error}"
        return pieces.result(salvage=salvage)


class _Pieces:
    """Sound in the making."""

    def __init__(
        self,
        stream: Any,
        *,
        probe: ProbeResult,
        form: SoundForm,
        window: tuple[float | None, float | None],
    ) -> None:
        start, end = window
        self._stream, self._probe, self._form = stream, probe, form
        self._from = -math.inf if start is None else start
        self._until = math.inf if end is None else end
        self._origin = _first_picture(probe)
        self._whole = AudioResampler(format="fltp")
        self._change: AudioResampler | None = None
        self._made: list[Samples] = []
        self._count = 0
        self._start: float | None = None
        self._next: float | None = None
        self._pauses = 0.0
        self._channels = 0
        self._is_cut = False
        self.problem = ""

    @property
    def seconds(self) -> float:
        """Of sound that is kept."""
        return self._count / self._form.rate

    def take(self, container: Any, progress: Callable[[], None]) -> None:
        """Decode up to the end of the window, or of what the form keeps."""
        for samples, rate, time in self._frames(container, progress):
            if time >= self._until or self._is_cut:
                break
            first = math.ceil((self._from - time) * rate) if self._from > time else 0
            last = len(samples)
            if self._until < time + last / rate:
                last = math.ceil((self._until - time) * rate)
            if first < last:
                self._keep(samples[first:last], rate=rate, time=time + first / rate)
        self._add(self._resampled(None))

    def _frames(
        self, container: Any, progress: Callable[[], None]
    ) -> Iterator[tuple[Samples, int, float]]:
        """One channel of each decoded frame, its rate, and its time since the first picture."""
        for packet in container.demux(self._stream):
            progress()
            for frame in self._stream.codec_context.decode(packet if packet.size else None):
                if frame.is_corrupt:
                    raise ValueError(f"the decoder calls the sound at {frame.time} s corrupt")
                time = frame.time  # lost where the format is changed
                for part in self._whole.resample(frame):
                    planes = part.to_ndarray()
                    self._channels = len(planes)
                    samples = planes.mean(axis=0, dtype=np.float32)
                    begins = self._clock(time, seconds=len(samples) / part.sample_rate)
                    yield samples, part.sample_rate, begins

    def _clock(self, time: float | None, *, seconds: float) -> float:
        """When the frame begins: counted, which is finer than ticks, until the clock steps."""
        begins = self._next if time is None else time - self._origin
        begins = 0.0 if begins is None else begins
        if self._next is not None:
            step = abs(begins - self._next)
            if step <= _PAUSE_SECONDS:
                begins = self._next
            elif self._start is not None:
                self._pauses += step
        self._next = begins + seconds
        return begins

    def _keep(self, samples: Samples, *, rate: int, time: float) -> None:
        if self._start is None:
            self._start = time
            if rate != self._form.rate:
                self._change = AudioResampler(format="fltp", layout="mono", rate=self._form.rate)
        frame = av.AudioFrame.from_ndarray(samples[None], format="fltp", layout="mono")
        frame.sample_rate = rate
        self._add(samples if self._change is None else self._resampled(frame))

    def _resampled(self, frame: Any) -> Samples:
        """What the change of rate gives for a frame; of None, what it still holds."""
        if self._change is None:
            return np.zeros(0, np.float32)
        parts = [part.to_ndarray()[0] for part in self._change.resample(frame)]
        return np.concatenate([np.zeros(0, np.float32), *parts])

    def _add(self, samples: Samples) -> None:
        room = int(self._form.max_seconds * self._form.rate) - self._count
        self._is_cut = self._is_cut or len(samples) > room
        self._made.append(samples[:room])
        self._count += len(self._made[-1])

    def result(self, *, salvage: bool) -> DecodedSound:
        path, cut = self._probe.path, bool(self._probe.truncated)
        problem = self.problem or self._probe.truncated
        reason = (Reason.TRUNCATED if cut else Reason.DAMAGED) if problem else Reason.NONE
        if problem and not (salvage and self._count):
            raise VideoError(f"{path}: {problem}", path=path, reason=reason)
        if not self._count:
            raise VideoError(
                f"{path}: its sound track gives no sample in the window"
                f" [{self._from}, {self._until}) s",
                path=path,
                reason=Reason.NO_SAMPLES,
            )
        return DecodedSound(
            samples=np.concatenate(self._made),
            start_seconds=self._start or 0.0,
            status="salvaged" if problem else "ok",
            reason=str(reason),
            message=problem and f"{path}: {problem}",
            codec=self._stream.codec_context.name,
            channels=self._channels,
            pauses_seconds=self._pauses,
            is_cut=self._is_cut,
        )


def _stream(container: Any, probe: ProbeResult) -> Any:
    """The best sound track, set up for one thread that says when something is wrong."""
    stream = container.streams.best("audio")
    if stream is None:
        raise VideoError(
            f"{probe.path}: no sound track", path=probe.path, reason=Reason.NO_AUDIO_STREAM
        )
    if stream.codec_context is None:
        raise VideoError(
            f"{probe.path}: no decoder here for its sound track",
            path=probe.path,
            reason=Reason.UNREADABLE,
        )
    stream.codec_context.thread_count = 1
    stream.codec_context.options = {"err_detect": "explode"}
    return stream


def _first_picture(probe: ProbeResult) -> float:
    """Time of the first picture that is shown, on the file's clock; 0 where pictures have none."""
    shown = probe.packets.display_order()
    if not probe.by_time or not len(shown):
        return 0.0
    return float(probe.packets.pts[shown[0]] * probe.time_base)
