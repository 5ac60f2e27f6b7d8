"""Exact search among unit vectors: one pass of float32 products, and the exact score of the few.

The vectors of a table lie in one matrix, in the order of their ids, mapped from a file. A float32
product is off by no more than a known bound, so whatever can be among the best is within twice that
bound of the k-th best product; these rows alone are scored exactly. The answers are those of the
exact score of every row, to the last bit (tests/tasks/searching/test_vectors.py).
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import torch

from reelvec.errors import RequestError
from reelvec.models.features import EMBEDDING
from reelvec.models.ranking.exact import exact_product
from reelvec.storage.commits.artifact import Snapshot
from reelvec.storage.derived import Derived, derive
from reelvec.storage.tables import iter_tables
from reelvec.tasks.scoring.logits import one_thread
from reelvec.tasks.scoring.split_rows import check_columns, tensors_of
from reelvec.tasks.searching.mapped import Mapped, allowed_rows, new_matrix, placed_rows
from reelvec.tasks.searching.search import Ranking
from reelvec.tasks.searching.sorted_rows import SortedRows

__all__ = ["VectorIndex", "unit_queries"]

_BLOCK_ROWS = 8192
"""Rows of one product: what stays in a processor's cache beside the queries."""
_SCORES_AT_ONCE = 1 << 25
"""Products held at once, of some queries with all rows: 128 MiB."""
_ROUNDING = 2.0**-23
"""Twice the rounding of one float32 operation; a product of D numbers has D of them."""
_UNIT = 1e-3
"""How far from 1 the length of a unit vector in float16 may be."""
_SQUARED = 1e150
"""Numbers below it, and above its inverse, can be squared in float64."""

Matrix = npt.NDArray[np.float32]
Best = list[tuple[str, float]]


