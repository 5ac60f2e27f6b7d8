"""Moments of a split, scored from the tables: captions of pieces against the windows of the file.

A query is a text about a file; the pieces of the file that captions of this text describe are
where it is true. Its windows are ranked as search ranks them: of those that overlap, the best one.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray

from reelvec.configs.schema import EvaluateConfig
from reelvec.models.ranking.moments import MomentMetric, MomentQuery, moment_metrics
from reelvec.models.spans import Span, apart
from reelvec.storage.commits.artifact import Snapshot
from reelvec.storage.records import Video
from reelvec.tasks.embedding.rows import WINDOWS
from reelvec.tasks.scoring.logits import Scoring, one_thread
from reelvec.tasks.scoring.split_matrix import UnscorableError
from reelvec.tasks.scoring.split_rows import SplitRows, open_rows

__all__ = ["score_moments"]

_BEST = 100
"""Windows that are ranked for a query."""


@dataclass(slots=True)
class _Asked:
    """The queries of one file: by text, the row of a caption and where the text is true."""

    rows: dict[str, int] = field(default_factory=dict)
    true: dict[str, list[Span]] = field(default_factory=lambda: defaultdict(list))


def score_moments(
    embeddings: Snapshot, *, corpus: Iterable[Video], options: EvaluateConfig, scoring: Scoring
) -> list[MomentMetric]:
    """Moment metrics of the split; empty without windows, or without captions of pieces.

    Args:
        embeddings: with the tables `windows` and `captions`.
        corpus: says which pieces of which files its rows are.
        options: split and resamples.
        scoring: the score, and the columns it reads.

    Raises:
        UnscorableError: a score is NaN.
    """
    if not embeddings.rows_of(WINDOWS):
        return []
    pieces = {
        video.video_id: (video.content_hash, Span(video.start_seconds or 0.0, video.end_seconds))
        for video in corpus
        if video.end_seconds is not None
    }
    with (
        one_thread(),
        torch.inference_mode(),
        open_rows(
            embeddings,
            table=WINDOWS,
            facts=("window_id", "video_id", "split", "clip_key", "start_seconds", "end_seconds"),
            features=scoring.video_columns,
            split=options.split,
        ) as windows,
        open_rows(
            embeddings,
            table="captions",
            facts=("caption_id", "video_id", "split", "text"),
            features=scoring.text_columns,
            split=options.split,
            within=pieces,
        ) as texts,
    ):
        asked = _asked(texts, pieces)
        queries = list(_queries(asked, texts, windows, scoring=scoring))
    return moment_metrics(queries, bootstrap=options.bootstrap)


def _asked(texts: SplitRows, pieces: Mapping[str, tuple[str, Span]]) -> dict[str, _Asked]:
    found: dict[str, _Asked] = defaultdict(_Asked)
    for row, (video_id, text) in enumerate(
        zip(texts.ids("video_id"), texts.ids("text"), strict=True)
    ):
        file, span = pieces[video_id]
        found[file].rows.setdefault(text, row)
        found[file].true[text].append(span)
    return found


def _queries(
    asked: Mapping[str, _Asked], texts: SplitRows, windows: SplitRows, *, scoring: Scoring
) -> Iterator[MomentQuery]:
    rows_of: dict[str, list[int]] = defaultdict(list)
    for row, file in enumerate(windows.ids("clip_key")):
        rows_of[file].append(row)
    bounds = [windows.facts.column(n).to_pylist() for n in ("start_seconds", "end_seconds")]
    spans = [Span(*pair) for pair in zip(*bounds, strict=True)]
    for file, queries in asked.items():
        rows = np.array(rows_of[file], np.int64)  # ascending by id, which settles ties
        if not len(rows):
            continue
        chosen = np.array(list(queries.rows.values()), np.int64)
        scores = scoring.similarity(texts.block(chosen), windows.block(rows)).numpy()
        if np.isnan(scores).any():
            raise UnscorableError(
                f"scores of the windows of a file ({file}) are NaN, which have no rank. The model"
                " has diverged or a table is damaged: `reelvec verify`, then train again"
            )
        for text, line in zip(queries.rows, scores, strict=True):
            yield MomentQuery(file, _ranked(line, rows, spans), queries.true[text])


def _ranked(
    scores: NDArray[np.float32], rows: NDArray[np.int64], spans: Sequence[Span]
) -> list[Span]:
    order = [spans[row] for row in rows[np.argsort(-scores, kind="stable")]]
    return [order[place] for place in apart(((0, span) for span in order), top=_BEST)]
