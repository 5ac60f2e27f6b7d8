"""Batches from memory-mapped frame shards: gathered ahead by one thread into two buffers.

Frames stay uint8 up to the device; `RetrievalModel.prepare` normalises them there.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Generator, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from reelvec.configs.schema import ModelConfig
from reelvec.models.sampling.seen import SeenFrames
from reelvec.storage.frames.contract import FrameSource

__all__ = ["ClipBatch", "ClipLoader", "seen_in_evaluation", "seen_in_training"]

_BUFFERS = 2


@dataclass(frozen=True)
class ClipBatch:
    """Frames of some clips on the host; valid until the next batch is asked for.

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
        pinned: bool = False,
    ) -> None:
        self.waited_seconds = 0.0
        self._source = source
        self._max_frames = max_frames
        self._image_size = image_size
        self._pinned = pinned
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
            for keys in wanted:
                buffer = free.get()
                if buffer is None:
                    return
                ready.put((self._gather(keys, seen, buffer[: len(keys)]), buffer))
        except BaseException as error:  # noqa: BLE001 - raised again where the batch is asked for
            ready.put(error)

    def _gather(self, keys: Sequence[str], seen: SeenFrames, out: Tensor) -> ClipBatch:
        stored = zip(keys, self._source.lengths(keys), strict=True)
        picks: list[np.ndarray] = [seen.picks(int(n), clip=key) for key, n in stored]
        self._source.gather(keys, picks=picks, out=out.numpy())
        used = torch.tensor([len(pick) for pick in picks])
        mask = (torch.arange(self._max_frames) < used[:, None]).long()
        return ClipBatch(out, mask.pin_memory() if self._pinned else mask)

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
