"""Search: rank all videos of a table by a query, part by part, and say where and when they are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch

from reelvec.models.ranking.topk import TopK, block_topk, merge_topk
from reelvec.storage.commits.artifact import Snapshot
from reelvec.storage.frames.reader import FrameReader
from reelvec.storage.records import Video
from reelvec.storage.tables import iter_tables
from reelvec.tasks.corpus.ingest import Corpus, key_of
from reelvec.tasks.scoring.logits import Columns, Scoring, dot_product, one_thread
from reelvec.tasks.scoring.split_rows import check_columns, tensors_of

__all__ = ["SearchRow", "best_videos", "search"]


@dataclass(frozen=True, slots=True)
class SearchRow:
    """One answer. Times are seconds within the file."""

    rank: int
    score: float
    video_id: str
    path: str
    split: str
    start_seconds: float
    """Of the window that is meant; 0 for a whole file."""
    end_seconds: float
    """Of the window, or the duration the container declares (0: it declares none)."""
    frames: int
    """Stored frames of the clip."""
    pts_seconds: tuple[float, ...]
    """Presentation times of the stored frames."""

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for tables and JSON."""
        return {**asdict(self), "pts_seconds": list(self.pts_seconds)}


def search(
    query: Columns,
    *,
    embeddings: Snapshot,
    corpus: Corpus,
    frames: Snapshot | None = None,
    top: int = 10,
    scoring: Scoring | None = None,
) -> list[SearchRow]:
    """The `top` videos for one query, best first.

    Args:
        query: features of one text, as `scoring` reads them: for a plain product
            {"embedding": unit vector [1, D]}.
        embeddings: snapshot whose table `videos` is searched; memory is that of one piece of it.
        corpus: says where the videos are; one that has left it is still found, without a path.
        frames: says when the stored frames are; None leaves the times out.
        top: how many, at least 1; fewer come back from a smaller table.
        scoring: `scoring.logits.scoring_of(model)`; None: the plain product of `embedding`.
    """
    ranked = best_videos(query, embeddings=embeddings, top=top, scoring=scoring)
    known = {video.video_id: video for video in corpus.videos}
    reader = FrameReader(frames) if frames is not None else None
    try:
        return [
            _row(rank, score, known.get(name) or Video(name, ""), reader=reader)
            for rank, (name, score) in enumerate(ranked, start=1)
        ]
    finally:
        if reader is not None:
            reader.close()


def best_videos(
    query: Columns, *, embeddings: Snapshot, top: int, scoring: Scoring | None = None
) -> list[tuple[str, float]]:
    """(video_id, score) of the `top` best rows of the video table, best first.

    Raises:
        ValueError: top < 1, more than one query, or NaN among the scores.
        MissingColumnError: the table lacks the columns the score reads.
    """
    scoring = scoring or dot_product()
    rows = {len(values) for values in query.values()}
    if rows != {1}:
        raise ValueError(f"the query's columns have {sorted(rows)} rows; search takes one text")
    check_columns(embeddings, table="videos", features=scoring.video_columns)
    best: TopK | None = None
    names: dict[int, str] = {}
    first = 0
    with one_thread(), torch.inference_mode():
        columns = ["video_id", *scoring.video_columns]
        for piece in iter_tables(embeddings, "videos", columns=columns):
            if not piece.num_rows:
                continue
            values = tensors_of(piece, scoring.video_columns)
            videos = {n: v.float() if v.is_floating_point() else v for n, v in values.items()}
            part = block_topk(scoring.similarity(query, videos), k=top, first_item=first)
            best = part if best is None else merge_topk(best, part, k=top)
            ids = piece.column("video_id")
            fresh = {i: ids[i - first].as_py() for i in part.indices[0].tolist()}
            names = {i: (names | fresh)[i] for i in best.indices[0].tolist()}
            first += piece.num_rows
    return [] if best is None else _pairs(best, names)


def _pairs(best: TopK, names: dict[int, str]) -> list[tuple[str, float]]:
    scores: Sequence[float] = best.scores[0].tolist()
    return [(names[i], score) for i, score in zip(best.indices[0].tolist(), scores, strict=True)]


def _row(rank: int, score: float, video: Video, *, reader: FrameReader | None) -> SearchRow:
    key = key_of(video)
    times: tuple[float, ...] = ()
    if reader is not None and key and key in reader:
        times = tuple(float(time) for time in reader.pts(key))
    return SearchRow(
        rank=rank,
        score=score,
        video_id=video.video_id,
        path=video.path,
        split=video.split,
        start_seconds=video.start_seconds or 0.0,
        end_seconds=video.end_seconds or video.duration_seconds_from_header,
        frames=len(times),
        pts_seconds=times,
    )
