"""What bounded search derives from a table: files of numbers, a row a video, in order of the keys.

`column-*`: the columns the score reads, as they are stored; `whole-*` and `measures-*`: the vectors
whose products bound it, a byte a number; `facts` and `sure`: what else the bound keeps of a video.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor

from reelvec.models.bounding import ScoreBound
from reelvec.models.features import VideoFeatures
from reelvec.models.ranking.coarse import coarse
from reelvec.storage.commits.artifact import Snapshot
from reelvec.storage.tables import iter_tables
from reelvec.tasks.scoring.split_rows import tensors_of
from reelvec.tasks.searching.mapped import Mapped, new_matrix, placed_rows

__all__ = ["make_files", "mapped", "widened"]

_AT_ONCE = 512
"""Videos whose bounds are prepared at once."""


def make_files(
    embeddings: Snapshot, folder: Path, *, bound: ScoreBound, table: str
) -> Mapping[str, Any]:
    """Writes them of a table; the names of the columns and vectors, as lists."""
    place = placed_rows(embeddings, folder / "rows.arrow", table=table)
    columns = list(bound.video_columns)
    files: dict[str, Mapped] = {}
    start = 0
    for piece in iter_tables(embeddings, table, columns=columns):
        for first in range(0, piece.num_rows, _AT_ONCE):
            some = piece.slice(first, _AT_ONCE)
            to = place[start : start + some.num_rows]
            for name, values in _of_rows(some, bound=bound):
                array = values.contiguous().numpy()
                if name not in files:
                    shape = (len(place), *array.shape[1:])
                    files[name] = new_matrix(_path(folder, name), shape, dtype=array.dtype)
                files[name][to] = array
            start += some.num_rows
    for name, array in _without_rows() if not files else ():
        files[name] = new_matrix(_path(folder, name), array.shape, dtype=array.dtype)
    for file in files.values():
        file.flush()
    kinds = {"columns": "column-", "vectors": "whole-"}
    return {
        key: [name.removeprefix(kind) for name in files if name.startswith(kind)]
        for key, kind in kinds.items()
    }


def _of_rows(rows: pa.Table, *, bound: ScoreBound) -> Iterator[tuple[str, Tensor]]:
    stored = tensors_of(rows, list(bound.video_columns))
    yield from ((f"column-{name}", values) for name, values in stored.items())
    values = {name: widened(column) for name, column in stored.items()}
    with torch.inference_mode():
        kept = bound.kept(VideoFeatures.from_columns(values, columns=bound.video_columns))
        for name, vectors in kept.vectors.items():
            rounded = coarse(vectors)
            yield f"whole-{name}", rounded.whole
            yield f"measures-{name}", torch.stack(rounded[1:], dim=1)
    yield "facts", kept.facts
    yield "sure", kept.sure


def _without_rows() -> Iterator[tuple[str, np.ndarray[Any, Any]]]:
    yield "facts", np.zeros((0, 0))
    yield "sure", np.zeros(0, bool)


def _path(folder: Path, name: str) -> Path:
    return folder / f"{name}.npy"


def mapped(folder: Path, *name: str) -> Tensor:
    """A file of numbers, mapped; what is written to the tensor stays in memory."""
    return torch.from_numpy(np.load(_path(folder, "-".join(name)), mmap_mode="c"))


def widened(values: Tensor) -> Tensor:
    """Stored numbers as scores read them: floats as float32."""
    return values.float() if values.is_floating_point() else values
