"""Matrices of a table's rows, mapped from files, and which rows are looked for."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from reelvec.storage.commits.artifact import Snapshot
from reelvec.storage.tables import iter_tables
from reelvec.tasks.searching.search import KEYS
from reelvec.tasks.searching.sorted_rows import write_sorted

__all__ = ["Mapped", "allowed_rows", "new_matrix", "placed_rows"]

Mapped = np.memmap[Any, np.dtype[Any]]


def new_matrix(path: Path, shape: tuple[int, ...], *, dtype: npt.DTypeLike = np.float32) -> Mapped:
    """A mapped file whose bytes are given away: else a full disk is a signal that kills."""
    matrix = np.lib.format.open_memmap(path, mode="w+", dtype=dtype, shape=shape)
    with path.open("r+b") as file:
        os.posix_fallocate(file.fileno(), 0, max(1, path.stat().st_size))
    return matrix


def placed_rows(
    embeddings: Snapshot, path: Path, *, table: str = "videos"
) -> npt.NDArray[np.int64]:
    """Writes key, split and video_id of each row in the order of the keys; where each row went.

    Returns:
        int64 [N]: row i of the table is row place[i] of the file.
    """
    names = list(dict.fromkeys([KEYS[table], "split", "video_id"]))
    pieces = iter_tables(embeddings, table, columns=names)
    schema = pa.schema([(name, pa.string()) for name in names])
    facts = [piece.replace_schema_metadata(None) for piece in pieces]
    order = write_sorted(path, pa.concat_tables([schema.empty_table(), *facts])).to_numpy()
    place = np.empty(len(order), np.int64)
    place[order] = np.arange(len(order))
    return place


def allowed_rows(
    rows: pa.Table, *, split: str | None, only: pa.Array | None
) -> npt.NDArray[np.bool_]:
    """Which rows [N] are of a split or of none, and of some ids; None: any."""
    allowed = np.ones(rows.num_rows, bool)
    if split is not None:
        wanted = pa.array([split, ""], pa.string())
        allowed &= pc.is_in(rows.column("split"), value_set=wanted).to_numpy()
    if only is not None:
        allowed &= pc.is_in(rows.column("video_id"), value_set=only).to_numpy()
    return allowed
