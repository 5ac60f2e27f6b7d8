"""Exact search with scores that look at the query: bounds prune, and what is left is scored.

`bounded_files` has what is derived of a table once. For a query every video's bound is
computed; the best by their bounds are scored, then all whose bound is no less than the k-th best
score, in falling order of their bounds, until none is left. The answers are those of the score of
every row, to the last bit (tests/tasks/searching/test_bounded.py).
"""

from __future__ import annotations

import hashlib

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import torch

from reelvec.models.bounding import ScoreBound
from reelvec.models.features import TextFeatures
from reelvec.models.ranking.coarse import WholeRows
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
        check_query(query)
        allowed = allowed_rows(self.rows.table, split=split, only=only)
        with one_thread(), torch.inference_mode():
            upper, score = self._upper(query), self._scoring.of(query)
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

    def _upper(self, query: Columns) -> npt.NDArray[np.float64]:
        """No less than the score of each video, [N]."""
        text = TextFeatures.from_columns(query, columns=self._bound.text_columns)
        asked = self._bound.asked(text.to(device=torch.device("cpu")))
        upper = torch.empty(len(self), dtype=torch.float64)
        wide = [len(asked.rows[name]) * one.count for name, one in self._vectors.items()]
        step = max(1, _NUMBERS // max(wide, default=1) // _AT_ONCE) * _AT_ONCE
        for start in range(0, len(self), step):
            some = slice(start, min(start + step, len(self)))
            near = {
                name: vectors.near(asked.rows[name], some)
                for name, vectors in self._vectors.items()
            }
            upper[some] = self._bound.upper(asked, near, self._facts[some])
        upper += upper.abs() * _UP
        unknown = ~self._sure | upper.isnan()
        return upper.masked_fill_(unknown, torch.inf).numpy()

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