class VectorIndex:
    """A column of unit vectors of a table at one snapshot, as one mapped matrix.

    Attributes:
        vectors: float32 [N, D], in the order of the keys; rows that are not finite are zero.
        rows: key, split and video_id of each.
        left_out: rows that are not finite, and have no place in any order.
        absent: rows that have no vector (null), as films without sound; they are no answers.
    """

    def __init__(self, made: Derived) -> None:
        self.vectors: Matrix = np.load(made.folder / "vectors.npy", mmap_mode="r")
        self.rows = SortedRows(made.folder / "rows.arrow")
        self.left_out: npt.NDArray[np.int64] = np.load(made.folder / "left-out.npy")
        self.absent: npt.NDArray[np.int64] = np.load(made.folder / "absent.npy")
        self._longest = float(made.facts["longest"])

    @classmethod
    def of(
        cls, embeddings: Snapshot, *, table: str = "videos", column: str = EMBEDDING
    ) -> VectorIndex:
        """The index of a table of a snapshot, made where it is not there.

        Raises:
            MissingColumnError: the family's score is no product of unit vectors.
        """
        check_columns(embeddings, table=table, features=[column])
        what = "vectors" if table == "videos" else f"vectors-of-{table}"
        what += "" if column == EMBEDDING else f"-{column}"

        def make(folder: Path) -> Mapping[str, Any]:
            return _make(embeddings, folder, table=table, column=column)

        return cls(derive(embeddings, what=what, make=make))

    def vector(self, video_id: str) -> Matrix | None:
        """The vector of a video, [1, D]; None: it has no row that could be searched with."""
        row = self.rows.find(video_id)
        if row is None or row in self.left_out or row in self.absent:
            return None
        return np.array(self.vectors[row : row + 1])

    def best(
        self,
        queries: Matrix,
        *,
        top: int,
        split: str | None = None,
        without: str | None = None,
        only: pa.Array | None = None,
    ) -> list[Ranking]:
        """The `top` nearest rows of each query, best first; equal scores by id.

        Args:
            queries: float32 [Q, D], finite.
            top: at least 1.
            split: rows of this split and of none; None: all.
            without: a video that is not looked for.
            only: ids of the videos that are looked for; None: all.
        """
        queries = np.ascontiguousarray(queries, np.float32)
        allowed = self._allowed(split, without, only)
        allowed[self.absent] = False
        left_out = int(allowed[self.left_out].sum()) if len(self) else 0
        allowed[self.left_out] = False
        at_once = max(1, _SCORES_AT_ONCE // max(1, len(self)))
        found = []
        for start in range(0, len(queries), at_once):
            some = queries[start : start + at_once]
            products = self._products(some)
            if not allowed.all():
                products[:, ~allowed] = -np.inf
            count = int(allowed.sum())
            for query, scores in zip(some, products, strict=True):
                best, scored = self._exactly(query, scores, top=min(top, count))
                videos = count + left_out
                found.append(Ranking(best, left_out, videos=videos, scored=scored))
        return found

    def __len__(self) -> int:
        return len(self.vectors)

    def _allowed(
        self, split: str | None, without: str | None, only: pa.Array | None
    ) -> npt.NDArray[np.bool_]:
        allowed = allowed_rows(self.rows.table, split=split, only=only)
        row = None if without is None else self.rows.find(without)
        if row is not None:
            allowed[row] = False
        return allowed

    def _products(self, queries: Matrix) -> Matrix:
        """[Q, N], each within `_bound` of the exact score."""
        products = np.empty((len(queries), len(self)), np.float32)
        for start in range(0, len(self), _BLOCK_ROWS):
            block = self.vectors[start : start + _BLOCK_ROWS]
            np.matmul(queries, block.T, out=products[:, start : start + len(block)])
        return products

    def _bound(self, query: Matrix) -> float:
        """How far a product may be from the exact score of the same two vectors.

        The sum of D products has at most D roundings, each of the sum of their sizes, which is at
        most the product of the lengths; sixteen more are for the exact score's own steps of 2^-26.
        """
        length = max(1.0, self._longest) * max(1.0, float(np.linalg.norm(query)))
        return float((self.vectors.shape[1] + 16) * _ROUNDING * length)

    def _exactly(self, query: Matrix, scores: Matrix, *, top: int) -> tuple[Best, int]:
        """The `top` rows of the highest exact scores, and how many were scored exactly."""
        if top < 1:
            return [], 0
        least = np.partition(scores, len(scores) - top)[len(scores) - top]
        rows = np.flatnonzero(scores >= least - 2 * self._bound(query))
        best: list[tuple[float, int]] = []
        with one_thread(), torch.inference_mode():
            text = torch.from_numpy(np.array(query)[None])
            for start in range(0, len(rows), _BLOCK_ROWS):
                some = rows[start : start + _BLOCK_ROWS]
                exact = exact_product(text, torch.from_numpy(self.vectors[some]))[0].tolist()
                best = sorted(
                    [*best, *zip((-score for score in exact), some.tolist(), strict=True)]
                )
                best = best[:top]
        return [(self.rows.key(row), -score) for score, row in best], len(rows)


def _make(embeddings: Snapshot, folder: Path, *, table: str, column: str) -> Mapping[str, Any]:
    place = placed_rows(embeddings, folder / "rows.arrow", table=table)
    vectors: Mapped | None = None
    left_out, longest, start = [np.zeros(0, np.int64)], 0.0, 0
    absent = [np.zeros(0, np.int64)]
    for piece in iter_tables(embeddings, table, columns=[column]):
        values = tensors_of(piece, [column])[column].float().numpy()
        null = piece.column(column).is_null().to_numpy()
        if vectors is None:
            vectors = new_matrix(folder / "vectors.npy", (len(place), values.shape[1]))
        to = place[start : start + len(values)]
        finite = np.isfinite(values).all(axis=1)
        values[~finite] = 0.0
        left_out.append(to[~finite & ~null])
        absent.append(to[null])
        longest = max(longest, float(np.linalg.norm(values, axis=1).max(initial=0.0)))
        vectors[to] = values
        start += len(values)
    if vectors is None:
        vectors = new_matrix(folder / "vectors.npy", (0, 0))
    vectors.flush()
    np.save(folder / "left-out.npy", np.sort(np.concatenate(left_out)))
    np.save(folder / "absent.npy", np.sort(np.concatenate(absent)))
    return {"longest": longest}


def unit_queries(vectors: npt.NDArray[np.generic], *, width: int | None) -> Matrix:
    """Somebody's vectors [Q, D] as unit vectors, float32; of unit ones every bit stays.

    Args:
        vectors: floats of any kind.
        width: numbers of a vector that can be compared; None: any.

    Raises:
        RequestError: no row, another width, or a row without a direction, which is named.
    """
    if vectors.ndim != 2 or not vectors.size or (width is not None and vectors.shape[1] != width):
        raise RequestError(
            f"the vectors are {list(vectors.shape)}; they must be [Q, {width or 'D'}], Q >= 1,"
            " as the column embedding of the run's tables"
        )
    if not np.issubdtype(vectors.dtype, np.floating):
        raise RequestError(f"the vectors are {vectors.dtype}; they must be floats")
    wide = vectors.astype(np.float64)
    largest = np.abs(wide).max(axis=1, keepdims=True)
    for wrong, words in (
        (
            ~np.isfinite(largest),
            "holds NaN or infinity, and is near to nothing; leave it out",
        ),
        (largest == 0, "is zero and has no direction to search in; leave it out"),
    ):
        if wrong.any():
            raise RequestError(f"the vector of row {int(np.argmax(wrong))} {words}")
    wide /= np.where((largest > 1 / _SQUARED) & (largest < _SQUARED), 1.0, largest)
    length = np.linalg.norm(wide, axis=1, keepdims=True)
    length[np.abs(length - 1) < _UNIT] = 1.0  # one of ours: its bits are those of the table
    queries: Matrix = (wide / length).astype(np.float32)
    return queries
