"""Ranks and metrics of one split, from its rows of the two tables, block by block."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray
from torch import Tensor

from reelvec.configs.schema import EvaluateConfig
from reelvec.models.ranking.metrics import (
    DirectionMetrics,
    MetricOptions,
    RetrievalMetrics,
    evaluate_similarity,
    summarize_both,
)
from reelvec.models.ranking.ranks import RankSweep
from reelvec.models.ranking.running_top import RunningTop
from reelvec.models.ranking.topk import TopK
from reelvec.storage.commits.artifact import Snapshot
from reelvec.tasks.scoring.logits import Scoring, one_thread
from reelvec.tasks.scoring.rerankings import Rerankings, check_names
from reelvec.tasks.scoring.rows import MetricRow
from reelvec.tasks.scoring.split_matrix import SplitMatrix
from reelvec.tasks.scoring.split_rows import SplitRows, open_rows

__all__ = ["TOP", "Scores", "score_split"]

DIRECTIONS: tuple[Literal["t2v"], Literal["v2t"]] = ("t2v", "v2t")
TOP = 5
"""Best videos kept for each caption."""

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
    check_names(options.rerank)
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
        rerankings = Rerankings(embeddings, texts, videos, scoring=scoring, height=options.block)
        return _score(texts, videos, options=options, scoring=scoring, rerankings=rerankings)


def _score(
    texts: SplitRows,
    videos: SplitRows,
    *,
    options: EvaluateConfig,
    scoring: Scoring,
    rerankings: Rerankings,
) -> Scores:
    video_ids = videos.ids("video_id")
    place = {video_id: row for row, video_id in enumerate(video_ids)}
    owners = np.array([place[name] for name in texts.ids("video_id")], dtype=np.int64)
    if not len(owners):
        ranks = pa.table({"video_id": [], "rank": []}, schema=_VIDEO_RANKS)
        return Scores([], _RANKS.empty_table(), ranks)
    matrix = SplitMatrix(texts, videos, owners=owners, scoring=scoring, height=options.block)
    own = matrix.own()
    settings = MetricOptions(ties=options.ties, rivals=options.rivals, bootstrap=options.bootstrap)
    sweep = RankSweep(
        own, owners=owners, n_videos=len(videos), rivals=options.rivals, meant=matrix.meant
    )
    top = RunningTop(TOP, n_videos=len(videos), meant=matrix.meant)
    for tile in matrix:
        top.add(tile)
        sweep.add(tile)
    ranks, subsets = sweep.ranks(options.ties), texts.ids("subset")
    plain = summarize_both(*ranks, owners=owners, options=settings, subsets=subsets)
    protocol = "multi" if np.bincount(owners).max() > 1 else "single"
    metrics = _rows(plain, protocol)
    for name in options.rerank:
        for direction in DIRECTIONS:
            reranked = evaluate_similarity(
                rerankings.blocks(name, matrix, direction=direction),
                text_to_video=owners,
                n_videos=len(videos),
                options=settings,
                subsets=subsets,
            )
            found = _rows(reranked, f"{protocol}+{name}")
            metrics += [row for row in found if row.direction == direction]
    ranked = ~np.isnan(plain.ranks_v2t)
    described = [video_id for video_id, there in zip(video_ids, ranked, strict=True) if there]
    return Scores(
        metrics,
        _ranks_table(texts, ranks[0], own=own, best=top.best(), video_ids=video_ids),
        pa.table({"video_id": described, "rank": plain.ranks_v2t[ranked]}, schema=_VIDEO_RANKS),
    )


_VIDEO_RANKS = pa.schema([pa.field("video_id", pa.string()), pa.field("rank", pa.float64())])


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
    texts: SplitRows,
    ranks: NDArray[np.float64],
    *,
    own: Tensor,
    best: TopK,
    video_ids: Sequence[str],
) -> pa.Table:
    names = pa.array(video_ids, pa.string()).take(pa.array(best.indices.numpy().reshape(-1)))
    return pa.table(
        {
            "caption_id": texts.facts.column("caption_id"),
            "video_id": texts.facts.column("video_id"),
            "subset": texts.facts.column("subset"),
            "rank": ranks,
            "score": own.float().numpy(),
            "top_video_ids": _lists(names, best.indices.shape),
            "top_scores": _lists(
                pa.array(best.scores.float().numpy().reshape(-1)), best.scores.shape
            ),
        },
        schema=_RANKS,
    )


def _lists(values: pa.Array, shape: Sequence[int]) -> pa.Array:
    """`values`, of shape (rows, columns), as a list a row."""
    rows, columns = shape
    starts = pa.array(np.arange(rows + 1) * columns, pa.int32())
    return pa.ListArray.from_arrays(starts, values)
