"""Ingest: list the corpus, hash and probe what is new or changed, keep the corpus tables true.

A video whose path, size, times and inode are as last seen is not opened again (rows of earlier
versions know size and mtime alone). A video that is missing or unreadable stays in the corpus with
its reason: it counts.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from reelvec.configs.decoding import FileLimits
from reelvec.storage.commits.artifact import Receipt, Snapshot
from reelvec.storage.corpora import open_corpus
from reelvec.storage.corpora.caption_list import CaptionStretch
from reelvec.storage.records import (
    CAPTION_SCHEMA,
    VIDEO_SCHEMA,
    Caption,
    Outcome,
    Video,
    clip_key,
    records_to_table,
)
from reelvec.storage.stored_rows import StoredRows
from reelvec.storage.tables import identity_metadata, schema_text, write_table
from reelvec.tasks.artifacts import Session, SnapshotRef
from reelvec.tasks.corpus.caption_changes import caption_changes
from reelvec.tasks.corpus.changes import video_changes
from reelvec.tasks.corpus.forgotten import without_forgotten
from reelvec.tasks.corpus.listed_columns import ListedColumns
from reelvec.tasks.decoding.files import probe_files
from reelvec.tasks.decoding.places import decoder_place
from reelvec.tasks.decoding.probes_ahead import found_ahead
from reelvec.tasks.shards import (
    PartContents,
    Shard,
    ShardReceipt,
    make_shards,
    run_shard,
    size_of_shards,
    split_finished,
)
from reelvec.tasks.spending import PROBE, WRITE, Spending

__all__ = [
    "Corpus",
    "IngestPlan",
    "commit_ingest",
    "corpus_at",
    "ingest_shard",
    "key_of",
    "plan_ingest",
    "read_corpus",
]

VIDEOS_A_SHARD = 512
LEAST_A_SHARD = 32
"""Videos: a shard is a part, a receipt and some syncs of the disk, as long as a few videos take."""
CAPTIONS_A_SHARD = 65536


@dataclass(frozen=True)
class Corpus:
    """A corpus as one snapshot holds it; its rows are read whenever they are iterated."""

    ref: SnapshotRef
    videos: Sequence[Video]
    captions: Sequence[Caption]


@dataclass(frozen=True)
class IngestPlan:
    """Differences between the files and the corpus tables."""

    target: SnapshotRef
    shards: list[Shard[Any]]
    adopted: list[Receipt]
    parts: tuple[tuple[str, str], ...]
    """Table and name of each shard, done ones among them: they are published in this order."""
    new: int
    due: Sequence[Video]
    """Rows to write, those that adopted receipts hold among them."""
    changed: list[str]
    removed: list[str]
    again: list[str]
    gone: list[str]
    captions: int
    changed_captions: list[str]
    removed_captions: list[str]
    notes: tuple[str, ...]

    @property
    def done(self) -> dict[str, int]:
        """What is to be done to the videos, the rare kinds only where there are any."""
        changed = len(self.changed) - len(self.again) - len(self.gone)
        done = {"new": self.new, "changed": changed, "removed": len(self.removed)}
        seldom = {"missing": len(self.gone), "again": len(self.again)}
        return done | {what: count for what, count in seldom.items() if count}

    @property
    def captions_touched(self) -> int:
        """Captions to write or drop."""
        return self.captions + len(self.removed_captions)


def key_of(video: Video) -> str:
    """The clip_key of a corpus row; "" where its bytes could not be read."""
    if not video.content_hash:
        return ""
    return clip_key(
        video.content_hash, start_seconds=video.start_seconds, end_seconds=video.end_seconds
    )


def read_corpus(session: Session) -> Corpus:
    """The corpus of the run; empty before the first ingest."""
    snapshot = session.latest(session.corpus)
    if snapshot is None:
        return Corpus(SnapshotRef.of(session.corpus), (), ())
    return corpus_at(snapshot)


def corpus_at(snapshot: Snapshot) -> Corpus:
    """The corpus of a snapshot."""
    return Corpus(
        SnapshotRef.to(snapshot),
        StoredRows(snapshot, "videos", record=Video),
        StoredRows(snapshot, "captions", record=Caption),
    )


def plan_ingest(session: Session, *, retry: Callable[[Video], bool] | None = None) -> IngestPlan:
    """Compare the files' listing with the corpus tables; opens no video.

    Args:
        session: of the run.
        retry: which rows of the corpus tables are probed once more, None: none; where the session
            hashes again, all of them are.
    """
    artifact = session.corpus
    store_dir = session.root.local_folder
    reader = open_corpus(session.config.corpus, store_dir=store_dir, draws=not session.plans)
    listing = without_forgotten(reader.read(), root=session.root)
    snapshot = session.latest(artifact)
    now = ListedColumns.of(listing.videos)
    again = _every if session.rehash else retry
    videos = video_changes(now, snapshot=snapshot, retry=again)
    captions = caption_changes(listing.captions, ids=now.ids, snapshot=snapshot)
    shards: list[Shard[Any]] = [
        *_video_shards(videos.due, rehash=session.rehash),
        *_caption_shards(captions.due),
    ]
    adopted, todo = split_finished(artifact, shards)
    return IngestPlan(
        target=session.ref(artifact),
        shards=todo,
        adopted=adopted,
        parts=tuple((shard.table, shard.name) for shard in shards),
        new=videos.new,
        due=videos.due,
        changed=videos.changed,
        removed=videos.removed,
        again=videos.again,
        gone=videos.gone,
        captions=len(captions.due),
        changed_captions=captions.changed,
        removed_captions=captions.removed,
        notes=(*listing.problems, *listing.notes),
    )


def _every(_: Video) -> bool:
    return True


def _video_shards(videos: Sequence[Video], *, rehash: bool) -> list[Shard[Any]]:
    """Shards of videos; where all is hashed again, none that an earlier run left is adopted."""
    now = time.time_ns() if rehash else 0

    def key(video: Video) -> tuple[object, ...]:
        return (*dataclasses.astuple(video), *([now] if rehash else []))

    size = size_of_shards(len(videos), least=LEAST_A_SHARD, most=VIDEOS_A_SHARD)
    return make_shards(videos, table="videos", size=size, key=key)


def _caption_shards(captions: Sequence[Caption]) -> Iterator[Shard[Any]]:
    """Shards that know where their captions are, and read them when they are worked on."""
    for start in range(0, len(captions), CAPTIONS_A_SHARD):
        stretch = CaptionStretch(captions, start, start + CAPTIONS_A_SHARD)
        (shard,) = make_shards(
            list(stretch),
            table="captions",
            size=CAPTIONS_A_SHARD,
            key=lambda c: (c.caption_id, c.video_id, c.text, c.subset),
        )
        yield dataclasses.replace(shard, items=cast("tuple[Caption, ...]", stretch))


def ingest_shard(target: SnapshotRef, shard: Shard[Any], *, limits: FileLimits) -> ShardReceipt:
    """Hash and probe a shard's new videos (or take its captions) and write its part."""
    artifact, spending = target.artifact(), Spending()

    def write(path: Path) -> PartContents:
        if shard.table == "captions":
            captions = list(shard.items)
            table = records_to_table(captions, schema=CAPTION_SCHEMA)
            outcomes = tuple(Outcome(key=caption.caption_id) for caption in captions)
        else:
            with decoder_place(), spending.on(PROBE):
                videos = list(_probed(shard.items, limits=limits))
            table = records_to_table(videos, schema=VIDEO_SCHEMA)
            outcomes = tuple(
                Outcome(key=v.video_id, status=v.status, reason=v.reason, message=v.message)
                for v in videos
            )
        with spending.on(WRITE):
            write_table(path, table, metadata=identity_metadata(artifact.identity))
        schema = schema_text(table.schema)
        return PartContents(rows=table.num_rows, schema=schema, outcomes=outcomes)

    receipt = run_shard(artifact, shard, suffix=".parquet", write=write)
    return ShardReceipt.of(receipt, spending=spending)


