"""Rows through an encoder: frames or texts in, columns out.

A row's numbers do not depend on the rows it is encoded with, to the last bit. Rounding follows the
shapes of the matrices, so these follow from the row: on a CPU one video at once and eight texts, on
a GPU a whole batch, of as many frames or tokens each as the row has (padding is not encoded); where
such rows run out, the last one fills up. One thread a task, shards in parallel.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TypeVar

import numpy as np
import pyarrow as pa
import torch

from reelvec.configs.schema import EmbedConfig
from reelvec.models.family import RetrievalModel
from reelvec.models.features import EMBEDDING, Columns, Features, TextFeatures, VideoFeatures
from reelvec.models.frozen.clips import Clip, ClipEncoder
from reelvec.storage.frames.contract import FrameSource
from reelvec.storage.frames.sound import SoundReader
from reelvec.tasks.embedding import clip_calls
from reelvec.tasks.embedding.encoder import Encoder
from reelvec.tasks.identity import rows_see_each_other
from reelvec.tasks.training.data import seen_in_evaluation

__all__ = [
    "encode_captions",
    "encode_videos",
    "with_vectors",
]

F = TypeVar("F", bound=Features)

TEXTS_A_VIDEO = 16
"""Captions are encoded so many times more at once than videos."""
_VIDEOS_ON_CPU = 1
"""The frames of one video are matrices large enough to be fast."""
_TEXTS_ON_CPU = 8
"""As fast as hundreds. Of products of a multiple of eight rows, each row is the same wherever it
stands; of other shapes the last rows are rounded otherwise (MKL)."""
TOKENS_A_CALL = 4096
"""Of texts, padding among them, of a model whose texts may be thousands of tokens long."""


@torch.inference_mode()
def encode_videos(
    encoder: Encoder,
    reader: FrameSource,
    keys: Sequence[str],
    *,
    options: EmbedConfig,
    sounds: SoundReader | None = None,
) -> dict[str, pa.Array]:
    """Feature columns of clips, one row each in the order of `keys`.

    Args:
        encoder: of a model.
        reader: of their frames.
        keys: of the clips.
        options: how they are encoded.
        sounds: for a model that hears; clips that are not in it have null in columns of sound.

    Returns:
        name -> fixed-size list column [len(keys)]; and `frames_used`, int32.
    """
    _one_thread(encoder)
    model = encoder.model
    stored = zip(keys, reader.lengths(keys), strict=True)
    picks = [_picks(encoder, stored=int(n), key=key) for key, n in stored]
    used = np.array([len(pick) for pick in picks], dtype=np.int32)

    def clip(row: int) -> Clip:
        found = clip_calls.clip_of(reader.clip(keys[row], picks[row]), device=encoder.device)
        return clip_calls.with_sound(found, sounds, key=keys[row])

    def encode(rows: np.ndarray) -> VideoFeatures:
        if isinstance(model, ClipEncoder):
            clips = {row: clip(row) for row in dict.fromkeys(rows.tolist())}
            return encoder.encode_clips([clips[row] for row in rows.tolist()])
        chosen = [keys[row] for row in rows]
        given = _gather(encoder, reader, chosen, picks=[picks[row] for row in rows])
        return encoder.encode_video(**model.prepare(*given))

    if isinstance(model, ClipEncoder):
        shared = options.batch_size if clip_calls.shares(encoder.device) else 1
        blocks = clip_calls.clip_blocks(model, reader, keys, used=used, batch=shared)
    else:
        blocks = _blocks(encoder, used, batch=options.batch_size, on_cpu=_VIDEOS_ON_CPU)
    features = _by_blocks(encoder, encode, blocks, rows=len(keys))
    columns = _columns(
        features, model.video_columns, kind=VideoFeatures, model=model, dtype=options.dtype
    )
    silent = np.array([sounds is None or key not in sounds for key in keys], bool)
    columns |= {
        name: _without(columns[name], silent)
        for name, column in model.video_columns.items()
        if column.optional
    }
    return columns | {"frames_used": pa.array(used)}


def _without(column: pa.Array, rows: np.ndarray) -> pa.Array:
    """The column with null in these rows."""
    return pa.FixedSizeListArray.from_arrays(
        column.flatten(), column.type.list_size, mask=pa.array(rows)
    )


def _picks(encoder: Encoder, *, stored: int, key: str) -> np.ndarray:
    """Positions among a clip's stored frames, in the order the model sees them."""
    seen = seen_in_evaluation(encoder.config)
    if isinstance(encoder.model, ClipEncoder) and encoder.model.frame_count.exact:
        exact = encoder.model.frame_count.picks(stored)
        return exact[seen.picks(len(exact), clip=key)]
    return seen.picks(stored, clip=key)


