"""Ingest: list the corpus, hash and probe what is new or changed, keep the corpus tables true.

A video whose path, size and mtime are as last seen is not opened again. A video that is missing or
unreadable stays in the corpus with its reason: it counts.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from reelvec.configs import PipelineConfig
from reelvec.storage.commits.artifact import Artifact, Receipt, Snapshot
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
from reelvec.storage.roots import open_root
from reelvec.storage.stored_rows import StoredRows
from reelvec.storage.tables import identity_metadata, schema_text, write_table
from reelvec.tasks.corpus.changes import caption_changes, video_changes
from reelvec.tasks.digests import DigestSet, digests
from reelvec.tasks.frames.decoding import ProbeOptions, probe_files
from reelvec.tasks.identity import corpus_identity
from reelvec.tasks.shards import (
    ArtifactRef,
    PartContents,
    Shard,
    commit_shards,
    make_shards,
    run_shard,
    split_finished,
)

__all__ = [
    "Corpus",
    "IngestPlan",
    "commit_ingest",
    "corpus_artifact",
    "ingest_shard",
    "key_of",
    "plan_ingest",
    "read_corpus",
]

VIDEOS_A_SHARD = 512
CAPTIONS_A_SHARD = 65536


@dataclass(frozen=True)
class Corpus:
    """A corpus as one snapshot holds it; its rows are read whenever they are iterated."""

    fingerprint: str
    number: int
    videos: Sequence[Video]
    captions: Sequence[Caption]


@dataclass(frozen=True)
class IngestPlan:
    """What differs between the files of now and the corpus tables."""

    ref: ArtifactRef
    shards: list[Shard[Any]]
    adopted: list[Receipt]
    new: int
    changed: list[str]
    removed: list[str]
    captions: int
    changed_captions: list[str]
    removed_captions: list[str]
    notes: tuple[str, ...]

    @property
    def captions_touched(self) -> int:
        """Captions to write or drop."""
        return self.captions + len(self.removed_captions)


def corpus_artifact(config: PipelineConfig) -> Artifact:
    """The corpus artifact of `config`, made if it is not there."""
    root = open_root(config.store)
    return Artifact.open(root, kind="corpus", identity=corpus_identity(config))


def key_of(video: Video) -> str:
    """The clip_key of a corpus row; "" where its bytes could not be read."""
    if not video.content_hash:
        return ""
    return clip_key(
        video.content_hash, start_seconds=video.start_seconds, end_seconds=video.end_seconds
    )


def read_corpus(artifact: Artifact, *, snapshot: Snapshot | None = None) -> Corpus:
    """The corpus of the latest (or the given) snapshot; empty before the first ingest."""
    snapshot = snapshot or artifact.latest()
    if snapshot is None:
        return Corpus(artifact.fingerprint, 0, (), ())
    return Corpus(
        artifact.fingerprint,
        snapshot.number,
        StoredRows(snapshot, "videos", record=Video),
        StoredRows(snapshot, "captions", record=Caption),
    )


def plan_ingest(
    config: PipelineConfig, *, again: Callable[[Video], bool] = lambda _: False
) -> IngestPlan:
    """Compare the listing of now with the corpus tables; opens no video.

    Args:
        config: the run.
        again: which rows of the corpus tables are probed once more.
    """
    artifact = corpus_artifact(config)
    listing = open_corpus(config.corpus, store_dir=artifact.root.local_folder).read()
    snapshot = artifact.latest()
    ids = DigestSet([digests(video.video_id for video in listing.videos)])
    videos = video_changes(listing.videos, ids=ids, snapshot=snapshot, again=again)
    captions = caption_changes(listing.captions, videos=ids, snapshot=snapshot)
    shards: list[Shard[Any]] = [
        *make_shards(videos.due, table="videos", size=VIDEOS_A_SHARD, key=dataclasses.astuple),
        *_caption_shards(captions.due),
    ]
    adopted, todo = split_finished(artifact, shards)
    return IngestPlan(
        ref=ArtifactRef.to(artifact, store=config.store),
        shards=todo,
        adopted=adopted,
        new=videos.new,
        changed=videos.changed,
        removed=videos.removed,
        captions=len(captions.due),
        changed_captions=captions.changed,
        removed_captions=captions.removed,
        notes=listing.notes,
    )


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


def ingest_shard(
    ref: ArtifactRef, shard: Shard[Any], *, options: ProbeOptions
) -> dict[str, object]:
    """Hash and probe a shard's new videos (or take its captions) and write its part."""

    def write(path: Path) -> PartContents:
        if shard.table == "captions":
            captions = list(shard.items)
            table = records_to_table(captions, schema=CAPTION_SCHEMA)
            outcomes = tuple(Outcome(key=caption.caption_id) for caption in captions)
        else:
            videos = list(_probed(shard.items, options=options))
            table = records_to_table(videos, schema=VIDEO_SCHEMA)
            outcomes = tuple(
                Outcome(key=v.video_id, status=v.status, reason=v.reason, message=v.message)
                for v in videos
            )
        write_table(path, table, metadata=identity_metadata(ref.open().identity))
        schema = schema_text(table.schema)
        return PartContents(rows=table.num_rows, schema=schema, outcomes=outcomes)

    receipt = run_shard(ref, shard, suffix=".parquet", write=write)
    counts = receipt.counts
    return {"receipt": receipt.path, "done": counts.planned, "failed": counts.quarantined}


def _probed(videos: Iterable[Video], *, options: ProbeOptions) -> Iterator[Video]:
    """Each video with hash and probe fields; rows that carry them already are passed on."""
    waiting = [video for video in videos if not (video.content_hash or video.reason)]
    fresh = probe_files(waiting, options=options)
    for video in videos:
        yield video if (video.content_hash or video.reason) else next(fresh)


def commit_ingest(plan: IngestPlan, receipts: Sequence[Receipt]) -> Snapshot:
    """Publish the new corpus: videos and captions by one snapshot."""
    artifact = plan.ref.open()
    supersede = {
        "videos": [*plan.changed, *plan.removed],
        "captions": [*plan.changed_captions, *plan.removed_captions],
    }
    note = f"{plan.new} new, {len(plan.changed)} changed, {len(plan.removed)} removed"
    return commit_shards(artifact, [*plan.adopted, *receipts], supersede=supersede, note=note)
