"""Embed: from frames and captions to one video table and one caption table.

Where the corpus asks for windows, a third table has theirs (`tasks.embedding.windows`).

A row is written when it is missing or stale: its video's bytes, window or split, or its caption's
text, are not those of the table. A video whose clip is in the table under another name is copied,
not encoded. Videos that cannot be embedded are planned all the same and keep their reason, so the
counts of the table reconcile with the corpus.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from reelvec.storage.commits.artifact import Receipt, Snapshot
from reelvec.storage.reasons import Status
from reelvec.tasks.artifacts import Session, SnapshotRef
from reelvec.tasks.corpus.clips import clip_outcomes
from reelvec.tasks.embedding.differences import (
    caption_differences,
    embedded_clips,
    video_differences,
)
from reelvec.tasks.embedding.rows import WINDOWS, CaptionRow, FileRow, VideoRow
from reelvec.tasks.embedding.window_plan import WindowDifferences, window_differences
from reelvec.tasks.identity import rows_see_each_other
from reelvec.tasks.shards import Shard, make_shards, size_of_shards, split_finished

__all__ = ["EmbedPlan", "commit_embed", "plan_embed"]

LEAST_A_SHARD = 16
"""Videos."""
CAPTIONS_A_VIDEO = 8
"""A caption shard holds so many times more rows than a video shard."""
FILES_A_SHARD = 16
"""Of files that are cut into windows."""


@dataclass(frozen=True)
class EmbedPlan:
    """What differs between corpus and frames on one side and the tables on the other."""

    target: SnapshotRef
    """The tables in force, which the plan compared with; rows may be copied from them."""
    frames: SnapshotRef
    audio: SnapshotRef | None
    """None: the model hears nothing."""
    shards: list[Shard[Any]]
    adopted: list[Receipt]
    new: int
    new_captions: int
    stale: list[str]
    orphaned: list[str]
    copied: int
    stale_captions: list[str]
    orphaned_captions: list[str]
    cut: int
    """Files whose windows are written."""
    stale_windows: list[str]
    """Stale or orphaned."""


def plan_embed(session: Session, *, weights_hash: str) -> EmbedPlan:
    """Which rows are missing, stale or orphaned; opens no frame."""
    corpus, frames = session.latest(session.corpus), session.latest(session.frames)
    artifact = session.embeddings(weights_hash=weights_hash)
    base = session.latest(artifact)
    audio = clip_outcomes(session.latest(session.audio)) if session.config.hears else None
    videos = video_differences(corpus, frames=frames, base=base, audio=audio)
    captions = caption_differences(corpus, base=base)
    windows = WindowDifferences([], [])
    if session.config.corpus.windows is not None:
        windows = window_differences(corpus, frames=frames, base=base)
    due, due_captions = _with_copies(videos.due, base=base), captions.due
    adopted, todo = split_finished(
        artifact,
        [
            *_shards(
                due, due_captions, size=_size(session, rows=len(due), captions=len(due_captions))
            ),
            *_window_shards(windows.due),
        ],
    )
    stale = [row.video_id for row in due if row.video_id in videos.in_force]
    stale_captions = [r.caption_id for r in due_captions if r.caption_id in captions.in_force]
    return EmbedPlan(
        target=session.ref(artifact),
        frames=session.ref(session.frames),
        audio=session.ref(session.audio) if session.config.hears else None,
        shards=todo,
        adopted=adopted,
        new=len(due) - len(stale),
        new_captions=len(due_captions) - len(stale_captions),
        stale=stale,
        orphaned=_others(videos.in_force, stale),
        copied=sum(bool(row.copy_of) for row in due),
        stale_captions=stale_captions,
        orphaned_captions=_others(captions.in_force, stale_captions),
        cut=len(windows.due),
        stale_windows=windows.stale,
    )


def _others(keys: Iterable[str], known: Iterable[str]) -> list[str]:
    """Those of `keys` that are not `known`, in their order."""
    gone = set(known)
    return [key for key in keys if key not in gone]


def _size(session: Session, *, rows: int, captions: int) -> int:
    """Videos a shard; where rows see each other, as many as the identity assumes."""
    most = session.config.embed.shard_rows
    if rows <= LEAST_A_SHARD <= most and captions <= LEAST_A_SHARD * CAPTIONS_A_VIDEO:
        return most  # one shard of either, whatever its size; asking the model imports torch
    if not rows or rows_see_each_other(session.config.model):
        return most
    return size_of_shards(rows, least=LEAST_A_SHARD, most=most)


def _shards(
    videos: Sequence[VideoRow], captions: Sequence[CaptionRow], *, size: int
) -> list[Shard[Any]]:
    return [
        *make_shards(
            videos, table="videos", size=size, key=lambda r: f"{r.video_id} {r.signature}"
        ),
        *make_shards(
            captions,
            table="captions",
            size=size * CAPTIONS_A_VIDEO,
            key=lambda r: f"{r.caption_id} {r.signature}",
        ),
    ]


def _window_shards(files: Sequence[FileRow]) -> list[Shard[Any]]:
    return make_shards(files, table=WINDOWS, size=FILES_A_SHARD, key=lambda r: r.signature)


def _with_copies(due: Sequence[VideoRow], *, base: Snapshot | None) -> list[VideoRow]:
    """Name, for each row whose clip is embedded already, the row in force to copy from."""
    usable = {row.clip_key: row.sound for row in due if row.status != Status.QUARANTINED}
    embedded = embedded_clips(base, wanted=usable)

    def copied(row: VideoRow) -> VideoRow:
        if row.status == Status.QUARANTINED or row.clip_key not in embedded:
            return row
        video_id, part = embedded[row.clip_key]
        return replace(row, copy_of=video_id, part=part)

    return list(map(copied, due))


def commit_embed(session: Session, plan: EmbedPlan, receipts: Sequence[Receipt]) -> Snapshot:
    """Publish both tables by one snapshot."""
    return session.publish(
        session.find(plan.target.kind, plan.target.fingerprint),
        add=[*plan.adopted, *receipts],
        supersede={
            "videos": [*plan.stale, *plan.orphaned],
            "captions": [*plan.stale_captions, *plan.orphaned_captions],
            WINDOWS: plan.stale_windows,
        },
        note=f"{plan.new} new, {len(plan.stale)} stale, {len(plan.orphaned)} orphaned,"
        f" {plan.copied} copied",
    )
