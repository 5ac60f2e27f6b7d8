"""Which of a clip's stored frames a model sees, and in what order."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from reelvec.models.sampling.originals import clip2video_jitter
from reelvec.models.sampling.rules import LIMITS, pick_stored

__all__ = ["DRAWS", "ORDERS", "SeenFrames"]

Indices = npt.NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class SeenFrames:
    """How frames are chosen among the stored ones; what is drawn follows from these fields alone.

    Attributes:
        max_frames: at most so many.
        selection: a key of LIMITS.
        draw: a key of DRAWS.
        order: a key of ORDERS.
        seed: of the run.
        epoch: of training, from 0; another epoch draws anew.
    """

    max_frames: int
    selection: str = "linspace"
    draw: str = "none"
    order: str = "ordinary"
    seed: int = 0
    epoch: int = 0

    def __post_init__(self) -> None:
        known: dict[str, Collection[str]] = {"selection": LIMITS, "draw": DRAWS, "order": ORDERS}
        for name, values in known.items():
            if getattr(self, name) not in values:
                raise ValueError(
                    f"{name} ({getattr(self, name)}) must be one of {', '.join(values)}"
                )

    def picks(self, n_stored: int, *, clip: str) -> Indices:
        """Positions among a clip's `n_stored` frames, in the order they are seen.

        Random numbers follow from (seed, epoch, clip): not from the batch, the process or what was
        drawn before.

        Args:
            n_stored: how many are stored.
            clip: its key.
        """
        random = _stream(self.seed, self.epoch, clip)
        chosen = DRAWS[self.draw](self, n_stored, random)
        return ORDERS[self.order](chosen, random)


Random = np.random.RandomState


def _stream(seed: int, epoch: int, clip: str) -> Random:
    """A generator of these three; of a kind whose numbers NumPy never changes."""
    digest = hashlib.blake2b(f"{seed} {epoch} {clip}".encode(), digest_size=16).digest()
    return np.random.RandomState(np.frombuffer(digest, dtype="<u4"))


def _selected(seen: SeenFrames, n_stored: int, random: Random) -> Indices:
    """Those of `selection`; nothing is drawn."""
    del random
    return pick_stored(n_stored, seen.max_frames, seen.selection)


def _drawn(seen: SeenFrames, n_stored: int, random: Random) -> Indices:
    """As many different ones, in their order: AdaCLIP's `--sampling random`.

    Source: specs/xclip-adaclip.md B3.
    """
    if n_stored <= seen.max_frames:
        return np.arange(n_stored, dtype=np.int64)
    return np.sort(random.permutation(n_stored)[: seen.max_frames]).astype(np.int64)


def _jittered(seen: SeenFrames, n_stored: int, random: Random) -> Indices:
    """Those of `selection`, each moved near its place but the first and the last: CLIP2Video's."""
    return clip2video_jitter(_selected(seen, n_stored, random), random=random)


DRAWS: dict[str, Callable[[SeenFrames, int, Random], Indices]] = {
    "none": _selected,
    "random": _drawn,
    "jitter": _jittered,
}


def _ordinary(chosen: Indices, random: Random) -> Indices:
    del random
    return chosen


def _reverse(chosen: Indices, random: Random) -> Indices:
    del random
    return chosen[::-1]


def _shuffled(chosen: Indices, random: Random) -> Indices:
    return random.permutation(chosen)


ORDERS: dict[str, Callable[[Indices, Random], Indices]] = {
    "ordinary": _ordinary,
    "reverse": _reverse,
    "random": _shuffled,
}
"""CLIP4Clip's and X-CLIP's frame orders 0, 1 and 2 (specs/clip4clip-clip2video.md 4.2)."""
