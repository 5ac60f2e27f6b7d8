"""A shortlist of rows by one vector each, how long it must be, and what it misses.

How far to look is found on some captions of the table, and what is then found measured on others:
of the ten best by the exact score, the part that the shortlist holds.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from reelvec.configs.indexing import IndexConfig
from reelvec.errors import RequestError
from reelvec.storage.derived import Derived
from reelvec.tasks.searching.lists import Lists, Matrix, Rows, lists_for, write_lists
from reelvec.tasks.searching.search import Ranking
from reelvec.tasks.searching.sorted_rows import SortedRows

__all__ = ["TOP", "Queries", "Shortlist", "make_shortlist"]

TOP = 10
"""Answers whose finding is measured."""
_FILE = "lists.faiss"
_TIMES = (1, 2, 5, 10, 20, 50, 100, 200, 400)
"""So many rows are on the shortlist for each answer."""
_LEAST = 10
"""Of these where scoring a row costs little beside finding it."""
_TUNE, _MEASURE = slice(0, None, 2), slice(1, None, 2)
"""Queries that say how far to look, and those on which it is then measured."""

Allowed = npt.NDArray[np.bool_]
Score = Callable[[Rows], npt.NDArray[np.floating[Any]]]


@dataclass(frozen=True, kw_only=True)
class Queries:
    """What is asked to measure.

    Attributes:
        vectors: unit [Q, D], Q at least 2.
        best: of each, the rows of the `TOP` best by the exact score (fewer in a small table).
        asked: what they are, for a person: captions, or videos.
        not_itself: of each, the row that it is itself; None: none of them is a row.
    """

    vectors: Matrix
    best: Sequence[Rows]
    asked: str
    not_itself: Rows | None = None


class Shortlist:
    """Which rows are worth an exact score.

    Attributes:
        facts: what was noted when it was made, with `recall` among it.
    """

    def __init__(self, made: Derived) -> None:
        self.facts: Mapping[str, Any] = made.facts
        self._lists = Lists(made.folder / _FILE) if made.facts["lists"] else None

    @property
    def length(self) -> int:
        """Rows on it for `TOP` answers."""
        return int(self.facts["times"]) * TOP

    @property
    def recall(self) -> float:
        """As it was measured."""
        return float(self.facts["recall"])

    @property
    def asked(self) -> str:
        """How it was measured, for a person."""
        return f"{self.facts['queries']:,} {self.facts['asked']}"

    def rows(self, vector: Matrix, *, wanted: int, allowed: Allowed) -> Rows:
        """Some rows for one query, ascending; all that are allowed where these are few.

        Where few are allowed, more lists are looked at, so that as many of them are compared.

        Args:
            vector: unit [1, D].
            wanted: answers.
            allowed: [N], which rows may be found.
        """
        there = int(allowed.sum())
        count = self.facts["times"] * max(wanted, TOP)
        if self._lists is None or there <= count:
            return np.flatnonzero(allowed)
        probes = -(-self.facts["probes"] * len(allowed) // there)
        query = cut(vector, self.facts["dimensions"])
        some = None if there == len(allowed) else allowed
        while True:
            (found,) = self._lists.near(query, count=count, probes=probes, allowed=some)
            found = found[found >= 0]
            if len(found) >= wanted or probes >= self._lists.count:
                return np.sort(found)
            probes *= 4

    def ranking(
        self, vector: Matrix, *, score: Score, keys: SortedRows, top: int, allowed: Allowed
    ) -> Ranking:
        """The `top` best of the shortlist by their exact scores; equal ones by key.

        Args:
            vector: of the query, unit [1, D].
            score: exact scores [n] of rows [n].
            keys: of the rows.
            top: at least 1.
            allowed: [N], which rows may be found.
        """
        rows = self.rows(vector, wanted=top, allowed=allowed)
        scores = score(rows) if len(rows) else np.zeros(0)
        finite = np.isfinite(scores)
        left_out = int((~finite).sum())
        order = np.lexsort((rows[finite], -scores[finite]))[:top]
        best = [
            (keys.key(int(row)), float(found))
            for row, found in zip(rows[finite][order], scores[finite][order], strict=True)
        ]
        there = int(allowed.sum())
        recall = self.recall if len(rows) < there else None
        return Ranking(
            best, left_out, videos=there, scored=len(rows), recall=recall, measured=self.asked
        )


def make_shortlist(
    folder: Path,
    *,
    rows: Rows,
    vectors: Callable[[Rows], Matrix],
    queries: Queries,
    settings: IndexConfig,
    product: bool,
) -> Mapping[str, Any]:
    """Writes the lists; how far they must be looked through, and what they then miss.

    Args:
        folder: that is filled.
        rows: of the table that have a vector, ascending.
        vectors: unit [n, D] of some of them.
        queries: that measure.
        settings: of the index.
        product: whether the exact score is the product of these vectors; else all are compared by
            their codes, and scoring costs more than finding.

    Raises:
        RequestError: what is wanted cannot be found.
    """
    known = {
        "dimensions": settings.dimensions,
        "queries": len(queries.best[1::2]),
        "asked": queries.asked,
    }
    if not len(rows):
        return {"lists": 0, "times": 1, "probes": 0, "recall": 1.0, "codes_alone": 1.0, **known}
    write_lists(
        folder / _FILE,
        rows=rows,
        vectors=lambda some: cut(vectors(some), settings.dimensions),
        lists=lists_for(len(rows)) if product else 1,
        numbers=settings.numbers,
    )
    trials = _Trials(Lists(folder / _FILE), queries, settings, product=product)
    times = trials.enough_times()
    probes = trials.enough_probes(times=times)
    return {
        "lists": trials.lists,
        "times": times,
        "probes": probes,
        "recall": trials.recall(_MEASURE, times=times, probes=probes),
        "codes_alone": trials.recall(_MEASURE, times=1, probes=trials.lists),
        **known,
    }


class _Trials:
    """How far an index must be looked through."""

    def __init__(
        self, index: Lists, queries: Queries, settings: IndexConfig, *, product: bool
    ) -> None:
        self._index, self._queries = index, queries
        self._settings, self._product = settings, product
        self._vectors = cut(queries.vectors, settings.dimensions)
        self.lists = index.count

    def enough_times(self) -> int:
        """Rows on the shortlist for each answer, when all are compared; one of `_TIMES`.

        Where scoring costs little, half of what may be missed is left for the lists.

        Raises:
            RequestError: the longest shortlist does not hold what is wanted.
        """
        wanted = self._settings.recall
        goal = (1 + wanted) / 2 if self._product else wanted
        longest = self._near(_TUNE, times=_TIMES[-1], probes=self.lists)
        found = {n: self._part(longest, _TUNE, times=n) for n in _TIMES}
        if found[_TIMES[-1]] < wanted:
            raise RequestError(_why_not(found[_TIMES[-1]], self._settings, product=self._product))
        least = _LEAST if self._product else 1
        enough = [n for n in _TIMES if n >= least and found[n] >= goal]
        return enough[0] if enough else _TIMES[-1]

    def enough_probes(self, *, times: int) -> int:
        """Lists that are looked at: a power of two, or all."""
        probes = 1
        while probes < self.lists:
            if self.recall(_TUNE, times=times, probes=probes) >= self._settings.recall:
                break
            probes = min(2 * probes, self.lists)
        return probes

    def recall(self, which: slice, *, times: int, probes: int) -> float:
        """Of the best of some queries, the part that is on their shortlists."""
        return self._part(self._near(which, times=times, probes=probes), which, times=times)

    def _near(self, which: slice, *, times: int, probes: int) -> list[Rows]:
        """Nearest first, themselves left out."""
        near = self._index.near(self._vectors[which], count=times * TOP + 1, probes=probes)
        own = self._queries.not_itself
        if own is None:
            return list(near)
        return [rows[rows != itself] for rows, itself in zip(near, own[which], strict=True)]

    def _part(self, near: Sequence[Rows], which: slice, *, times: int) -> float:
        best = self._queries.best[which]
        parts = [
            np.isin(rows, some[: times * TOP]).mean()
            for some, rows in zip(near, best, strict=True)
            if len(rows)
        ]
        return float(np.mean(parts)) if parts else 1.0


def _why_not(best: float, settings: IndexConfig, *, product: bool) -> str:
    remedy = "lower --recall"
    if settings.dimensions is not None:
        remedy += ", or keep more --dimensions"
    elif product:
        remedy += ", or keep --numbers float32"
    return (
        f"at most {best:.1%} of the ten best are among the {_TIMES[-1] * TOP:,} nearest by these"
        f" vectors, and {settings.recall:.1%} are wanted; {remedy}"
    )


def cut(vectors: Matrix, dimensions: int | None) -> Matrix:
    """The first so many numbers of vectors [n, D], made unit again; None: as they are."""
    if dimensions is None:
        return vectors
    short = vectors[:, :dimensions]
    length = np.linalg.norm(short, axis=1, keepdims=True)
    unit: Matrix = (short / np.maximum(length, np.finfo(np.float32).tiny)).astype(np.float32)
    return unit
