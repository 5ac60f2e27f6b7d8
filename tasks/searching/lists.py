"""Unit vectors in lists of near ones, a byte a number or as they are: FAISS' inverted file.

A query is compared with the vectors of the few lists whose middles are nearest to it. The file is
mapped, so that a process holds the middles and what it looks at. One thread, so that equal vectors
give equal files and answers.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from reelvec.errors import RequestError

__all__ = ["Lists", "Matrix", "Rows", "check_library", "lists_for", "write_lists"]

Matrix = npt.NDArray[np.float32]
Rows = npt.NDArray[np.int64]

_BLOCK_ROWS = 16_384
_SAMPLE = 64
"""Vectors a list from which the middles are found."""
_ROUNDS = 10
"""Of k-means."""
_LEAST = 32
"""Vectors a list at least; fewer rows than a few lists hold are compared one by one."""
_SEED = 1


def check_library() -> None:
    """Say what is missing before anything is computed.

    Raises:
        RequestError: FAISS is not installed.
    """
    try:
        import faiss  # noqa: F401
    except ImportError:
        raise RequestError(
            "an approximate index needs FAISS, which is not installed: pip install 'reelvec[index]'"
        ) from None


def lists_for(rows: int) -> int:
    """How many lists so many vectors get."""
    return max(1, min(math.isqrt(4 * rows), rows // _LEAST))


def write_lists(
    path: Path,
    *,
    rows: Rows,
    vectors: Callable[[Rows], Matrix],
    lists: int,
    numbers: Literal["int8", "float32"],
) -> None:
    """Writes an index of some rows; it is in memory while it is made.

    Args:
        path: a file that is not there.
        rows: of the table, ascending, one at least.
        vectors: unit vectors [n, D] of some of them.
        lists: at most as many as there are rows.
        numbers: how they are kept.
    """
    faiss = _library()
    picked = np.random.default_rng(_SEED).permutation(len(rows))[: _SAMPLE * lists]
    sample = vectors(rows[np.sort(picked)])
    code = {"int8": "SQ8", "float32": "Flat"}[numbers]
    with _one_thread():
        index = faiss.index_factory(
            sample.shape[1], f"IVF{lists},{code}", faiss.METRIC_INNER_PRODUCT
        )
        index.cp.min_points_per_centroid = 1
        index.cp.max_points_per_centroid = _SAMPLE
        index.cp.niter = _ROUNDS
        index.cp.seed = _SEED
        index.train(sample)
        for start in range(0, len(rows), _BLOCK_ROWS):
            some = rows[start : start + _BLOCK_ROWS]
            index.add_with_ids(vectors(some), some)
        faiss.write_index(index, str(path))


class Lists:
    """An index of `write_lists`, mapped.

    Attributes:
        count: of lists.
    """

    def __init__(self, path: Path) -> None:
        faiss = _library()
        self._index: Any = faiss.read_index(str(path), faiss.IO_FLAG_MMAP | faiss.IO_FLAG_READ_ONLY)
        self.count = int(self._index.nlist)

    def near(
        self,
        queries: Matrix,
        *,
        count: int,
        probes: int,
        allowed: npt.NDArray[np.bool_] | None = None,
    ) -> Rows:
        """Rows [Q, count] that are nearest by their codes, nearest first; -1 where there are fewer.

        Args:
            queries: unit vectors [Q, D].
            count: at least 1.
            probes: lists that are looked at, of each query.
            allowed: [N], which rows may be found; None: all.
        """
        faiss, selector = _library(), None
        if allowed is not None:
            bits = np.packbits(allowed, bitorder="little")
            selector = faiss.IDSelectorBitmap(bits)
        parameters = faiss.SearchParametersIVF(nprobe=min(probes, self.count), sel=selector)
        with _one_thread():
            _, rows = self._index.search(np.ascontiguousarray(queries), count, params=parameters)
        found: Rows = rows
        return found


def _library() -> Any:
    """FAISS; its stubs do not know half of what is used here."""
    import faiss

    return faiss


@contextmanager
def _one_thread() -> Iterator[None]:
    faiss = _library()
    before = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(1)
    try:
        yield
    finally:
        faiss.omp_set_num_threads(before)
