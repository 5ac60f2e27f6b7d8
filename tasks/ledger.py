"""The ledger: for every video of a corpus, what became of it, and at which stage.

Nothing vanishes: a video is ok, salvaged, quarantined with a reason, or still to be done.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass

from reelvec.storage.commits.artifact import Snapshot
from reelvec.storage.errors import ReelvecError
from reelvec.storage.records import Outcome, Reason, Status, Video
from reelvec.tasks.corpus.ingest import Corpus, key_of

__all__ = [
    "LedgerRow",
    "TooManyFailedError",
    "check_failed_fraction",
    "counts",
    "failures",
    "ledger",
]

PENDING = "pending"


class TooManyFailedError(ReelvecError):
    """More videos failed than the run allows."""


@dataclass(frozen=True, slots=True)
class LedgerRow:
    """One video and its outcome; `stage` is where it was decided (ingest or extract)."""

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


def failures(rows: Iterable[LedgerRow]) -> list[dict[str, str | int]]:
    """The rows a person should look at (quarantined and salvaged), as plain dicts."""
    return [asdict(row) for row in rows if row.status in (Status.QUARANTINED, Status.SALVAGED)]


def counts(rows: Iterable[LedgerRow]) -> dict[str, int]:
    """planned, ok, salvaged, quarantined and pending; the last four add up to the first."""
    by_status = Counter(row.status for row in rows)
    names = [Status.OK, Status.SALVAGED, Status.QUARANTINED, PENDING]
    return {"planned": by_status.total()} | {str(name): by_status[name] for name in names}


def check_failed_fraction(rows: Iterable[LedgerRow], *, limit: float) -> None:
    """Refuse to go on when a larger part than `limit` is quarantined.

    Raises:
        TooManyFailedError: with counts by reason and the remedy.
    """
    rows = list(rows)
    reasons = Counter(Reason(r.reason).value for r in rows if r.status == Status.QUARANTINED)
    failed = reasons.total()
    if rows and failed / len(rows) > limit:
        listed = ", ".join(f"{count} {reason}" for reason, count in reasons.most_common())
        raise TooManyFailedError(
            f"{failed} of {len(rows)} videos failed ({listed}), more than"
            f" extract.max_failed_fraction ({limit}) allows; `reelvec failures` lists them,"
            " `reelvec retry` tries them again, and a higher limit accepts them"
        )
