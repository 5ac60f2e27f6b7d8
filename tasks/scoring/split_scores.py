"""Ranks and metrics of one split, from its rows of the two tables, block by block."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor

from reelvec.configs.schema import EvaluateConfig
from reelvec.models.ranking.metrics import (
    Blocks,
    DirectionMetrics,
    MetricOptions,
    RetrievalMetrics,
    evaluate_similarity,
)
from reelvec.models.ranking.rerank import RERANKINGS
from reelvec.models.ranking.topk import block_topk
from reelvec.storage.commits.artifact import Snapshot
from reelvec.storage.errors import ReelvecError
from reelvec.tasks.scoring.logits import Scoring, one_thread
from reelvec.tasks.scoring.rows import MetricRow
from reelvec.tasks.scoring.split_rows import SplitRows, open_rows

__all__ = ["TOP", "Scores", "UnscorableError", "score_split"]

TOP = 5
"""Best videos kept for each caption."""
VIDEO_BLOCK = 1024
"""Videos scored at once; a whole row of scores [block, V] is held, features are not."""
_SHOWN = 3

_RANKS = pa.schema(
    [
        pa.field("caption_id", pa.string()),
        pa.field("video_id", pa.string()),
        pa.field("subset", pa.string()),
        pa.field("rank", pa.float64()),
        pa.field("score", pa.float32()),
        pa.field("top_video_ids", pa.list_(pa.string())),
        pa.field("top_scores", pa.list_(pa.float32())),
    ]
)


class UnscorableError(ReelvecError):
    """Scores that have no rank, or a name nobody knows."""


@dataclass(frozen=True)
class Scores:
    """What one evaluation says."""

    metrics: list[MetricRow]
    ranks: pa.Table
    """One row a caption: caption_id, video_id, subset, rank, score, top_video_ids, top_scores."""
    video_ranks: pa.Table
    """One row a video with captions: video_id, rank of its captions among those of all videos."""


def score_split(embeddings: Snapshot, *, options: EvaluateConfig, scoring: Scoring) -> Scores:
    """Score the split's captions against all its usable videos, captioned or not.

    Raises:
        UnscorableError: a score is NaN, or a re-ranking is not known.
    """
    unknown = [name for name in options.rerank if name not in RERANKINGS]
    if unknown:
        known = ", ".join(RERANKINGS)
        raise UnscorableError(f"evaluate.rerank names {unknown[0]!r}; there are: {known}")
    with (
        one_thread(),
        torch.inference_mode(),
        open_rows(
            embeddings,
            table="videos",
            facts=("video_id", "split"),
            features=scoring.video_columns,
            split=options.split,
        ) as videos,
        open_rows(
            embeddings,
            table="captions",
            facts=("caption_id", "video_id", "split", "subset"),
            features=scoring.text_columns,
            split=options.split,
            within=videos.ids("video_id"),
        ) as texts,
    ):
        return _score(texts, videos, options=options, scoring=scoring)


def _score(
    texts: SplitRows, videos: SplitRows, *, options: EvaluateConfig, scoring: Scoring
) -> Scores:
    video_ids = videos.ids("video_id")
    place = {video_id: row for row, video_id in enumerate(video_ids)}
    owners = np.array([place[name] for name in texts.ids("video_id")], dtype=np.int64)
    if not len(owners):
        ranks = pa.table({"video_id": [], "rank": []}, schema=_VIDEO_RANKS)
        return Scores([], _RANKS.empty_table(), ranks)
    blocks = _BlocksWithTop(texts, videos, owners=owners, scoring=scoring, size=options.block)
    subsets = texts.ids("subset")
    settings = MetricOptions(ties=options.ties, rivals=options.rivals, bootstrap=options.bootstrap)

    def measured(scores: Blocks) -> RetrievalMetrics:
        return evaluate_similarity(
            scores,
            text_to_video=owners,
            n_videos=len(videos),
            options=settings,
            subsets=subsets,
        )

    plain = measured(blocks)
    protocol = "multi" if np.bincount(owners).max() > 1 else "single"
    metrics = _rows(plain, protocol)
    for name in options.rerank:
        for direction in ("t2v", "v2t"):
            reranked = measured(RERANKINGS[name](blocks, direction=direction))
            metrics += [
                r for r in _rows(reranked, f"{protocol}+{name}") if r.direction == direction
            ]
    ranked = ~np.isnan(plain.ranks_v2t)
    described = [video_id for video_id, there in zip(video_ids, ranked, strict=True) if there]
    return Scores(
        metrics,
        _ranks_table(texts, plain, top=blocks, video_ids=video_ids),
        pa.table({"video_id": described, "rank": plain.ranks_v2t[ranked]}, schema=_VIDEO_RANKS),
    )


_VIDEO_RANKS = pa.schema([pa.field("video_id", pa.string()), pa.field("rank", pa.float64())])


class _BlocksWithTop:
    """Passes over the similarity matrix; the first one keeps each text's best videos."""

    def __init__(
        self,
        texts: SplitRows,
        videos: SplitRows,
        *,
        owners: np.ndarray,
        scoring: Scoring,
        size: int,
    ) -> None:
        self._texts, self._videos, self._owners = texts, videos, owners
        self._scoring = scoring
        self._size = size
        self._next = 0
        self.own: list[float] = []
        """Score of each text's own video."""
        self.indices: list[list[int]] = []
        self.scores: list[list[float]] = []

    def __call__(self) -> Iterable[Tensor]:
        return self._rows()

    def _rows(self) -> Iterator[Tensor]:
        for start in range(0, len(self._texts), self._size):
            rows = slice(start, min(start + self._size, len(self._texts)))
            text = self._texts.block(rows)
            scores = torch.cat(
                [
                    self._scoring.similarity(text, self._videos.block(slice(v, v + VIDEO_BLOCK)))
                    for v in range(0, len(self._videos), VIDEO_BLOCK)
                ],
                dim=1,
            )
            self._refuse_nan(scores, start)
            if start == self._next:
                self._keep(scores, rows)
            yield scores

    def _keep(self, scores: Tensor, rows: slice) -> None:
        best = block_topk(scores, k=TOP)
        own = scores.gather(1, torch.from_numpy(self._owners[rows])[:, None])
        self.own += own[:, 0].tolist()
        self.indices += best.indices.tolist()
        self.scores += best.scores.tolist()
        self._next = rows.stop

    def _refuse_nan(self, scores: Tensor, start: int) -> None:
        bad = torch.isnan(scores).nonzero()
        if not len(bad):
            return
        captions, videos = self._texts.ids("caption_id"), self._videos.ids("video_id")
        pairs = [f"{captions[start + t]} × {videos[v]}" for t, v in bad[:_SHOWN].tolist()]
        raise UnscorableError(
            f"{len(bad)} scores are NaN (caption × video: {', '.join(pairs)}); a NaN has no rank."
            " The model has diverged or a table is damaged: `reelvec verify`, then train again"
        )


