"""Clips for models that see a clip as a clip: from stored frames, and which share a call."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
import torch

from reelvec.models.frozen.clips import Clip, ClipEncoder
from reelvec.storage.frames.contract import ClipFrames, FrameSource
from reelvec.storage.frames.sound import SoundReader
from reelvec.storage.records import window_of

__all__ = ["clip_blocks", "clip_of", "filled", "shares", "with_sound"]

CLIP_TOKENS_A_CALL = 4096
"""Of clips of one shape, as of texts; a longer clip is encoded alone."""


def with_sound(clip: Clip, sounds: SoundReader | None, *, key: str) -> Clip:
    """The clip with what is kept of its sound, where there is any."""
    if sounds is None or key not in sounds:
        return clip
    samples = torch.from_numpy(np.array(sounds.sound(key).samples))
    return replace(clip, sound=samples.to(clip.frames.device))


def clip_of(stored: ClipFrames, *, device: torch.device) -> Clip:
    """Decoded frames as a model sees them; times are as its authors count them, where known."""
    source = stored.source
    seconds, (start, end) = stored.pts_seconds, window_of(stored.clip_key)
    if source is not None and source.fps > 0:
        seconds = stored.frame_index / source.fps
        end = source.frames / source.fps if end is None else end
    return Clip(
        frames=torch.from_numpy(stored.frames).to(device),
        seconds=torch.from_numpy(np.asarray(seconds, np.float64)),
        size=stored.picture,
        start=start,
        length=0.0 if end is None else end - start,
    )


def clip_blocks(
    model: ClipEncoder, source: FrameSource, keys: Sequence[str], *, used: np.ndarray, batch: int
) -> Iterator[np.ndarray]:
    """Positions of the clips of every call: of one shape, as many as the budget of tokens holds.

    Args:
        model: knows how many tokens a clip has.
        source: of the clips.
        keys: of the clips.
        used: frames of each that are encoded.
        batch: clips of a call at most.
    """
    if batch == 1:
        yield from np.arange(len(keys))[:, None]
        return
    shapes: dict[tuple[int, int, int], list[int]] = {}
    for row, key in enumerate(keys):
        shapes.setdefault((int(used[row]), *source.picture(key)), []).append(row)
    for (frames, *size), rows in shapes.items():
        tokens = model.clip_tokens(frames, size=(size[0], size[1]))
        fit = 1 if tokens is None else max(1, min(batch, CLIP_TOKENS_A_CALL // tokens))
        yield from filled(np.array(rows), fit)


def filled(rows: np.ndarray, size: int) -> Iterator[np.ndarray]:
    """The rows in calls of one number; the last one fills up."""
    for start in range(0, len(rows), size):
        yield rows[np.arange(start, start + size).clip(max=len(rows) - 1)]


def shares(device: torch.device) -> bool:
    """Whether several clips are encoded at once: on a CPU one is as fast, and needs less memory."""
    return device.type != "cpu"
