"""Search: rank all videos of a table by a query, part by part; what an answer is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import torch
from torch import Tensor

from reelvec.configs import PipelineConfig
from reelvec.errors import RequestError
from reelvec.storage.commits.artifact import Snapshot
from reelvec.storage.frames.reader import FrameReader
from reelvec.storage.records import Video
from reelvec.storage.tables import iter_tables
from reelvec.tasks.corpus.ingest import key_of
from reelvec.tasks.embedding.rows import WINDOWS
from reelvec.tasks.scoring.logits import Columns, Scoring, dot_product, one_thread
from reelvec.tasks.scoring.split_rows import check_columns, tensors_of

__all__ = [
    "KEYS",
    "Answers",
    "Ranking",
    "SearchRow",
    "answers_of",
    "answers_with",
    "best_videos",
    "check_query",
    "check_request",
    "with_warning",
]

KEYS = {"videos": "video_id", WINDOWS: "window_id"}
"""Tables that are searched, and their key."""

UNTRAINED = (
    "These vectors are from an UNTRAINED model (no weights, no epoch of training) and mean nothing:"
    " this order is that of chance. Embed with --weights, or train."
)


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
    best_seconds: float | None = None
    """Of a window: when its frame nearest to the query is shown; None: not looked for."""

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for tables and JSON."""
        return {**asdict(self), "pts_seconds": list(self.pts_seconds)}


@dataclass(frozen=True, slots=True)
class Ranking:
    """The best rows of a table, and how many rows had no place in the order."""

    best: list[tuple[str, float]]
    """(key, score), best first."""
    not_finite: int = 0
    """Rows left out, since their score is NaN or infinite (stores of before they were refused)."""
    videos: int = field(default=0, compare=False)
    """Rows that were looked for."""
    scored: int = field(default=0, compare=False)
    """Of these, rows scored exactly; a bound shows of all others that they cannot be among them."""
    recall: float | None = field(default=None, compare=False)
    """Of the ten best, the part that such searches find on average; None: exact."""
    measured: str = field(default="", compare=False)
    """On what that was measured."""
    undecided: int = field(default=0, compare=False)
    """But for these: nothing shows it of them, since no more were to be scored."""


@dataclass(frozen=True, slots=True)
class Answers:
    """What a search found, and what a person should know about it."""

    rows: list[SearchRow]
    """Best first."""
    unit: str
    """Of the scores: see `Scoring.unit`."""
    notes: tuple[str, ...] = ()
    videos: int = 0
    """Rows that were looked for."""
    scored: int = 0
    """Of these, rows scored exactly; all others are proven not to be answers (`recall` None)."""
    undecided: int = 0
    """But for so many, which could be among them; 0: the answers are exact."""
    recall: float | None = None
    """Of the ten best, the part that such searches find on average; None: exact."""


def check_request(text: str | None, *, top: int, at_most: int | None = None) -> None:
    """Refuses what has no answer.

    Raises:
        RequestError: no text, no row asked for, or none to be scored.
    """
    if top < 1:
        raise RequestError(f"top ({top}) must be at least 1")
    if at_most is not None and at_most < 1:
        raise RequestError(f"at_most ({at_most}) must be at least 1")
    if isinstance(text, str) and not text.strip():
        raise RequestError("the text is empty; say in words what to look for")


def with_warning(answers: Answers, config: PipelineConfig) -> Answers:
    """`answers` of a run, with a warning where its model never saw a video or a weights file."""
    if config.model.weights is not None or config.train.epochs:
        return answers
    return replace(answers, notes=(UNTRAINED, *answers.notes))


def answers_of(
    ranking: Ranking,
    *,
    find: Callable[[str], Video | None],
    reader: FrameReader | None = None,
    unit: str,
) -> Answers:
    """The rows of a ranking, with where and when they are.

    Args:
        ranking: best first.
        find: the corpus' video of an id; one that has left it is still shown, without a path.
        reader: says when the stored frames are; None leaves the times out.
        unit: of the scores.
    """
    rows = [
        _row(rank, score, find(name) or Video(name, ""), reader=reader)
        for rank, (name, score) in enumerate(ranking.best, start=1)
    ]
    return answers_with(rows, ranking, unit=unit)


def answers_with(rows: list[SearchRow], ranking: Ranking, *, unit: str) -> Answers:
    """These rows, and what a person should know about their ranking."""
    counts = (ranking.videos, ranking.scored, ranking.undecided, ranking.recall)
    return Answers(rows, unit, _notes_of(ranking), *counts)


