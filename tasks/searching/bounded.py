"""Exact search with scores that look at the query: bounds prune, and what is left is scored.

`bounded_files` has what is derived of a table once. For a query every video's bound is
computed; the best by their bounds are scored, then all whose bound is no less than the k-th best
score, in falling order of their bounds, until none is left. The answers are those of the score of
every row, to the last bit (tests/tasks/searching/test_bounded.py).
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from functools import partial

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import torch

from reelvec.models.bounding import Asked, ScoreBound
from reelvec.models.features import TextFeatures
from reelvec.models.ranking.coarse import RoundedRows, WholeRows
from reelvec.storage.commits.artifact import Snapshot
from reelvec.storage.derived import Derived, derive
from reelvec.tasks.scoring.logits import Columns, Scoring, one_thread
from reelvec.tasks.scoring.split_rows import check_columns
from reelvec.tasks.searching.bounded_files import make_files, mapped, widened
from reelvec.tasks.searching.mapped import allowed_rows
from reelvec.tasks.searching.search import Ranking, check_query
from reelvec.tasks.searching.sorted_rows import SortedRows

__all__ = ["BoundedIndex"]

_AT_ONCE = 1024
"""Videos whose products are computed at once, or several times as many."""
_NUMBERS = 1 << 17
"""Products held at once, where that many videos do not make more."""
_TOGETHER = 16
"""Queries whose bounds are computed at once."""
_BOUNDS = 1 << 23
"""Bounds held at once, where one query has no more: so many numbers."""
_FIRST = 64
"""Videos scored before the first threshold; as many again each time until none is left."""
_MOST = 4096
_ROOM = 2 << 30
"""Bytes of rounded vectors that may be laid out in memory for faster products."""
_UP = 2.0**-20
"""Of a bound, for its own last roundings."""


class BoundedIndex:
    """The videos, or windows, of one snapshot, for one model's score and bound.

    Attributes:
        rows: key, split and video_id of each, in the order of the keys.
    """

    def __init__(self, made: Derived, *, scoring: Scoring, bound: ScoreBound) -> None:
        self._scoring, self._bound = scoring, bound
        self.rows = SortedRows(made.folder / "rows.arrow")
        self._columns = {
            name: mapped(made.folder, "column", name) for name in made.facts["columns"]
        }
        self._facts = mapped(made.folder, "facts")
        self._sure = mapped(made.folder, "sure")
        room = _ROOM // max(1, len(made.facts["vectors"]))
        self._vectors = {
            name: WholeRows(
                mapped(made.folder, "whole", name), mapped(made.folder, "measures", name), room=room
            )
            for name in made.facts["vectors"]
        }

    @classmethod
    def of(
        cls, embeddings: Snapshot, *, scoring: Scoring, bound: ScoreBound, table: str = "videos"
    ) -> BoundedIndex:
        """The index of a table of a snapshot, made where it is not there.

        Raises:
            MissingColumnError: the table lacks the columns the score reads.
        """
        check_columns(embeddings, table=table, features=scoring.video_columns)
        of_table = "" if table == "videos" else f"-of-{table}"
        made = derive(
            embeddings,
            what=f"bounds{_digest(bound)}{of_table}",
            make=lambda folder: make_files(embeddings, folder, bound=bound, table=table),
        )
        return cls(made, scoring=scoring, bound=bound)

    def __len__(self) -> int:
        return len(self.rows)

    def best(
        self,
        query: Columns,
        *,
        top: int,
        split: str | None = None,
        only: pa.Array | None = None,
        at_most: int | None = None,
    ) -> Ranking:
        """The `top` best rows, as `best_videos` gives them, and how many were scored for it.

        Where no more than `at_most` are scored, those of the highest bounds, they are the best of
        these, and all others that could still be among them are counted: every row that is not has
        a bound below the last of them. None are left: the answers are those of every row.

        Args:
            query: features of one text.
            top: at least 1.
            split: rows of this split and of none; None: all.
            only: ids of the videos that are looked for; None: all.
            at_most: rows that are scored, or `top` where that is more; None: all that could be.

        Raises:
            RequestError: the query itself is not finite.
        """
        (best,) = self.each([query])
        return best(top=top, split=split, only=only, at_most=at_most)

    def each(self, queries: Sequence[Columns]) -> Iterator[Callable[..., Ranking]]:
        """`best` of each query, to be called with what follows it: one product bounds several.

        Raises:
            RequestError: a query is not finite.
        """
        for query in queries:
            check_query(query)
        group = min(_TOGETHER, max(1, _BOUNDS // max(1, len(self))))
        for start in range(0, len(queries), group):
            some = queries[start : start + group]
            for query, upper in zip(some, self._upper(some), strict=True):
                yield partial(self._best, query, upper)

    def _best(
        self,
        query: Columns,
        upper: npt.NDArray[np.float64],
        *,
        top: int,
        split: str | None = None,
        only: pa.Array | None = None,
        at_most: int | None = None,
    ) -> Ranking:
        allowed = allowed_rows(self.rows.table, split=split, only=only)
        with one_thread(), torch.inference_mode():
            score = self._scoring.of(query)
            left = np.flatnonzero(allowed)
            best: list[tuple[float, int]] = []
            scored, left_out, step = 0, 0, max(_FIRST, top)
            room = len(left) if at_most is None else max(at_most, top)
            while len(left) and scored < room:
                some, left = _highest(upper, left, count=min(step, room - scored))
                scores = score(self._rows(some))[0].double().numpy()
                finite = np.isfinite(scores)
                left_out += int((~finite).sum())
                found = zip((-scores[finite]).tolist(), some[finite].tolist(), strict=True)
                best = sorted([*best, *found])[:top]
                if len(best) >= top:
                    left = left[upper[left] >= -best[-1][0]]
                scored, step = scored + len(some), min(2 * step, _MOST)
        names = [(self.rows.key(row), -score) for score, row in best]
        videos = int(allowed.sum())
        return Ranking(names, left_out, videos=videos, scored=scored, undecided=len(left))

    def _upper(self, queries: Sequence[Columns]) -> npt.NDArray[np.float64]:
        """No less than the score of each query with each video, [Q, N]."""
        with one_thread(), torch.inference_mode():
            asked = [self._asked(query) for query in queries]
            rounded = {
                name: [RoundedRows.of(one.rows[name]) for one in asked] for name in self._vectors
            }
            upper = torch.empty(len(asked), len(self), dtype=torch.float64)
            wide = [rounded[name][0].rows * one.count for name, one in self._vectors.items()]
            step = max(1, _NUMBERS // max(wide, default=1) // _AT_ONCE) * _AT_ONCE
            for start in range(0, len(self), step):
                some = slice(start, min(start + step, len(self)))
                near = {n: one.near_each(rounded[n], some) for n, one in self._vectors.items()}
                for number, one in enumerate(asked):
                    found = {name: products[number] for name, products in near.items()}
                    upper[number, some] = self._bound.upper(one, found, self._facts[some])
            upper += upper.abs() * _UP
            unknown = ~self._sure | upper.isnan()
            return upper.masked_fill_(unknown, torch.inf).numpy()

    def _asked(self, query: Columns) -> Asked:
        text = TextFeatures.from_columns(query, columns=self._bound.text_columns)
        return self._bound.asked(text.to(device=torch.device("cpu")))

    def _rows(self, rows: npt.NDArray[np.int64]) -> Columns:
        return {name: widened(x[torch.from_numpy(rows)]) for name, x in self._columns.items()}


def _highest(
    upper: npt.NDArray[np.float64], rows: npt.NDArray[np.int64], *, count: int
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """The rows of the highest bounds, so many, in the order of the rows; and the others."""
    if len(rows) <= count:
        return rows, rows[:0]
    order = np.argpartition(-upper[rows], count - 1)
    return np.sort(rows[order[:count]]), rows[order[count:]]


def _digest(bound: ScoreBound) -> str:
    """Of all that the files depend on beside the snapshot."""
    found = hashlib.blake2b(digest_size=8)
    for part in bound.made_with:
        found.update(part.encode() if isinstance(part, str) else part.numpy().tobytes())
    return found.hexdigest()
