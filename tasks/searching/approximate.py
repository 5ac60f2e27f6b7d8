"""Approximate search among unit vectors: a shortlist by an index of them, scored exactly.

The index is an artifact of its own identity: the table it is made of and how it was asked for. It
is derived from one snapshot and named after its content, so that it never answers for another; it
is made where it is missing, and anew once the table has changed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import torch
from pydantic import ValidationError

from reelvec.configs.indexing import IndexConfig
from reelvec.errors import RequestError
from reelvec.models.features import EMBEDDING
from reelvec.models.ranking.exact import exact_product
from reelvec.storage import layout
from reelvec.storage.commits.artifact import Snapshot
from reelvec.storage.derived import Derived, derive, note, noted
from reelvec.storage.tables import iter_tables
from reelvec.tasks.scoring.logits import Columns, one_thread
from reelvec.tasks.scoring.split_rows import tensors_of
from reelvec.tasks.searching.lists import Matrix, Rows, check_library
from reelvec.tasks.searching.mapped import allowed_rows
from reelvec.tasks.searching.search import Ranking
from reelvec.tasks.searching.shortlist import TOP, Queries, Shortlist, make_shortlist
from reelvec.tasks.searching.vectors import VectorIndex

__all__ = [
    "ApproximateIndex",
    "asked_captions",
    "derived_index",
    "keep_settings",
    "kept_settings",
]

RECIPE = 1
_SETTINGS = "index"
_QUERIES = 200
_FEWEST = 20
"""Captions with which finding can be measured; with fewer, videos ask for their neighbours."""


class ApproximateIndex:
    """The column `embedding` of a table at one snapshot; answers as `VectorIndex`, but for some.

    Args:
        exact: the vectors themselves.
        made: the index of them.

    Attributes:
        shortlist: finds rows by their codes.
    """

    def __init__(self, exact: VectorIndex, made: Derived) -> None:
        self._exact = exact
        self.shortlist = Shortlist(made)

    @classmethod
    def of(
        cls, embeddings: Snapshot, *, exact: VectorIndex, table: str, settings: IndexConfig
    ) -> ApproximateIndex:
        """The index of a table of a snapshot, made where it is not there.

        Raises:
            RequestError: FAISS is not installed, or no index of these settings finds what is
                wanted.
        """
        check_library()
        width = exact.vectors.shape[1]
        if settings.dimensions is not None and len(exact) and settings.dimensions > width:
            raise RequestError(
                f"--dimensions ({settings.dimensions}) is more than the {width} numbers of a vector"
            )

        def make(folder: Path) -> Mapping[str, Any]:
            finite = np.ones(len(exact), bool)
            finite[exact.left_out] = False
            return make_shortlist(
                folder,
                rows=np.flatnonzero(finite),
                vectors=lambda rows: np.array(exact.vectors[rows]),
                queries=_queries(embeddings, exact=exact, settings=settings),
                settings=settings,
                product=True,
            )

        made = derived_index(embeddings, table=table, settings=settings, stages=False, make=make)
        return cls(exact, made)

    def best(
        self,
        queries: Matrix,
        *,
        top: int,
        split: str | None = None,
        without: str | None = None,
        only: pa.Array | None = None,
    ) -> list[Ranking]:
        """As `VectorIndex.best`, of a shortlist alone."""
        queries = np.ascontiguousarray(queries, np.float32)
        allowed = allowed_rows(self._exact.rows.table, split=split, only=only)
        row = None if without is None else self._exact.rows.find(without)
        if row is not None:
            allowed[row] = False
        left_out = int(allowed[self._exact.left_out].sum())
        allowed[self._exact.left_out] = False
        found = (self._ranking(query[None], allowed, top=top) for query in queries)
        return [replace(one, not_finite=left_out, videos=one.videos + left_out) for one in found]

    def _ranking(self, query: Matrix, allowed: npt.NDArray[np.bool_], *, top: int) -> Ranking:
        def score(rows: Rows) -> npt.NDArray[np.floating[Any]]:
            with one_thread(), torch.inference_mode():
                vectors = torch.from_numpy(np.array(self._exact.vectors[rows]))
                scores: npt.NDArray[np.floating[Any]] = exact_product(
                    torch.from_numpy(query), vectors
                )[0].numpy()
                return scores

        return self.shortlist.ranking(
            query, score=score, keys=self._exact.rows, top=top, allowed=allowed
        )


def derived_index(
    embeddings: Snapshot,
    *,
    table: str,
    settings: IndexConfig,
    stages: bool,
    make: Callable[[Path], Mapping[str, Any]],
) -> Derived:
    """The files of an index of a table of a snapshot, made where they are not there.

    Args:
        embeddings: snapshot of the table.
        table: videos or windows.
        settings: of the index.
        stages: whether its vectors are none of the score's own.
        make: fills the folder it is given, and says what it wants noted.
    """
    identity = {
        "kind": "index",
        "recipe": RECIPE,
        "embeddings": embeddings.artifact.fingerprint,
        "snapshot": embeddings.checksum,
        "table": table,
        "stages": stages,
        "settings": settings.model_dump(mode="json"),
    }
    fingerprint = layout.fingerprint(identity)

    def noted_too(folder: Path) -> Mapping[str, Any]:
        return {**make(folder), "identity": identity, "fingerprint": fingerprint}

    return derive(embeddings, what=f"index-{fingerprint[:16]}", make=noted_too)


def keep_settings(embeddings: Snapshot, settings: IndexConfig) -> None:
    """Make them those of every approximate search of this table from now on."""
    note(embeddings.artifact, _SETTINGS, settings.model_dump(mode="json"))


def kept_settings(embeddings: Snapshot) -> IndexConfig:
    """Those kept last, else the defaults."""
    try:
        return IndexConfig.model_validate(noted(embeddings.artifact, _SETTINGS) or {})
    except ValidationError:  # of another version
        return IndexConfig()


def asked_captions(
    embeddings: Snapshot, *, columns: tuple[str, ...], count: int
) -> Iterator[Columns]:
    """Features of at most so many captions, [1, ...] each, evenly from the whole table."""
    step = max(1, embeddings.rows_of("captions") // max(1, count))
    place = given = 0
    for piece in iter_tables(embeddings, "captions", columns=list(columns)):
        rows = np.arange(-place % step, piece.num_rows, step)
        place += piece.num_rows
        values = tensors_of(piece.take(pa.array(rows)), columns)
        for row in range(len(rows)):
            query = {n: v[row : row + 1] for n, v in values.items()}
            query = {n: v.float() if v.is_floating_point() else v for n, v in query.items()}
            if given < count and all(bool(v.isfinite().all()) for v in query.values()):
                given += 1
                yield query


def _queries(embeddings: Snapshot, *, exact: VectorIndex, settings: IndexConfig) -> Queries:
    """Captions and their best; of a table with few of them, its own rows."""
    count = 2 * (settings.queries or _QUERIES)
    texts = list(asked_captions(embeddings, columns=(EMBEDDING,), count=count))
    itself: Rows | None = None
    if len(texts) >= _FEWEST:
        vectors = torch.cat([text[EMBEDDING] for text in texts]).numpy()
    else:
        there = np.setdiff1d(np.arange(len(exact)), exact.left_out)
        itself = there[:: max(1, len(there) // count)][:count]
        vectors = np.array(exact.vectors[itself])
    more = TOP + (itself is not None)
    found = exact.best(vectors, top=more)
    best = [np.array([exact.rows.place(key) for key, _ in one.best], np.int64) for one in found]
    if itself is not None:
        best = [rows[rows != own][:TOP] for rows, own in zip(best, itself, strict=True)]
    asked = "captions" if itself is None else "videos"
    return Queries(vectors=vectors, best=best, asked=asked, not_itself=itself)
