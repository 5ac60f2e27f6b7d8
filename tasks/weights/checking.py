"""Whether a model can be used: loaded whole, shown a clip and a caption, and said what it is."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from reelvec.configs.schema import EmbedConfig
from reelvec.models.costs import costs_of
from reelvec.models.errors import ModelError
from reelvec.models.family import RetrievalModel
from reelvec.models.features import EMBEDDING
from reelvec.models.frozen.clips import ClipEncoder
from reelvec.models.frozen.packed_files import unpacked
from reelvec.storage.errors import WeightsError
from reelvec.storage.frames.contract import ClipFrames, Source
from reelvec.storage.video.transform import fit_all
from reelvec.storage.weights.checkpoints import weights_hash
from reelvec.storage.weights.paths import PREFIX, is_pretrained
from reelvec.tasks.embedding.encoder import Encoder
from reelvec.tasks.embedding.encoding import encode_captions, encode_videos
from reelvec.tasks.weights.files import name_model

__all__ = ["CheckedModel", "check_model"]

CAPTION = "a red square moves to the right"
_SIZE = (240, 320)


@dataclass(frozen=True, kw_only=True)
class CheckedModel:
    """What a model is, and what it did with one clip and one caption."""

    name: str
    what: str
    """Its class, and the type its configuration names."""
    family: str
    hash: str
    parameters: int
    text_macs: int | None
    video_macs: int | None
    vector: int
    """Numbers of one."""
    frames: str
    pixels: str
    text_seconds: float
    video_seconds: float
    order: float
    """The largest change of a number of the vector when the clip runs backwards."""


def check_model(name: str) -> CheckedModel:
    """Load a model and encode a clip that is drawn here.

    Args:
        name: a folder, hf:FOLDER_OR_NAME, or a weights file.

    Raises:
        WeightsError: it cannot be loaded, or gives no finite vector of its own.
    """
    if not is_pretrained(name) and Path(name).expanduser().is_dir():
        name = PREFIX + name
    named = name_model(name)
    try:
        model = named.build().eval()
        costs = costs_of(model)
    except ModelError as error:
        raise WeightsError(f"({name}) cannot be built: {error}", path=name) from None
    encoder = Encoder(model, named.config(), torch.device("cpu"))
    started = time.perf_counter()
    text = encode_captions(encoder, [CAPTION], options=EmbedConfig())
    between = time.perf_counter()
    clip = _drawn(model)
    forward, backward = (_vector(encoder, one) for one in (clip, _reversed(clip)))
    ended = time.perf_counter()
    _vectors_of(text)
    macs = costs.macs
    return CheckedModel(
        name=name,
        what=_what(model, named.file.tensors),
        family=named.family,
        hash=weights_hash(named.file.tensors),
        parameters=costs.parameters,
        text_macs=None if macs is None else macs.text,
        video_macs=None if macs is None else macs.video,
        vector=len(forward),
        frames=_frames(model),
        pixels=f"{model.pixels.fit} {model.pixels.size}, {model.pixels.interpolation}",
        text_seconds=between - started,
        video_seconds=(ended - between) / 2,
        order=float(np.abs(forward - backward).max()),
    )


class _One:
    """A clip in memory, as the encoder takes frames from a store."""

    def __init__(self, clip: ClipFrames) -> None:
        self._clip = clip

    def ahead(self, keys: Sequence[str]) -> None:
        """Nothing to do: they are here."""

    def lengths(self, keys: Sequence[str]) -> np.ndarray:
        return np.full(len(keys), len(self._clip.frames))

    def picture(self, key: str) -> tuple[int, int]:
        del key
        return self._clip.picture

    def gather(self, keys: Sequence[str], *, picks: Sequence[np.ndarray], out: np.ndarray) -> None:
        for row in range(len(keys)):
            out[row] = 0
            frames = self._clip.frames[picks[row]]
            out[row, : len(frames)] = frames

    def clip(self, key: str, picks: np.ndarray) -> ClipFrames:
        whole = self._clip
        times, places = whole.pts_seconds[picks], whole.frame_index[picks]
        return ClipFrames(key, whole.frames[picks], times, places, whole.source)


def _vector(encoder: Encoder, clip: ClipFrames) -> np.ndarray:
    columns = encode_videos(encoder, _One(clip), [clip.clip_key], options=EmbedConfig())
    return _vectors_of(columns)


def _vectors_of(columns: dict[str, Any]) -> np.ndarray:
    """The one vector of a table of one row.

    Raises:
        WeightsError: there is none, or it is not finite.
    """
    if EMBEDDING not in columns:
        raise WeightsError(f"the model gives {', '.join(columns)}, and no vector of its own")
    vector = np.asarray(columns[EMBEDDING].flatten().to_numpy(), np.float64)
    if not np.isfinite(vector).all():
        raise WeightsError("the model's vector is not finite; its weights overflow or are damaged")
    return vector


def _drawn(model: RetrievalModel) -> ClipFrames:
    """16 seconds of a square that moves over a gradient, a frame each, in the model's own form."""
    height, width = _SIZE
    count = 16
    y, x = np.mgrid[0:height, 0:width]
    back = np.stack([y * 255 // height, x * 255 // width, (x + y) % 256], axis=-1).astype(np.uint8)
    frames = np.repeat(back[None], count, axis=0)
    for place, frame in enumerate(frames):
        frame[80:140, 10 + 15 * place : 70 + 15 * place] = (220, 30, 30)
    form = model.pixels
    if form.fit != "native":  # in the model's own square
        squares = np.empty((count, form.size, form.size, 3), np.uint8)
        fit_all(frames, form=form, out=squares)
        frames = squares
    index = np.arange(count) * 25
    made_from = Source(height, width, frames=count * 25, fps=25.0) if form.fit == "native" else None
    return ClipFrames("drawn", frames, index / 25, index, made_from)


def _reversed(clip: ClipFrames) -> ClipFrames:
    return ClipFrames(
        clip.clip_key,
        np.ascontiguousarray(clip.frames[::-1]),
        clip.pts_seconds,
        clip.frame_index,
        clip.source,
    )


def _frames(model: RetrievalModel) -> str:
    if not isinstance(model, ClipEncoder):
        return f"up to {model.max_frames}, one by one"
    count = model.frame_count
    return f"{'exactly' if count.exact else 'up to'} {count.frames}, as a clip"


def _what(model: RetrievalModel, state: dict[str, torch.Tensor]) -> str:
    kind = ""
    if "files" in state:
        config = json.loads(unpacked(state["files"]).get("config.json", b"{}"))
        kind = f", model_type {config.get('model_type')}" if config else ""
    return f"{type(model).__name__}{kind}"