def _notes_of(ranking: Ranking) -> tuple[str, ...]:
    """What a person should know about a ranking."""
    notes = []
    if ranking.not_finite:
        notes.append(
            f"{ranking.not_finite:,} videos are left out: their vectors hold NaN or infinity, and"
            " have no place in any order; embed them with other weights"
        )
    if ranking.recall is not None:
        notes.append(
            f"approximate: of the ten best {ranking.recall:.1%} are found on average, as measured"
            f" with {ranking.measured} of the table; without --approximate the order is exact"
        )
    if ranking.undecided:
        notes.append(
            f"not exact: {ranking.scored:,} of {ranking.videos:,} videos were scored, and"
            f" {ranking.undecided:,} of the others could be among these; score more of them"
        )
    return tuple(notes)


def best_videos(
    query: Columns,
    *,
    embeddings: Snapshot,
    top: int,
    scoring: Scoring | None = None,
    table: str = "videos",
    split: str | None = None,
    only: pa.Array | None = None,
) -> Ranking:
    """The `top` best rows of a table; those without a finite score are only counted.

    Every row is scored, piece by piece, which any score allows (`VectorIndex`: products alone).
    Equal scores stand in the order of their ids, so that it does not matter when a row was added.

    Args:
        query: features of one text, as `scoring` reads them: for a plain product
            {"embedding": unit vector [1, D]}.
        embeddings: snapshot whose table is searched; memory is that of one piece of it.
        top: how many, at least 1; fewer come back from a smaller table.
        scoring: `scoring.logits.scoring_of(model)`; None: the plain product of `embedding`.
        table: a key of KEYS.
        split: rows of this split and of none; None: all.
        only: ids of the videos that are looked for; None: all.

    Raises:
        ValueError: top < 1, or more than one query.
        RequestError: the query itself is not finite.
        MissingColumnError: the table lacks the columns the score reads.
    """
    scoring = scoring or dot_product()
    if top < 1:
        raise ValueError(f"top={top}; it must be at least 1")
    check_query(query)
    check_columns(embeddings, table=table, features=scoring.video_columns)
    best: list[tuple[str, float]] = []
    left_out = videos = 0
    with one_thread(), torch.inference_mode():
        facts = dict.fromkeys([KEYS[table], "video_id", "split"])
        columns = [*facts, *scoring.video_columns]
        for whole in iter_tables(embeddings, table, columns=columns):
            piece = whole if split is None else _in_split(whole, split)
            if only is not None:
                piece = piece.filter(pc.is_in(piece.column("video_id"), value_set=only))
            if not piece.num_rows:
                continue
            videos += piece.num_rows
            values = tensors_of(piece, scoring.video_columns)
            columns_of = {n: v.float() if v.is_floating_point() else v for n, v in values.items()}
            scores = scoring.similarity(query, columns_of)[0]
            finite = torch.isfinite(scores).nonzero().flatten()
            left_out += piece.num_rows - len(finite)
            rows = finite[_among_best(scores[finite], top=top)]
            names = piece.column(KEYS[table]).take(pa.array(rows.numpy())).to_pylist()
            found = zip(names, scores[rows].tolist(), strict=True)
            best = sorted([*best, *found], key=lambda row: (-row[1], row[0]))[:top]
    return Ranking(best, left_out, videos=videos, scored=videos)


def _in_split(rows: pa.Table, split: str) -> pa.Table:
    wanted = pa.array([split, ""], pa.string())
    return rows.filter(pc.is_in(rows.column("split"), value_set=wanted))


def _among_best(scores: Tensor, *, top: int) -> Tensor:
    """Rows of the `top` highest scores [n] and of all that equal the last of them."""
    if not len(scores):
        return torch.zeros(0, dtype=torch.int64)
    least = scores.topk(min(top, len(scores))).values[-1]
    return (scores >= least).nonzero().flatten()


def check_query(query: Columns) -> None:
    """Refuses what is not one query, or not finite.

    Raises:
        ValueError: more than one row.
        RequestError: NaN or infinity in it.
    """
    rows = {len(values) for values in query.values()}
    if rows != {1}:
        raise ValueError(f"the query's columns have {sorted(rows)} rows; search takes one text")
    for name, values in query.items():
        if values.is_floating_point() and not bool(torch.isfinite(values).all()):
            raise RequestError(
                f"the model gives no vector for this text: its {name} holds NaN or infinity; its"
                " weights are damaged, embed with others"
            )


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
        end_seconds=_end_of(video),
        frames=len(times),
        pts_seconds=times,
    )


def _end_of(video: Video) -> float:
    """Seconds: of the window, else as declared, else (GIF, MPEG-TS, raw streams) as counted."""
    counted = video.frames_counted / video.fps_container if video.fps_container else 0.0
    return video.end_seconds or video.duration_seconds_from_header or counted