def _gather(
    encoder: Encoder, reader: FrameSource, keys: Sequence[str], *, picks: Sequence[np.ndarray]
) -> tuple[torch.Tensor, torch.Tensor]:
    """A uint8 batch [V, F, S, S, 3] and its mask [V, F], on the encoder's device."""
    side, count = encoder.model.image_size, encoder.config.max_frames
    batch = np.zeros((len(keys), count, side, side, 3), dtype=np.uint8)
    reader.gather(keys, picks=picks, out=batch)
    mask = np.zeros((len(keys), count), dtype=np.int64)
    for row, pick in enumerate(picks):
        mask[row, : len(pick)] = 1
    return (
        torch.from_numpy(batch).to(encoder.device),
        torch.from_numpy(mask).to(encoder.device),
    )


@torch.inference_mode()
def encode_captions(
    encoder: Encoder, texts: Sequence[str], *, options: EmbedConfig
) -> dict[str, pa.Array]:
    """Feature columns of texts: name -> fixed-size list column [len(texts)]."""
    _one_thread(encoder)
    model = encoder.model
    tokens = model.tokenize(texts)

    def encode(rows: np.ndarray) -> TextFeatures:
        return encoder.encode_text(tokens[rows].to(encoder.device))

    lengths = model.caption_lengths(tokens).numpy()
    batch = options.batch_size * TEXTS_A_VIDEO
    tokens_a_call = TOKENS_A_CALL if isinstance(model, ClipEncoder) else None
    blocks = _blocks(encoder, lengths, batch=batch, on_cpu=_TEXTS_ON_CPU, most_tokens=tokens_a_call)
    features = _by_blocks(encoder, encode, blocks, rows=len(texts))
    return _columns(
        features, model.text_columns, kind=TextFeatures, model=model, dtype=options.dtype
    )


def _blocks(
    encoder: Encoder,
    lengths: np.ndarray,
    *,
    batch: int,
    on_cpu: int,
    most_tokens: int | None = None,
) -> Iterator[np.ndarray]:
    """Positions of the rows of every call of the model, all calls of one number.

    Args:
        encoder: whose rows may see each other: then they are batched as they stand.
        lengths: how many frames or tokens of each row are encoded. Only rows of equal length share
            a call, and the last row fills up the last call, so that shapes follow from the row.
        batch: rows of a call.
        on_cpu: rows of a call on a CPU.
        most_tokens: of all rows of a call; one row is encoded however long it is.
    """
    if rows_see_each_other(encoder.config):
        yield from np.split(np.arange(len(lengths)), range(batch, len(lengths), batch))
        return
    size = on_cpu if encoder.device.type == "cpu" else batch
    for length in np.unique(lengths).tolist():
        fit = size if most_tokens is None else max(1, min(size, most_tokens // max(1, length)))
        rows = np.flatnonzero(lengths == length)
        yield from clip_calls.filled(rows, fit)


def _by_blocks(
    encoder: Encoder,
    encode: Callable[[np.ndarray], Features],
    blocks: Iterable[np.ndarray],
    *,
    rows: int,
) -> dict[str, torch.Tensor]:
    """Features of all rows, in their order, on the CPU; nothing without a row."""
    whole: dict[str, torch.Tensor] = {}
    for block in blocks if rows else ():
        for name, part in with_vectors(encoder.model, encode(block)).tensors.items():
            if name not in whole:
                whole[name] = part.new_empty((rows, *part.shape[1:]), device="cpu")
            whole[name][block] = part.to("cpu")
    return whole


def with_vectors(model: RetrievalModel, features: F) -> F:
    """`features` with `embedding` the whole unit vector, where the score is a dot product.

    A family may have a column of that name that is only a part of it (one of two weighted scores).
    """
    if not model.is_dot_product:
        return features
    if isinstance(features, VideoFeatures):
        vectors = model.video_vectors(features)
    else:
        vectors = model.text_vectors(TextFeatures(features.tensors))
    return type(features)({**features.tensors, EMBEDDING: vectors})


def _one_thread(encoder: Encoder) -> None:
    if encoder.device.type == "cpu":
        torch.set_num_threads(1)


def _columns(
    tensors: Mapping[str, torch.Tensor],
    columns: Columns,
    *,
    kind: type[F],
    model: RetrievalModel,
    dtype: str,
) -> dict[str, pa.Array]:
    """Arrow columns of all rows; without a row, none of the same columns."""
    whole = kind(tensors) if tensors else with_vectors(model, _one_row(kind, columns))
    exact = {name for name, column in columns.items() if column.kind == "exact"}
    flat = whole.to(dtype=getattr(torch, dtype), exact=exact).columns()
    arrays = {name: _fixed_size_list(values.numpy()) for name, values in flat.items()}
    return arrays if tensors else {name: array.slice(0, 0) for name, array in arrays.items()}


def _one_row(kind: type[F], columns: Columns) -> F:
    types = {"float": torch.float32, "exact": torch.float32, "integer": torch.int64}
    return kind({n: torch.ones(1, *c.shape, dtype=types[c.kind]) for n, c in columns.items()})


def _fixed_size_list(flat: np.ndarray) -> pa.Array:
    """[N, D] as a fixed-size list column."""
    values = pa.array(flat.reshape(-1))
    return pa.FixedSizeListArray.from_arrays(values, flat.shape[1])
