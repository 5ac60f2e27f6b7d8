"""Which clips of a corpus are to be decoded, for an artifact that keeps something by clip.

Frames and sound are kept by the clip's bytes, not its name: the same bytes under two paths are
decoded once, and a renamed clip is not decoded again. The table is called as the artifact's kind.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from reelvec.storage.commits.artifact import Artifact, Receipt, Snapshot
from reelvec.storage.reasons import Reason, Status
from reelvec.storage.records import Outcome, Video
from reelvec.tasks.artifacts import Session, SnapshotRef
from reelvec.tasks.corpus.clips import ClipOutcomes, are_quarantined, clip_outcomes, iter_clips
from reelvec.tasks.corpus.video_columns import video_columns
from reelvec.tasks.decoding.files import ClipJob
from reelvec.tasks.shards import Shard, make_shards, size_of_shards, split_finished

__all__ = ["Clip", "DecodePlan", "commit_clips", "plan_clips"]

LEAST_A_SHARD = 8
"""Clips: a shard is a part, a receipt and some syncs of the disk, while others decode."""
#: reasons that are about the moment and not the clip: such clips are tried again on each run
PASSING = frozenset({Reason.MISSING, Reason.CHANGED, Reason.PERMISSION, Reason.UNREACHABLE})


@dataclass(frozen=True, slots=True)
class Clip:
    """A clip to decode, and how often that was tried before."""

    job: ClipJob
    attempts: int = 0


@dataclass(frozen=True)
class DecodePlan:
    """Which clips are to be decoded."""

    target: SnapshotRef
    shards: list[Shard[Clip]]
    adopted: list[Receipt]
    retried: list[str]

    clips: int

    @property
    def done(self) -> dict[str, int]:
        """Clips by why they are decoded, as a stage's receipt counts them."""
        return {"new": self.clips - len(self.retried), "again": len(self.retried)}


def plan_clips(
    session: Session,
    artifact: Artifact,
    *,
    retry: Callable[[Outcome], bool],
    with_files: bool = False,
) -> DecodePlan:
    """Compare the corpus with what is kept; opens no video.

    Args:
        session: of the run.
        artifact: what keeps it.
        retry: which clips are tried once more, by their ledger row; asked of those not ok.
        with_files: after each piece of a file the whole file, too: windows share its frames.
    """
    known = clip_outcomes(session.latest(artifact))
    attempts = {
        key: row.attempts for key, (row, _) in known.others.items() if _is_due(row, retry=retry)
    }
    clips: dict[str, Clip] = {}
    corpus = session.latest(session.corpus)
    for video, key in _pending(corpus, known=known, redo=attempts, with_files=with_files):
        job = ClipJob.from_video(video, clip_key=key)
        clips.setdefault(key, Clip(job, attempts.get(key, 0)))
    shards = make_shards(
        list(clips.values()),
        table=artifact.kind,
        size=size_of_shards(
            len(clips), least=LEAST_A_SHARD, most=session.config.extract.shard_videos
        ),
        key=lambda clip: f"{clip.job.clip_key} {clip.attempts}",
    )
    adopted, todo = split_finished(artifact, shards)
    return DecodePlan(
        target=session.ref(artifact),
        shards=todo,
        adopted=adopted,
        retried=[key for key in clips if key in attempts],
        clips=len(clips),
    )


def commit_clips(
    session: Session, artifact: Artifact, plan: DecodePlan, receipts: Sequence[Receipt]
) -> Snapshot:
    """Publish what is new; clips that are tried again supersede their old rows."""
    return session.publish(
        artifact,
        add=[*plan.adopted, *receipts],
        supersede={artifact.kind: plan.retried},
        note=f"{plan.clips} clips",
    )


def _pending(
    corpus: Snapshot | None, *, known: ClipOutcomes, redo: Collection[str], with_files: bool
) -> Iterator[tuple[Video, str]]:
    """Videos whose clips have no outcome, or are tried again, in corpus order.

    Args:
        corpus: the videos that count.
        known: what became of clips.
        redo: keys of those that are tried again.
        with_files: after each piece of a file the whole file, too: windows share its frames.
    """
    rows: list[int] = []
    named: list[tuple[str, str]] = []
    for first, piece, keys in iter_clips(corpus):
        files = piece.column("content_hash").to_pylist() if with_files else []
        usable = ~are_quarantined(piece)
        due = [
            _without_outcome(some, known=known, redo=redo) & usable
            for some in ([keys, files] if with_files else [keys])
        ]
        for i in np.flatnonzero(np.any(due, axis=0)).tolist():
            rows.append(first + i)
            file = files[i] if with_files and due[1][i] else ""
            named.append((keys[i] if due[0][i] else "", file))
    videos = video_columns(corpus).records(np.array(rows, np.int64))
    for video, (key, file) in zip(videos, named, strict=True):
        if key:
            yield video, key
        if file:
            yield replace(video, start_seconds=None, end_seconds=None), file


def _without_outcome(
    keys: Sequence[str], *, known: ClipOutcomes, redo: Collection[str]
) -> NDArray[np.bool_]:
    due: NDArray[np.bool_] = known.places(keys) < 0
    for i in np.flatnonzero(due).tolist():
        due[i] = bool(keys[i]) and (keys[i] in redo or keys[i] not in known.others)
    return due


def _is_due(outcome: Outcome, *, retry: Callable[[Outcome], bool]) -> bool:
    passing = outcome.status == Status.QUARANTINED and outcome.reason in PASSING
    return passing or retry(outcome)
