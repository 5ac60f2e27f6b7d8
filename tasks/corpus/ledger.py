"""The ledger: the outcome of every video of a corpus, and the stage that decided it.

Nothing vanishes: a video is ok, salvaged, quarantined with a reason, or still to be done.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace

import numpy as np

from reelvec.storage.commits.artifact import Snapshot
from reelvec.storage.reasons import Reason, Status
from reelvec.storage.records import Outcome, Video
from reelvec.tasks.corpus.clips import are_quarantined, clip_outcomes, iter_clips
from reelvec.tasks.corpus.errors import TooManyFailedError
from reelvec.tasks.corpus.ingest import Corpus, key_of
from reelvec.tasks.corpus.video_columns import video_columns

__all__ = [
    "LedgerCounts",
    "LedgerRow",
    "LedgerSummary",
    "check_failed_fraction",
    "counts",
    "failures",
    "ledger",
    "sound_failures",
    "summary",
]

PENDING = "pending"


@dataclass(frozen=True, slots=True)
class LedgerRow:
    """One video and its outcome; `stage` is where it was decided: ingest, extract or audio."""

    video_id: str
    path: str
    split: str
    clip_key: str
    stage: str
    status: str
    reason: str
    message: str
    detail: str
    attempts: int


@dataclass(frozen=True, slots=True, kw_only=True)
class LedgerCounts:
    """Videos by what became of them; planned is the sum of the others."""

    planned: int
    ok: int
    salvaged: int
    quarantined: int
    pending: int

    def to_json(self) -> dict[str, int]:
        """By name, in this order."""
        return asdict(self)

    @property
    def words(self) -> str:
        """On one line."""
        return ", ".join(f"{count} {name}" for name, count in self.to_json().items())


def ledger(corpus: Corpus, *, frames: Snapshot | None) -> Iterator[LedgerRow]:
    """One row a video, in corpus order.

    Args:
        corpus: the videos that count.
        frames: the frames snapshot in force; None before the first extraction.
    """
    live: Mapping[str, Outcome] = frames.live("frames") if frames else {}
    for video in corpus.videos:
        yield _row(video, live=live)


def _row(video: Video, *, live: Mapping[str, Outcome]) -> LedgerRow:
    key = key_of(video)
    if video.status == Status.QUARANTINED:
        stage, outcome = "ingest", Outcome(key, video.status, video.reason, video.message)
    else:
        stage, outcome = "extract", live.get(key) or Outcome(key, status=PENDING)
    return LedgerRow(
        video_id=video.video_id,
        path=video.path,
        split=video.split,
        clip_key=key,
        stage=stage,
        status=outcome.status,
        reason=outcome.reason,
        message=outcome.message,
        detail=outcome.detail,
        attempts=outcome.attempts,
    )


@dataclass(frozen=True)
class LedgerSummary:
    """How many videos there are, and the rows a person should look at."""

    counts: LedgerCounts
    failures: tuple[LedgerRow, ...]
    """Quarantined and salvaged ones, in corpus order."""


def summary(corpus: Snapshot | None, *, frames: Snapshot | None) -> LedgerSummary:
    """What `ledger` says in short, in memory that does not grow with what is ok."""
    clips = clip_outcomes(frames)
    live = {key: row for key, (row, _) in clips.others.items()}
    seen: Counter[str] = Counter()
    rows: list[int] = []
    for first, piece, keys in iter_clips(corpus):
        broken = are_quarantined(piece)
        is_ok = (clips.places(keys) >= 0) & ~broken
        seen[Status.OK] += int(is_ok.sum())
        others = np.flatnonzero(~is_ok).tolist()
        decided = [i for i in others if broken[i] or keys[i] in live]
        seen[PENDING] += len(others) - len(decided)
        rows += [first + i for i in decided]
    found: list[LedgerRow] = []
    for video in video_columns(corpus).records(np.array(rows, np.int64)):
        row = _row(video, live=live)
        seen[row.status] += 1
        found += failures([row])
    return LedgerSummary(_counts(seen), tuple(found))


def failures(rows: Iterable[LedgerRow]) -> list[LedgerRow]:
    """The rows a person should look at: quarantined and salvaged."""
    return [row for row in rows if row.status in (Status.QUARANTINED, Status.SALVAGED)]


def sound_failures(corpus: Snapshot | None, *, audio: Snapshot | None) -> list[LedgerRow]:
    """Videos without sound, or with salvaged sound, in corpus order; `stage` is audio.

    They count among the others of the ledger by their frames: their rows have null in the columns
    of sound.
    """
    sounds, found = clip_outcomes(audio).others, []
    rows = [
        first + i
        for first, _, keys in iter_clips(corpus)
        for i, key in enumerate(keys)
        if key in sounds
    ]
    for video in video_columns(corpus).records(np.array(rows, np.int64)):
        if video.status != Status.QUARANTINED:
            row = _row(video, live={key_of(video): sounds[key_of(video)][0]})
            found.append(replace(row, stage="audio"))
    return found


def counts(rows: Iterable[LedgerRow]) -> LedgerCounts:
    """How many videos there are, and what became of them."""
    return _counts(Counter(str(row.status) for row in rows))


def _counts(by_status: Counter[str]) -> LedgerCounts:
    return LedgerCounts(
        planned=by_status.total(),
        ok=by_status[Status.OK],
        salvaged=by_status[Status.SALVAGED],
        quarantined=by_status[Status.QUARANTINED],
        pending=by_status[PENDING],
    )


def check_failed_fraction(videos: LedgerSummary, *, limit: float) -> None:
    """Refuse to go on when a larger part than `limit` is quarantined, or all of them.

    Raises:
        TooManyFailedError: with counts by reason and the remedy.
    """
    planned, rows = videos.counts.planned, videos.failures
    reasons = Counter(Reason(r.reason).value for r in rows if r.status == Status.QUARANTINED)
    failed = reasons.total()
    if not planned or not (failed > limit * planned or failed == planned):
        return
    listed = ", ".join(f"{count} {reason}" for reason, count in reasons.most_common())
    rule, remedy = "so nothing is left to work with", ""
    if failed < planned:
        rule = f"more than extract.max_failed_fraction ({limit}) allows"
        remedy = ", and a higher limit accepts them"
    raise TooManyFailedError(
        f"{failed} of {planned} videos failed ({listed}), {rule}; `reelvec failures` lists them,"
        f" `reelvec retry` tries them again{remedy}"
    )
