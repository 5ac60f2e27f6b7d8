"""Search a run: by texts, by a video of the store, by a file, by vectors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import torch

from reelvec.api.columns import check_column, check_seen
from reelvec.api.recorded import RecordedArtifacts
from reelvec.api.refusals import why_no_video
from reelvec.configs import PipelineConfig
from reelvec.errors import RequestError
from reelvec.models.features import EMBEDDING
from reelvec.storage.commits.artifact import Snapshot
from reelvec.tasks.embedding.rows import WINDOWS
from reelvec.tasks.scoring.logits import Columns
from reelvec.tasks.searching.approximate import kept_settings
from reelvec.tasks.searching.files import clip_in
from reelvec.tasks.searching.reranking import CANDIDATES, check_candidates, open_reranker, rerank
from reelvec.tasks.searching.search import Answers, check_request, with_warning
from reelvec.tasks.searching.searcher import Searcher
from reelvec.tasks.searching.windows import with_best_second

if TYPE_CHECKING:
    from reelvec.api.encoding import RunEncoder

__all__ = ["Search"]

KINDS = ("corpus", "frames", "embeddings", "evaluation")
"""Of the artifacts a page or a search reads."""


class Search:
    """Searches of one run, which keep its model and its vectors open.

    `run.searches()` makes one; `with` closes it. Every search sees the snapshots the run saw. Not
    for several threads at once.

    Attributes:
        searcher: ranks the run's table, and knows where its videos are.
        best_seconds: say when the best frame of a window is, for which the model looks at its
            frames; may be switched off.
    """

    def __init__(
        self,
        recorded: RecordedArtifacts,
        config: PipelineConfig,
        *,
        device: str | None = None,
        times: bool = True,
        whole: bool = False,
        approximate: bool = False,
        column: str = EMBEDDING,
    ) -> None:
        self._recorded, self._config, self._device = recorded, config, device
        embeddings = recorded.snapshot("embeddings")
        check_column(embeddings, column, approximate=approximate)
        self.best_seconds = bool(embeddings.rows_of(WINDOWS)) and not whole
        looks = recorded.has("frames") and (times or self.best_seconds)
        self.searcher = Searcher(
            embeddings,
            corpus=recorded.snapshot("corpus"),
            frames=recorded.snapshot("frames") if looks else None,
            times=times,
            whole=whole,
            index=kept_settings(embeddings) if approximate else None,
            column=column,
        )

    def where(self, expression: str, *, attributes: str | Path | None = None) -> pa.Array:
        """Ids of the videos that fit, to search among: `only` of the searches.

        Args:
            expression: of DuckDB's SQL over the columns of the corpus, `duration` (seconds) and
                the attributes, such as ``duration > 10 and lang = 'en'``; it can reach nothing
                else. Not for what a stranger wrote: it may take as long as it likes.
            attributes: a Parquet file with `video_id` and whatever you know of your videos.

        Raises:
            RequestError: DuckDB is not installed or does not understand it, the file is no such
                table, or no video fits.
            CorpusError: the file is not readable as Parquet.
        """
        from reelvec.tasks.searching.filters import attributes_in, videos_where

        table = None if attributes is None else attributes_in(attributes)
        return videos_where(expression, videos=self.searcher.videos.table, attributes=table)

    def text(
        self,
        text: str,
        *,
        top: int = 10,
        split: str | None = None,
        only: pa.Array | None = None,
        at_most: int | None = None,
    ) -> Answers:
        """The `top` videos for a text, best first.

        Args:
            text: what to look for, in words.
            top: rows, at least 1; fewer come back from a smaller table.
            split: videos of this split and of none; None: all.
            only: ids of the videos that are looked for, of `where`; None: all.
            at_most: videos scored, by a bound; `undecided` says how many others could be answers.

        Raises:
            RequestError: a number below 1, an empty text, no video of that split, or no bound.
            MissingArtifactError: the store has lost the model.
        """
        return self.texts([text], top=top, split=split, only=only, at_most=at_most)[0]

    def texts(
        self,
        texts: Sequence[str],
        *,
        top: int = 10,
        split: str | None = None,
        only: pa.Array | None = None,
        at_most: int | None = None,
    ) -> list[Answers]:
        """What `text` finds for each of several, faster than one after the other."""
        for text in texts:
            check_request(text, top=top, at_most=at_most)
        self._check_split(split)
        encoder = self._encoder
        queries = [encoder.query(text) for text in texts]
        found = self.searcher.best(
            queries, scoring=encoder.scoring, top=top, split=split, only=only, at_most=at_most
        )
        return [
            self._warned(self._with_best_seconds(one, query))
            for one, query in zip(found, queries, strict=True)
        ]

    def reranked(
        self,
        texts: Sequence[str],
        *,
        reranker: str,
        candidates: int = CANDIDATES,
        top: int = 10,
        split: str | None = None,
        only: pa.Array | None = None,
        at_most: int | None = None,
    ) -> list[Answers]:
        """What `texts` finds, of which the best are read again by a model of text and clip.

        Files are decoded anew, as its authors make frames; what cannot be is named in a note.

        Args:
            texts: what to look for, in words.
            reranker: hf:FOLDER_OR_NAME of a Qwen3-VL-Reranker.
            candidates: how many of the best are read again, one pass of the model each.
            top: rows, at most `candidates`.
            split: as of `text`.
            only: as of `text`.
            at_most: as of `text`.

        Raises:
            RequestError: as `text`, and where `top` is more than `candidates`.
            WeightsError: no such model.
        """
        check_candidates(candidates, top=top)
        device = self._device or self._config.embed.device
        model = open_reranker(reranker, options=self._config.extract, device=device)
        find, windows = self.searcher.videos.find, self.searcher.table == WINDOWS
        found = self.texts(texts, top=candidates, split=split, only=only, at_most=at_most)
        return [
            rerank(answers, text, reranker=model, find=find, windows=windows, top=top)
            for text, answers in zip(texts, found, strict=True)
        ]

    def like(
        self,
        video_id: str,
        *,
        top: int = 10,
        split: str | None = None,
        only: pa.Array | None = None,
    ) -> Answers:
        """The `top` videos nearest to one of the run, itself left out, by the cosine of vectors.

        Raises:
            RequestError: the corpus has no such video, or the table no vector of it.
            MissingColumnError: the family has no vector a video.
        """
        check_request(None, top=top)
        self._check_split(split)
        if self.searcher.videos.find(video_id) is None:
            known = self.searcher.videos.near(video_id)
            raise RequestError(why_no_video(video_id, known=known, run=self._config.name))
        return self._warned(self.searcher.like(video_id, top=top, split=split, only=only))

    def file(
        self,
        path: str | Path,
        *,
        top: int = 10,
        split: str | None = None,
        only: pa.Array | None = None,
    ) -> Answers:
        """The `top` videos nearest to a video or picture that is not of the store.

        It is decoded in a sandbox as the run's videos were, and encoded by its model.

        Raises:
            RequestError: it cannot be decoded; the message has the decoder's words.
            MissingColumnError: the family has no vector a video.
        """
        check_request(None, top=top)
        self._check_split(split)
        check_seen(self.searcher.column)
        clip = clip_in(path, options=self._config.extract)
        vectors = self._encoder.clips([clip], column=EMBEDDING)
        (found,) = self.vectors(vectors, top=top, split=split, only=only)
        query = {EMBEDDING: torch.from_numpy(np.asarray(vectors, np.float32))}
        return self._with_best_seconds(found, query)

    def vectors(
        self,
        vectors: npt.NDArray[np.generic],
        *,
        top: int = 10,
        split: str | None = None,
        only: pa.Array | None = None,
    ) -> list[Answers]:
        """The `top` videos for each row of vectors [Q, D] by cosine, e.g. of `run.encode_texts`.

        Raises:
            RequestError: another shape or type, a row that is zero or not finite.
            MissingColumnError: the family has no vector a video.
        """
        check_request(None, top=top)
        self._check_split(split)
        found = self.searcher.nearest(np.asarray(vectors), top=top, split=split, only=only)
        return [self._warned(one) for one in found]

    def close(self) -> None:
        """Closes files."""
        self.searcher.close()

    def __enter__(self) -> Search:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @cached_property
    def state(self) -> str:
        """Names the snapshots of the run; another one as soon as a table of it was replaced."""
        kinds = [kind for kind in KINDS if self._recorded.has(kind)]
        snapshots = [self._recorded.snapshot(kind) for kind in kinds]
        return " ".join(f"{one.artifact.fingerprint[:12]}-{one.number}" for one in snapshots)

    @cached_property
    def evaluation(self) -> Snapshot | None:
        """What the run's tables scored; None: they are not scored."""
        has = self._recorded.has("evaluation")
        return self._recorded.snapshot("evaluation") if has else None

    @cached_property
    def splits(self) -> tuple[str, ...]:
        """Splits of the run's videos, sorted; "" is of every one."""
        return self.searcher.splits

    def _check_split(self, split: str | None) -> None:
        if split is not None and "" not in self.splits and split not in self.splits:
            there = ", ".join(self.splits) or "none"
            raise RequestError(f"no video is of the split ({split}); there are: {there}")

    def _with_best_seconds(self, answers: Answers, query: Columns) -> Answers:
        """With the frame of each window that is nearest to the query, each looked at by itself."""
        reader = self.searcher.frames if self.best_seconds else None
        if reader is None:
            return answers
        nearest = partial(self._encoder.nearest_frame, query)
        find, best = self.searcher.videos.find, partial(with_best_second, reader=reader)
        rows = [best(row, video=find(row.video_id), nearest=nearest) for row in answers.rows]
        return replace(answers, rows=rows)

    def _warned(self, answers: Answers) -> Answers:
        return with_warning(answers, self._config)

    @cached_property
    def _encoder(self) -> RunEncoder:
        from reelvec.api.encoding import RunEncoder

        return RunEncoder(self._recorded, self._config, device=self._device)
