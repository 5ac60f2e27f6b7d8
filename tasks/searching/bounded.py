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
"""Videos whose products are computed at once."""
_FIRST = 64
"""Videos scored before the first threshold; as many again each time until none is left."""
_MOST = 4096
_ROOM = 2 << 30
"""Bytes of rounded vectors that may be laid out in memory for faster products."""
_UP = 2.0**-20
"""Of a bound, for its own last roundings."""


class BoundedIndex:
    """The videos of one snapshot, for one model's score and bound.

    Attributes:
        rows: video_id and split of each, in the order of the ids.
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
    def of(cls, embeddings: Snapshot, *, scoring: Scoring, bound: ScoreBound) -> BoundedIndex:
        """The index of a snapshot, made where it is not there.

        Raises:
            MissingColumnError: the table lacks the columns the score reads.
        """
        check_columns(embeddings, table="videos", features=scoring.video_columns)
        made = derive(
            embeddings,
            what=f"bounds{_digest(bound)}",
            make=lambda folder: make_files(embeddings, folder, bound=bound),
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
    ) -> Ranking:
        """The `top` best rows, as `best_videos` gives them, and how many were scored for it.

        Args:
            query: features of one text.
            top: at least 1.
            split: rows of this split and of none; None: all.
            only: ids of the videos that are looked for; None: all.

        Raises:
            RequestError: the query itself is not finite.
        """
        check_query(query)
        allowed = allowed_rows(self.rows.table, split=split, only=only)
        with one_thread(), torch.inference_mode():
            upper = self._upper(query)
            upper[~allowed] = -np.inf
            order = np.argsort(-upper, kind="stable")[: int(allowed.sum())]
            best: list[tuple[float, int]] = []
            scored, left_out, step = 0, 0, max(_FIRST, top)
            while scored < len(order):
                least = -best[top - 1][0] if len(best) >= top else -np.inf
                rows = order[scored : scored + step]
                rows = rows[upper[rows] >= least]
                if not len(rows):
                    break
                scores = self._scores(query, np.sort(rows))
                finite = np.isfinite(scores)
                left_out += int((~finite).sum())
                found = zip(-scores[finite], np.sort(rows)[finite], strict=True)
                best = sorted([*best, *((float(s), int(row)) for s, row in found)])[:top]
                scored, step = scored + len(rows), min(2 * step, _MOST)
        names = [(self.rows.key(row), -score) for score, row in best]
        return Ranking(names, left_out, videos=len(order), scored=scored)

    def _upper(self, query: Columns) -> npt.NDArray[np.float64]:
        """No less than the score of each video, [N]."""
        text = TextFeatures.from_columns(query, columns=self._bound.text_columns)
        asked = self._bound.asked(text.to(device=torch.device("cpu")))
        upper = torch.empty(len(self), dtype=torch.float64)
        for start in range(0, len(self), _AT_ONCE):
            some = slice(start, min(start + _AT_ONCE, len(self)))
            near = {
                name: vectors.near(asked.rows[name], some)
                for name, vectors in self._vectors.items()
            }
            upper[some] = self._bound.upper(asked, near, self._facts[some])
        upper += upper.abs() * _UP
        unknown = ~self._sure | upper.isnan()
        return upper.masked_fill_(unknown, torch.inf).numpy()

    def _scores(self, query: Columns, rows: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
        videos = {name: widened(x[torch.from_numpy(rows)]) for name, x in self._columns.items()}
        return self._scoring.similarity(query, videos)[0].double().numpy()


def _digest(bound: ScoreBound) -> str:
    """Of all that the files depend on beside the snapshot."""
    found = hashlib.blake2b(digest_size=8)
    for part in bound.made_with:
        found.update(part.encode() if isinstance(part, str) else part.numpy().tobytes())
    return found.hexdigest()