def _probed(videos: Iterable[Video], *, limits: FileLimits) -> Iterator[Video]:
    """Each video with hash and probe fields; rows that carry them already are passed on."""
    rows = [_known(video, limits=limits) for video in videos]
    waiting = [video for video in rows if not (video.content_hash or video.reason)]
    fresh = probe_files(waiting, limits=limits)
    for video in rows:
        yield video if (video.content_hash or video.reason) else next(fresh)


def _known(video: Video, *, limits: FileLimits) -> Video:
    if video.content_hash or video.reason:
        return video
    return found_ahead(video, limits=limits) or video


def commit_ingest(session: Session, plan: IngestPlan, receipts: Sequence[Receipt]) -> Snapshot:
    """Publish the new corpus: videos and captions by one snapshot, in the order of the plan.

    Shards of later stages follow from it, whether this run was interrupted or not.
    """
    supersede = {
        "videos": [*plan.changed, *plan.removed],
        "captions": [*plan.changed_captions, *plan.removed_captions],
    }
    note = f"{plan.new} new, {len(plan.changed)} changed, {len(plan.removed)} removed"
    places = {part: place for place, part in enumerate(plan.parts)}
    done = [*plan.adopted, *receipts]
    add = sorted(done, key=lambda receipt: places[receipt.table, receipt.shard])
    return session.publish(session.corpus, add=add, supersede=supersede, note=note)
