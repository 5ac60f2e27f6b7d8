"""Batches from memory-mapped frame shards: gathered ahead by one thread into two buffers.

Frames stay uint8 up to the device, where the thread copies them too if it is a GPU;
`RetrievalModel.prepare` normalises them there.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Generator, Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from reelvec.configs.schema import ModelConfig
from reelvec.models.sampling.seen import SeenFrames
from reelvec.storage.frames.contract import FrameSource

__all__ = ["TOGETHER", "ClipBatch", "ClipLoader", "seen_in_evaluation", "seen_in_training"]

_BUFFERS = 2
_AHEAD = 4
"""Batches that a source is told of, the one that is gathered among them."""
TOGETHER = 4
"""Clips that are gathered in one call: enough to hide what a call costs."""
_CPU = torch.device("cpu")


@dataclass(frozen=True)
class ClipBatch:
    """Frames of some clips; valid until the next batch is asked for.

    Attributes:
        frames: uint8 [V, F, S, S, 3]; slots without a frame are zero.
        mask: int64 [V, F], 1 where there is a frame.
    """

    frames: Tensor
    mask: Tensor

    def to(self, device: torch.device) -> ClipBatch:
        """On `device`; a pinned buffer is copied without waiting."""
        return ClipBatch(
            self.frames.to(device, non_blocking=True), self.mask.to(device, non_blocking=True)
        )

    def record_stream(self, stream: torch.cuda.Stream) -> None:
        """Keep the memory from other use until `stream` has done with it, too."""
        self.frames.record_stream(stream)
        self.mask.record_stream(stream)

    def rows(self, rows: slice) -> ClipBatch:
        """The clips of these rows."""
        return ClipBatch(self.frames[rows], self.mask[rows])


def seen_in_evaluation(model: ModelConfig) -> SeenFrames:
    """What validation and embedding see of a clip."""
    return SeenFrames(
        max_frames=model.max_frames, selection=model.frame_selection, order=model.eval_frame_order
    )


def seen_in_training(model: ModelConfig, *, seed: int, epoch: int) -> SeenFrames:
    """What an epoch of training sees of a clip."""
    return SeenFrames(
        max_frames=model.max_frames,
        selection=model.frame_selection,
        draw=model.train_frame_draw,
        order=model.train_frame_order,
        seed=seed,
        epoch=epoch,
    )


class ClipLoader:
    """Batches of clips by key.

    Attributes:
        waited_seconds: time the consumer spent waiting for data so far.
    """

    def __init__(
        self,
        source: FrameSource,
        *,
        max_frames: int,
        image_size: int,
        device: torch.device = _CPU,
    ) -> None:
        """A loader; to a GPU the thread copies batches too, beside the work that is queued there.

        Args:
            source: frames by key.
            max_frames: slots of a clip.
            image_size: height and width of a frame, pixels.
            device: where batches are given.
        """
        self.waited_seconds = 0.0
        self._copies: torch.cuda.Stream | None = None
        if device.type == "cuda":
            self._copies = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
        self._source = source
        self._max_frames = max_frames
        self._image_size = image_size
        self._pinned = device.type == "cuda"
        self._buffers: list[Tensor] = []

    def batches(self, keys: Iterable[Sequence[str]], *, seen: SeenFrames) -> Generator[ClipBatch]:
        """One batch for each sequence of keys, in order; close the iterator to stop early."""
        wanted = list(keys)
        if not wanted:
            return
        free: queue.Queue[Tensor | None] = queue.Queue()
        ready: queue.Queue[tuple[ClipBatch, Tensor] | BaseException] = queue.Queue()
        for buffer in self._allocate(max(map(len, wanted))):
            free.put(buffer)
        thread = threading.Thread(
            target=self._fill,
            args=(wanted, seen, free, ready),
            name="reelvec-prefetch",
            daemon=True,
        )
        thread.start()
        try:
            for _ in wanted:
                started = time.perf_counter()
                got = ready.get()
                self.waited_seconds += time.perf_counter() - started
                if isinstance(got, BaseException):
                    raise got
                batch, buffer = got
                if self._copies is not None:
                    batch.record_stream(torch.cuda.current_stream(self._copies.device))
                yield batch
                free.put(buffer)
        finally:
            free.put(None)
            thread.join()

    def _fill(
        self,
        wanted: Sequence[Sequence[str]],
        seen: SeenFrames,
        free: queue.Queue[Tensor | None],
        ready: queue.Queue[tuple[ClipBatch, Tensor] | BaseException],
    ) -> None:
        try:
            for number, keys in enumerate(wanted):
                self._source.ahead(
                    [key for some in wanted[number : number + _AHEAD] for key in some]
                )
                buffer = free.get()
                if buffer is None:
                    return
                batch = self._gather(keys, seen, buffer[: len(keys)])
                ready.put((self._copied(batch), buffer))
        except BaseException as error:  # noqa: BLE001 - raised again where the batch is asked for
            ready.put(error)

    def _gather(self, keys: Sequence[str], seen: SeenFrames, out: Tensor) -> ClipBatch:
        """A few clips at a time: what a far source holds of them makes room for others at once."""
        frames = out.numpy()
        used: list[int] = []
        for start in range(0, len(keys), TOGETHER):
            some = keys[start : start + TOGETHER]
            stored = zip(some, self._source.lengths(some), strict=True)
            picks = [seen.picks(int(n), clip=key) for key, n in stored]
            self._source.gather(some, picks=picks, out=frames[start : start + TOGETHER])
            used += map(len, picks)
        mask = (torch.arange(self._max_frames) < torch.tensor(used)[:, None]).long()
        return ClipBatch(out, mask.pin_memory() if self._pinned else mask)

    def _copied(self, batch: ClipBatch) -> ClipBatch:
        """The batch on the GPU, whole; on a CPU as it is."""
        if self._copies is None:
            return batch
        with torch.cuda.stream(self._copies):
            here = batch.to(self._copies.device)
        self._copies.synchronize()
        return here

    def _allocate(self, clips: int) -> list[Tensor]:
        """Buffers for that many clips, kept from one epoch to the next."""
        if not self._buffers or self._buffers[0].shape[0] < clips:
            side = self._image_size
            shape = (clips, self._max_frames, side, side, 3)
            self._buffers = [
                torch.empty(shape, dtype=torch.uint8, pin_memory=self._pinned)
                for _ in range(_BUFFERS)
            ]
        return self._buffers