def _rows(result: RetrievalMetrics, protocol: str) -> list[MetricRow]:
    pairs = [("", (result.t2v, result.v2t)), *result.subsets.items()]
    return [
        row
        for subset, both in pairs
        for direction, metrics in zip(("t2v", "v2t"), both, strict=True)
        for row in _direction(metrics, direction=direction, protocol=protocol, subset=subset)
    ]


def _direction(
    metrics: DirectionMetrics, *, direction: str, protocol: str, subset: str
) -> list[MetricRow]:
    made = []
    for name, value in metrics.as_dict().items():
        low, high = metrics.intervals.get(name, (None, None))
        made.append(
            MetricRow(
                direction=direction,
                protocol=protocol,
                subset=subset,
                metric=name,
                value=value,
                low=low,
                high=high,
                n=metrics.queries,
            )
        )
    return made


def _ranks_table(
    texts: SplitRows, result: RetrievalMetrics, *, top: _BlocksWithTop, video_ids: Sequence[str]
) -> pa.Table:
    return pa.table(
        {
            "caption_id": texts.ids("caption_id"),
            "video_id": texts.ids("video_id"),
            "subset": texts.ids("subset"),
            "rank": result.ranks_t2v,
            "score": top.own,
            "top_video_ids": [[video_ids[i] for i in row] for row in top.indices],
            "top_scores": top.scores,
        },
        schema=_RANKS,
    )
