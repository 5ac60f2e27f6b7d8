"""Searches in the tables of one run, at snapshots that stay as they are."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import cached_property, partial
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from reelvec.configs.indexing import IndexConfig
from reelvec.errors import RequestError
from reelvec.models.bounding import ScoreBound
from reelvec.models.features import EMBEDDING
from reelvec.storage.commits.artifact import Snapshot
from reelvec.storage.frames.reader import FrameReader
from reelvec.storage.tables import iter_tables
from reelvec.tasks.embedding.rows import WINDOWS
from reelvec.tasks.scoring.logits import Columns, Scoring, dot_product
from reelvec.tasks.searching.approximate import ApproximateIndex
from reelvec.tasks.searching.bounded import BoundedIndex
from reelvec.tasks.searching.places import VideosById, frames_by_clip
from reelvec.tasks.searching.plane import Points, points_of
from reelvec.tasks.searching.search import (
    Answers,
    Ranking,
    answers_of,
    answers_with,
    best_videos,
    check_query,
)
from reelvec.tasks.searching.two_stages import TwoStageIndex
from reelvec.tasks.searching.vectors import VectorIndex, unit_queries
from reelvec.tasks.searching.windows import WindowsById, best_apart, window_row

__all__ = ["Searcher"]


class Searcher:
    """Ranks the videos of a table; what it needs is opened once and stays open.

    Where the run cut its files into windows, these are ranked (`like` compares whole videos).
    Scores that are a product of vectors come from one mapped matrix (`VectorIndex`), scores with a
    bound from `BoundedIndex`, others from the table, block by block. Not for several threads at
    once.

    Args:
        embeddings: snapshot whose table `videos` or `windows` is searched.
        corpus: snapshot that says where the videos are.
        frames: snapshot that says when the stored frames are; None leaves the times out.
        times: whether answers say when; else frames are there for who asks for them.
        whole: whole videos are ranked, also where there are windows.
        index: of approximate searches; None: they are exact.
        column: of unit vectors that is searched; videos without one are no answers.

    Attributes:
        table: what is ranked, `videos` or `windows`.
        column: whose vectors are compared.
    """

    def __init__(
        self,
        embeddings: Snapshot,
        *,
        corpus: Snapshot,
        frames: Snapshot | None = None,
        times: bool = True,
        whole: bool = False,
        index: IndexConfig | None = None,
        column: str = EMBEDDING,
    ) -> None:
        self._embeddings = embeddings
        self._settings = index
        self.column = column
        self._corpus = corpus
        self._frames = frames
        self._times = times
        self.table = WINDOWS if embeddings.rows_of(WINDOWS) and not whole else "videos"
        self._last: tuple[ScoreBound, BoundedIndex] | None = None
        self._stages: tuple[Scoring, TwoStageIndex] | None = None
        self._index: ApproximateIndex | None = None

    def best(
        self,
        queries: Sequence[Columns],
        *,
        scoring: Scoring,
        top: int,
        split: str | None = None,
        only: pa.Array | None = None,
        at_most: int | None = None,
    ) -> list[Answers]:
        """The `top` videos, of `only` these ids, for the features of each text.

        Where the score allows it, one product serves several texts.

        Raises:
            RequestError: `at_most` are to be scored, and the score has no bound to choose them by.
        """
        if at_most is not None and scoring.bound is None:
            raise RequestError(
                f"no more than {at_most:,} videos were to be scored, and the score of this run's"
                " family has no bound to choose them by; leave it out"
            )
        options: dict[str, Any] = {"top": top, "split": split, "only": only}
        if scoring.video_columns == (EMBEDDING,):
            for query in queries:
                check_query(query)
            vectors = [query[self.column].float().numpy() for query in queries]
            return self._by_vectors(np.concatenate(vectors), **options) if vectors else []
        finds: Iterable[Callable[..., Ranking]]
        if self._settings is not None:
            stages = self.two_stages(scoring, self._settings)
            finds = (partial(stages.best, query) for query in queries)
        elif scoring.bound is not None:
            bounded = self._bounded(scoring, scoring.bound).each(queries)
            finds = (partial(find, at_most=at_most) for find in bounded)
        else:
            every = partial(
                best_videos, embeddings=self._embeddings, scoring=scoring, table=self.table
            )
            finds = (partial(every, query) for query in queries)
        return [self._ranked(find, unit=scoring.unit, **options) for find in finds]

    def nearest(
        self,
        vectors: npt.NDArray[np.generic],
        *,
        top: int,
        split: str | None = None,
        only: pa.Array | None = None,
    ) -> list[Answers]:
        """The `top` videos for each row of vectors [Q, D], by cosine; rows are made unit vectors.

        Raises:
            RequestError: no row, another width, or a row without a direction.
            MissingColumnError: the family has no vector a video.
        """
        width = self._searched.vectors.shape[1] if len(self._searched) else None
        queries = unit_queries(vectors, width=width)
        return self._by_vectors(queries, top=top, split=split, only=only)

    def like(
        self,
        video_id: str,
        *,
        top: int,
        split: str | None = None,
        only: pa.Array | None = None,
    ) -> Answers:
        """The `top` whole videos nearest to one of the table, itself left out, by cosine.

        Raises:
            RequestError: the table has no vector of it.
            MissingColumnError: the family has no vector a video.
        """
        vector = self.index.vector(video_id)
        if vector is None:
            raise RequestError(
                f"the table has no vector of the video ({video_id}); `reelvec failures` says of"
                " which videos it has none"
            )
        among = self.ranks if self.table != WINDOWS else self.index
        (ranking,) = among.best(vector, top=top, split=split, without=video_id, only=only)
        return self._answers(ranking, unit=dot_product().unit)

    @cached_property
    def index(self) -> VectorIndex:
        """Vectors of whole videos."""
        return VectorIndex.of(self._embeddings, column=self.column)

    def _bounded(self, scoring: Scoring, bound: ScoreBound) -> BoundedIndex:
        """The table for a score with a bound; that of the last one stays open."""
        if self._last is None or self._last[0] is not bound:
            index = BoundedIndex.of(
                self._embeddings, scoring=scoring, bound=bound, table=self.table
            )
            self._last = bound, index
        return self._last[1]

    @property
    def ranks(self) -> VectorIndex | ApproximateIndex:
        """What ranks the table by vectors: those of it, or an index of them."""
        return self._searched if self._settings is None else self.approximate(self._settings)

    def approximate(self, settings: IndexConfig) -> ApproximateIndex:
        """An index of the vectors of the table that is ranked; it stays open."""
        if self._index is None:
            self._index = ApproximateIndex.of(
                self._embeddings, exact=self._searched, table=self.table, settings=settings
            )
        return self._index

    def two_stages(self, scoring: Scoring, settings: IndexConfig) -> TwoStageIndex:
        """The table for a score that is no product; that of the last one stays open."""
        if self._stages is None or self._stages[0] is not scoring:
            made = TwoStageIndex.of(
                self._embeddings, table=self.table, scoring=scoring, settings=settings
            )
            self._stages = scoring, made
        return self._stages[1]

    @cached_property
    def points(self) -> Points:
        """A map: float32 [N, 2], in the order of the index' rows; NaN of those without a vector."""
        return points_of(self._embeddings, index=self.index)

    @cached_property
    def _searched(self) -> VectorIndex:
        """Vectors of the table that is ranked."""
        if self.table == WINDOWS:
            return VectorIndex.of(self._embeddings, table=WINDOWS)
        return self.index

    @cached_property
    def _windows(self) -> WindowsById:
        return WindowsById(self._embeddings)

    @cached_property
    def videos(self) -> VideosById:
        """The corpus."""
        return VideosById(self._corpus)

    @cached_property
    def frames(self) -> FrameReader | None:
        """The stored frames."""
        return frames_by_clip(self._frames) if self._frames is not None else None

    @cached_property
    def splits(self) -> tuple[str, ...]:
        """Splits of the table's videos, sorted; "" is of every one."""
        found: set[str] = set()
        for piece in iter_tables(self._embeddings, "videos", columns=["split"]):
            found.update(pc.unique(piece.column("split")).to_pylist())
        return tuple(sorted(found))

    def close(self) -> None:
        """Closes the shards of frames; the next search opens what it needs."""
        if "frames" in self.__dict__ and self.frames is not None:
            self.frames.close()

    @property
    def _reader(self) -> FrameReader | None:
        return self.frames if self._times else None

    def _by_vectors(
        self, queries: npt.NDArray[np.float32], *, top: int, **options: Any
    ) -> list[Answers]:
        """By unit vectors [Q, D]."""
        unit = dot_product().unit
        if self.table != WINDOWS:
            found = self.ranks.best(queries, top=top, **options)
            return [self._answers(one, unit=unit) for one in found]

        def find(query: npt.NDArray[np.float32], **asked: Any) -> Ranking:
            return self.ranks.best(query[None], **asked)[0]

        return [
            self._ranked(partial(find, query), unit=unit, top=top, **options) for query in queries
        ]

    def _ranked(
        self, find: Callable[..., Ranking], *, unit: str, top: int, **options: Any
    ) -> Answers:
        if self.table != WINDOWS:
            return self._answers(find(top=top, **options), unit=unit)

        def rank(wanted: int) -> Ranking:
            return find(top=wanted, **options)

        ranking, windows = best_apart(rank, windows=self._windows, top=top)
        rows = [
            window_row(place, score, one, video=self.videos.find(one.video_id), reader=self._reader)
            for place, ((_, score), one) in enumerate(
                zip(ranking.best, windows, strict=True), start=1
            )
        ]
        return answers_with(rows, ranking, unit=unit)

    def _answers(self, ranking: Ranking, *, unit: str) -> Answers:
        return answers_of(ranking, find=self.videos.find, reader=self._reader, unit=unit)
