"""Re-rankings of a split by name: those that ask its own queries, and SK-norm, which asks others.

SK-norm's training queries are texts for t2v, videos for v2t, of the same tables. Each bias takes
five passes over training queries x candidates, block by block.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Literal

import torch
from torch import Tensor

from reelvec.models.ranking.metrics import Blocks
from reelvec.models.ranking.rerank import RERANKING_NAMES, RERANKINGS, SK_NORM, sinkhorn_bias
from reelvec.storage.commits.artifact import Snapshot
from reelvec.tasks.scoring.logits import Scoring
from reelvec.tasks.scoring.split_matrix import SplitMatrix, UnscorableError
from reelvec.tasks.scoring.split_rows import SplitRows, open_rows

__all__ = ["TRAIN", "Rerankings", "check_names"]

TRAIN = "train"
_WIDE = 1024
"""Candidates scored at once."""


def check_names(names: Sequence[str]) -> None:
    """Refuse a re-ranking that is not known.

    Raises:
        UnscorableError: names it.
    """
    for name in names:
        if name not in RERANKING_NAMES:
            known = ", ".join(RERANKING_NAMES)
            raise UnscorableError(f"evaluate.rerank names {name!r}; there are: {known}")


class Rerankings:
    """What re-ranks one split.

    Args:
        embeddings: with the tables of all splits.
        texts: of the split.
        videos: of the split.
        scoring: the score, and the columns it reads.
        height: queries scored at once.
    """

    def __init__(
        self,
        embeddings: Snapshot,
        texts: SplitRows,
        videos: SplitRows,
        *,
        scoring: Scoring,
        height: int,
    ) -> None:
        self._embeddings, self._texts, self._videos = embeddings, texts, videos
        self._scoring, self._height = scoring, height

    def blocks(self, name: str, matrix: SplitMatrix, *, direction: Literal["t2v", "v2t"]) -> Blocks:
        """The matrix' rows, scored again.

        Raises:
            UnscorableError: SK-norm, and no training query has a row.
        """
        if name != SK_NORM:
            return RERANKINGS[name](matrix.rows, direction=direction)
        bias = self._bias(direction)

        def rows() -> Iterator[Tensor]:
            start = 0
            for block in matrix.rows():
                own = bias if direction == "t2v" else bias[start : start + len(block), None]
                start += len(block)
                yield block + own

        return rows

    def _bias(self, direction: Literal["t2v", "v2t"]) -> Tensor:
        """Of each video [V] (t2v), or of each text [T] (v2t)."""
        by_texts = direction == "t2v"
        table, columns = "captions", self._scoring.text_columns
        if not by_texts:
            table, columns = "videos", self._scoring.video_columns
        key = "caption_id" if by_texts else "video_id"
        with open_rows(
            self._embeddings,
            table=table,
            facts=tuple(dict.fromkeys((key, "video_id", "split"))),
            features=columns,
            split=TRAIN,
        ) as queries:
            if not len(queries):
                raise UnscorableError(
                    f"evaluate.rerank {SK_NORM} asks the {table} of the split {TRAIN}, and the"
                    " tables have none; embed the whole corpus, or leave it out"
                )
            return sinkhorn_bias(partial(self._parts, queries, by_texts=by_texts))

    def _parts(self, queries: SplitRows, *, by_texts: bool) -> Iterator[Tensor]:
        """Blocks [c, q, n] of training queries with the split's n candidates."""
        candidates, score = (self._videos if by_texts else self._texts), self._scoring.parts
        for start in range(0, len(queries), self._height):
            asked = queries.block(slice(start, min(start + self._height, len(queries))))
            found = []
            for first in range(0, len(candidates), _WIDE):
                some = candidates.block(slice(first, min(first + _WIDE, len(candidates))))
                found.append(score(asked, some) if by_texts else score(some, asked).transpose(1, 2))
            yield torch.cat(found, dim=2)
