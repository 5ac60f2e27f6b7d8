"""Embed: from frames and captions to one video table and one caption table.

A row is written when it is missing or stale: its video's bytes, window or split, or its caption's
text, are not those of the table. A video whose clip is in the table under another name is copied,
not encoded. Videos that cannot be embedded are planned all the same and keep their reason, so the
counts of the table reconcile with the corpus.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from configs import PipelineConfig
from storage.records import Caption, Input, Status
from storage.roots import open_root
from storage.snapshots import Artifact, Receipt, Snapshot
from tasks.embed_parts import CaptionRow, VideoRow
from tasks.extract import frames_artifact
from tasks.identity import embeddings_identity
from tasks.ingest import Corpus, corpus_artifact, read_corpus
from tasks.ledger import PENDING, LedgerRow, ledger
from tasks.shards import ArtifactRef, Shard, commit_shards, make_shards, split_finished

__all__ = ["EmbedPlan", "commit_embed", "embeddings_artifact", "plan_embed"]

Row = TypeVar("Row", VideoRow, CaptionRow)

CAPTIONS_A_VIDEO = 8
"""A caption shard holds so many times more rows than a video shard."""


@dataclass(frozen=True)
class EmbedPlan:
    """What differs between corpus and frames on one side and the tables on the other."""

    ref: ArtifactRef
    frames: ArtifactRef
    frames_number: int
    base_number: int
    shards: list[Shard[Any]]
    adopted: list[Receipt]
    new: int
    new_captions: int
    stale: list[str]
    orphaned: list[str]
    copied: int
    stale_captions: list[str]
    orphaned_captions: list[str]


def embeddings_artifact(config: PipelineConfig, *, weights_hash: str) -> Artifact:
    """The embeddings artifact of `config` with these weights, made if it is not there."""
    identity = embeddings_identity(
        config,
        weights_hash=weights_hash,
        corpus=corpus_artifact(config).fingerprint,
        frames=frames_artifact(config).fingerprint,
    )
    return Artifact.open(open_root(config.store), kind="embeddings", identity=identity)


def plan_embed(
    config: PipelineConfig, *, weights_hash: str, corpus: Corpus | None = None
) -> EmbedPlan:
    """Which rows are missing, stale or orphaned; opens no frame."""
    corpus = corpus or read_corpus(corpus_artifact(config))
    frames = frames_artifact(config)
    frames_snapshot = frames.latest()
    artifact = embeddings_artifact(config, weights_hash=weights_hash)
    base = artifact.latest()
    live = base.live("videos") if base else {}
    live_captions = base.live("captions") if base else {}
    rows = [_video_row(r) for r in ledger(corpus, frames=frames_snapshot) if r.status != PENDING]
    due = _with_copies(_stale(rows, live, key="video_id"), live=live)
    splits = {video.video_id: video.split for video in corpus.videos}
    captions = [_caption_row(c, split=splits.get(c.video_id, "")) for c in corpus.captions]
    due_captions = _stale(captions, live_captions, key="caption_id")
    adopted, todo = split_finished(
        artifact, _shards(due, due_captions, size=config.embed.shard_rows)
    )
    planned, texts = {row.video_id for row in rows}, {row.caption_id for row in captions}
    return EmbedPlan(
        ref=ArtifactRef.to(artifact, store=config.store),
        frames=ArtifactRef.to(frames, store=config.store),
        frames_number=frames_snapshot.number if frames_snapshot else 0,
        base_number=base.number if base else 0,
        shards=todo,
        adopted=adopted,
        new=sum(row.video_id not in live for row in due),
        new_captions=sum(row.caption_id not in live_captions for row in due_captions),
        stale=[row.video_id for row in due if row.video_id in live],
        orphaned=[video_id for video_id in live if video_id not in planned],
        copied=sum(bool(row.copy_of) for row in due),
        stale_captions=[r.caption_id for r in due_captions if r.caption_id in live_captions],
        orphaned_captions=[key for key in live_captions if key not in texts],
    )


def _stale(rows: Sequence[Row], live: Mapping[str, Input], *, key: str) -> list[Row]:
    """Rows that are not in force, or were made from something else."""
    due = []
    for row in rows:
        outcome = live.get(getattr(row, key))
        if outcome is None or outcome.detail != row.signature:
            due.append(row)
    return due


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


def _video_row(row: LedgerRow) -> VideoRow:
    return VideoRow(
        video_id=row.video_id,
        content_hash=row.clip_key.partition("@")[0],
        clip_key=row.clip_key,
        split=row.split,
        status=row.status,
        reason=row.reason,
        message=row.message,
    )


def _caption_row(caption: Caption, *, split: str) -> CaptionRow:
    return CaptionRow(
        caption_id=caption.caption_id,
        video_id=caption.video_id,
        split=split,
        subset=caption.subset,
        text=caption.text,
    )


def _with_copies(due: Sequence[VideoRow], *, live: Mapping[str, Input]) -> list[VideoRow]:
    """Name, for each row whose clip is embedded already, the row in force to copy from."""
    embedded = {
        outcome.detail.partition(" ")[0]: video_id
        for video_id, outcome in live.items()
        if outcome.status != Status.QUARANTINED
    }
    return [
        replace(row, copy_of=embedded.get(row.clip_key, ""))
        if row.status != Status.QUARANTINED
        else row
        for row in due
    ]


def commit_embed(plan: EmbedPlan, receipts: Sequence[Receipt]) -> Snapshot:
    """Publish both tables by one snapshot."""
    return commit_shards(
        plan.ref.open(),
        [*plan.adopted, *receipts],
        supersede={
            "videos": [*plan.stale, *plan.orphaned],
            "captions": [*plan.stale_captions, *plan.orphaned_captions],
        },
        note=f"{plan.new} new, {len(plan.stale)} stale, {len(plan.orphaned)} orphaned,"
        f" {plan.copied} copied",
    )
