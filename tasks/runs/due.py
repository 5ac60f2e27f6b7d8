"""Which videos a run would touch, and why."""

from __future__ import annotations

from dataclasses import dataclass

from reelvec.storage.reasons import Status
from reelvec.tasks.artifacts import Session
from reelvec.tasks.corpus.ingest import key_of, read_corpus
from reelvec.tasks.runs.plan import StagePlans

__all__ = ["LEFT", "MODEL", "DueVideo", "due_videos"]

NEW, CHANGED, GONE = "new", "changed", "gone"
AGAIN = "hashed again"
FAILED = "failed before"
MODEL = "model changed"
LEFT = "not finished"
"""It was listed by an earlier run, and is not yet in the tables."""


@dataclass(frozen=True, slots=True)
class DueVideo:
    """A video that is touched, and the first of the reasons that hold."""

    video_id: str
    why: str


def due_videos(session: Session, plans: StagePlans, *, unembedded: str) -> dict[str, str]:
    """The reason by video_id, the weightiest where several hold.

    Args:
        session: of the run.
        plans: of its stages.
        unembedded: why videos have no row in the run's tables; "": none will be made.
    """
    ingest = plans.ingest
    due = _embedded_anew(session, plans, why=unembedded) if unembedded else {}
    due |= _decoded(session, plans)
    changed = set(ingest.changed)
    for video in ingest.due:
        due[video.video_id] = CHANGED if video.video_id in changed else NEW
    due |= dict.fromkeys(ingest.again, AGAIN if session.rehash else FAILED)
    return due | dict.fromkeys([*ingest.gone, *ingest.removed], GONE)


def _embedded_anew(session: Session, plans: StagePlans, *, why: str) -> dict[str, str]:
    """Videos without a row in the run's tables, or with a stale or orphaned one."""
    embed = plans.embed
    if embed is None:
        videos = read_corpus(session).videos
        return {v.video_id: why for v in videos if v.status != Status.QUARANTINED}
    rows = [row for shard in embed.shards if shard.table == "videos" for row in shard.items]
    stale = set(embed.stale)
    due = {row.video_id: CHANGED if row.video_id in stale else why for row in rows}
    return due | dict.fromkeys(embed.orphaned, GONE)


def _decoded(session: Session, plans: StagePlans) -> dict[str, str]:
    """Videos whose clips have no frames, or whose sound was not looked for."""
    shards = [*plans.extract.shards, *(plans.audio.shards if plans.audio else ())]
    attempts = {clip.job.clip_key: clip.attempts for shard in shards for clip in shard.items}
    if not attempts:
        return {}
    return {
        video.video_id: FAILED if attempts[key_of(video)] else LEFT
        for video in read_corpus(session).videos
        if key_of(video) in attempts
    }
