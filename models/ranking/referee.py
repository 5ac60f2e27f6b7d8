"""Ranks and metrics as the field's evaluator has them: trec_eval, which mteb calls.

A query's candidates are ordered by score, equal ones by their id, the later one first; each
relevant one has a rank of its own. (`ranks` gives a query one rank, of its best, and counts ties by
a declared policy.) With one relevant candidate a query and no tie, recall is the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from reelvec.models.ranking.exact import exact_product
from reelvec.models.ranking.tiles import Rows

__all__ = ["KS", "Judged", "judge", "referee_metrics"]

KS = (1, 3, 5, 10, 20, 100, 1000)
"""The k of mteb's metrics; beyond the last nothing counts."""
_QUERIES_AT_ONCE = 64
_PAIRS_AT_ONCE = 64
_DIGITS = 5


@dataclass(frozen=True, eq=False)
class Judged:
    """Where the relevant candidates stand; P pairs of a query and one relevant to it."""

    query: Rows
    """[P], sorted."""
    rank: Rows
    """[P], from 1, ascending within a query."""
    tied: int
    """Queries of which a relevant candidate has a score that others have too."""


def judge(
    queries: NDArray[np.float32],
    candidates: NDArray[np.float32],
    *,
    pairs: tuple[Rows, Rows],
    ids: Sequence[str],
) -> Judged:
    """Ranks of the relevant candidates of every query, by exact cosines.

    Args:
        queries: [Q, D], of length 1.
        candidates: [N, D], of length 1.
        pairs: queries [P] and what is relevant to them [P].
        ids: [N] of the candidates, for equal scores.
    """
    order = np.lexsort(pairs[::-1])
    query, relevant = (side[order] for side in pairs)
    place = np.empty(len(ids), np.int64)
    place[sorted(range(len(ids)), key=ids.__getitem__)] = np.arange(len(ids))
    rank, tied = np.zeros(len(query), np.int64), np.zeros(len(query), bool)
    whole = torch.from_numpy(candidates)
    for start in range(0, len(queries), _QUERIES_AT_ONCE):
        some = queries[start : start + _QUERIES_AT_ONCE]
        scores = exact_product(torch.from_numpy(some), whole).numpy()
        first, last = np.searchsorted(query, [start, start + len(some)])
        for begin in range(first, last, _PAIRS_AT_ONCE):
            these = slice(begin, min(begin + _PAIRS_AT_ONCE, last))
            rows, own = scores[query[these] - start], relevant[these]
            score = np.take_along_axis(rows, own[:, None], axis=1)
            equal = rows == score
            ahead = (rows > score) | (equal & (place > place[own][:, None]))
            rank[these] = 1 + ahead.sum(axis=1)
            tied[these] = equal.sum(axis=1) > 1
    by_rank = np.lexsort((rank, query))
    return Judged(query, rank[by_rank], len(np.unique(query[tied])))


def referee_metrics(judged: Judged) -> dict[str, float]:
    """Means over the queries that have relevant candidates, parts of 1, under mteb's names."""
    query, rank = judged.query, judged.rank
    _, which, counts = np.unique(query, return_inverse=True, return_counts=True)
    relevant = counts[which]
    nth = np.arange(len(query)) - (np.cumsum(counts) - counts)[which] + 1
    gains = np.cumsum(1 / np.log2(np.arange(2, max(KS) + 2)))
    metrics: dict[str, float] = {}
    for k in KS:
        within = rank <= k
        ideal = gains[np.minimum(relevant, k) - 1]
        parts = {
            "ndcg": within / np.log2(1 + rank) / ideal,
            "map": within * nth / rank / relevant,
            "recall": within / relevant,
            "precision": within / k,
            "hit_rate": within * (nth == 1),
            "mrr": within * (nth == 1) / rank,
        }
        for name, part in parts.items():
            mean = float(part.sum() / len(counts))
            metrics[f"{name}_at_{k}"] = mean if name == "mrr" else round(mean, _DIGITS)
    return metrics
