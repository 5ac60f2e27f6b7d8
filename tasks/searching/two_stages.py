"""Search in two stages by a score that looks at the query: a shortlist by one vector, then scores.

The vectors (models/whole_vectors.py) are none of the score's own; how long the shortlist must be is
found with captions of the table, and what it misses measured with others.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import torch
from torch import Tensor

from reelvec.configs.indexing import IndexConfig
from reelvec.errors import RequestError
from reelvec.storage.commits.artifact import Snapshot
from reelvec.storage.derived import Derived, derive
from reelvec.storage.tables import iter_tables
from reelvec.tasks.scoring.logits import Columns, Scoring, one_thread
from reelvec.tasks.scoring.split_rows import check_columns, tensors_of
from reelvec.tasks.searching.approximate import asked_captions, derived_index
from reelvec.tasks.searching.bounded import BoundedIndex
from reelvec.tasks.searching.bounded_files import mapped, widened
from reelvec.tasks.searching.lists import Matrix, Rows, check_library
from reelvec.tasks.searching.mapped import Mapped, allowed_rows, new_matrix, placed_rows
from reelvec.tasks.searching.search import Ranking, best_videos, check_query
from reelvec.tasks.searching.shortlist import TOP, Queries, Shortlist, make_shortlist
from reelvec.tasks.searching.sorted_rows import SortedRows

__all__ = ["TwoStageIndex"]

_QUERIES = 20
_AT_ONCE = 512

Exact = Callable[[Columns], Ranking]
"""The `TOP` best of a query, of all rows."""


class TwoStageIndex:
    """A table at one snapshot, for one model's score.

    Args:
        columns: what the score reads.
        made: the index of their vectors.
        scoring: of the model.

    Attributes:
        shortlist: finds rows by their vectors.
    """

    def __init__(self, columns: ColumnRows, made: Derived, *, scoring: Scoring) -> None:
        self._columns, self._scoring = columns, scoring
        self.shortlist = Shortlist(made)

    @classmethod
    def of(
        cls, embeddings: Snapshot, *, table: str, scoring: Scoring, settings: IndexConfig
    ) -> TwoStageIndex:
        """The index of a table of a snapshot, made where it is not there.

        Raises:
            RequestError: FAISS is not installed, the model or the table gives nothing to make or
                measure it with, or none of these settings finds what is wanted.
            MissingColumnError: the table lacks the columns the score reads.
        """
        check_library()
        columns = ColumnRows.of(embeddings, table=table, scoring=scoring)
        bounded = None
        if scoring.bound is not None:
            bounded = BoundedIndex.of(embeddings, scoring=scoring, bound=scoring.bound, table=table)

        def exact(query: Columns) -> Ranking:
            if bounded is not None:
                return bounded.best(query, top=TOP)
            return best_videos(query, embeddings=embeddings, top=TOP, scoring=scoring, table=table)

        def make(folder: Path) -> Mapping[str, Any]:
            return make_shortlist(
                folder,
                rows=columns.finite(),
                vectors=columns.vectors,
                queries=_queries(
                    embeddings, rows=columns.rows, scoring=scoring, exact=exact, settings=settings
                ),
                settings=settings,
                product=False,
            )

        made = derived_index(embeddings, table=table, settings=settings, stages=True, make=make)
        return cls(columns, made, scoring=scoring)

    def best(
        self, query: Columns, *, top: int, split: str | None = None, only: pa.Array | None = None
    ) -> Ranking:
        """The `top` best rows of a shortlist, best first; equal scores by id.

        Args:
            query: features of one text.
            top: at least 1.
            split: rows of this split and of none; None: all.
            only: ids of the videos that are looked for; None: all.

        Raises:
            RequestError: the query itself is not finite.
        """
        check_query(query)
        rows = self._columns.rows
        return self.shortlist.ranking(
            _text_vector(query, scoring=self._scoring),
            score=lambda some: self._columns.scores(query, some),
            keys=rows,
            top=top,
            allowed=allowed_rows(rows.table, split=split, only=only),
        )


class ColumnRows:
    """The columns that a score reads, mapped.

    Attributes:
        rows: key, split and video_id of each.
    """

    def __init__(self, made: Derived, *, scoring: Scoring) -> None:
        self._scoring = scoring
        self.rows = SortedRows(made.folder / "rows.arrow")
        self._columns = {name: mapped(made.folder, name) for name in made.facts["columns"]}

    @classmethod
    def of(cls, embeddings: Snapshot, *, table: str, scoring: Scoring) -> ColumnRows:
        """Those of a table of a snapshot, made where they are not there."""
        check_columns(embeddings, table=table, features=scoring.video_columns)

        def make(folder: Path) -> Mapping[str, Any]:
            return _make(embeddings, folder, table=table, scoring=scoring)

        return cls(derive(embeddings, what=f"columns-of-{table}", make=make), scoring=scoring)

    def scores(self, query: Columns, rows: Rows) -> npt.NDArray[np.float64]:
        """Exact scores [n] of some rows."""
        with one_thread(), torch.inference_mode():
            return self._scoring.similarity(query, self._some(rows))[0].double().numpy()

    def vectors(self, rows: Rows) -> Matrix:
        """Unit vectors [n, D] of some rows.

        Raises:
            RequestError: the model gives none.
        """
        found = self._scoring.video_vectors
        vectors = found(self._some(rows)) if found is not None else None
        if vectors is None:
            raise RequestError(_NO_VECTOR)
        return vectors.numpy()

    def finite(self) -> Rows:
        """Rows with a vector, ascending."""
        there = [np.zeros(0, np.int64)]
        for start in range(0, len(self.rows), _AT_ONCE):
            some = np.arange(start, min(start + _AT_ONCE, len(self.rows)))
            there.append(some[np.isfinite(self.vectors(some)).all(axis=1)])
        return np.concatenate(there)

    def _some(self, rows: Rows) -> dict[str, Tensor]:
        return {name: widened(x[torch.from_numpy(rows)]) for name, x in self._columns.items()}


_NO_VECTOR = (
    "the columns of this model have no vector of a whole video or text (embedding, sentence, video,"
    " words or frames); search without --approximate"
)


def _text_vector(query: Columns, *, scoring: Scoring) -> Matrix:
    """Unit [1, D].

    Raises:
        RequestError: the model gives none.
    """
    found = scoring.text_vectors
    vector = found(query) if found is not None else None
    if vector is None:
        raise RequestError(_NO_VECTOR)
    return vector.numpy()


def _queries(
    embeddings: Snapshot,
    *,
    rows: SortedRows,
    scoring: Scoring,
    exact: Exact,
    settings: IndexConfig,
) -> Queries:
    """Captions and their best.

    Raises:
        RequestError: the table has fewer than two.
    """
    count = 2 * (settings.queries or _QUERIES)
    texts = list(asked_captions(embeddings, columns=scoring.text_columns, count=count))
    if len(texts) < 2:
        raise RequestError(
            f"the table has {len(texts)} captions; what two stages miss is measured with captions,"
            " two at least: search without --approximate"
        )
    vectors = np.concatenate([_text_vector(text, scoring=scoring) for text in texts])
    best = [np.array([rows.place(key) for key, _ in exact(text).best], np.int64) for text in texts]
    return Queries(vectors=vectors, best=best, asked="captions")


def _make(embeddings: Snapshot, folder: Path, *, table: str, scoring: Scoring) -> Mapping[str, Any]:
    place = placed_rows(embeddings, folder / "rows.arrow", table=table)
    names = list(scoring.video_columns)
    files: dict[str, Mapped] = {}
    start = 0
    for piece in iter_tables(embeddings, table, columns=names):
        to = place[start : start + piece.num_rows]
        for name, values in tensors_of(piece, names).items():
            array = values.numpy()
            if name not in files:
                shape = (len(place), *array.shape[1:])
                files[name] = new_matrix(folder / f"{name}.npy", shape, dtype=array.dtype)
            files[name][to] = array
        start += piece.num_rows
    for file in files.values():
        file.flush()
    return {"columns": list(files)}
