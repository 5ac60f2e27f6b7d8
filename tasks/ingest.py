"""Ingest: list the corpus, hash and probe what is new or changed, keep the corpus tables true.

A video whose path, size and mtime are as last seen is not opened again. A video that is missing or
unreadable stays in the corpus with its reason: it counts.
"""

from __future__ import annotations

import dataclasses
import stat
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from configs import PipelineConfig
from storage.corpora import open_corpus
from storage.records import (
    CAPTION_SCHEMA,
    VIDEO_SCHEMA,
    Caption,
    Input,
    Video,
    clip_key,
    records_from_table,
    records_to_table,
)
from storage.roots import open_root
from storage.snapshots import Artifact, Receipt, Snapshot
from storage.tables import identity_metadata, read_table, schema_text, write_table
from tasks.decoding import ProbeOptions, probe_files
from tasks.identity import corpus_identity
from tasks.shards import (
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
    """A corpus as one snapshot holds it."""

    fingerprint: str
    number: int
    videos: list[Video]
    captions: list[Caption]


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
        return Corpus(artifact.fingerprint, 0, [], [])
    videos = records_from_table(read_table(snapshot, "videos", schema=VIDEO_SCHEMA), record=Video)
    captions = records_from_table(
        read_table(snapshot, "captions", schema=CAPTION_SCHEMA), record=Caption
    )
    return Corpus(artifact.fingerprint, snapshot.number, videos, captions)


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
    corpus = read_corpus(artifact)
    known = {video.video_id: video for video in corpus.videos}
    known_captions = {caption.caption_id: caption for caption in corpus.captions}
    videos = list(_new_or_changed(listing.videos, known=known, again=again))
    captions = [c for c in listing.captions if known_captions.get(c.caption_id) != c]
    listed = {video.video_id for video in listing.videos}
    listed_captions = {caption.caption_id for caption in listing.captions}
    shards: list[Shard[Any]] = [
        *make_shards(videos, table="videos", size=VIDEOS_A_SHARD, key=dataclasses.astuple),
        *make_shards(captions, table="captions", size=CAPTIONS_A_SHARD, key=dataclasses.astuple),
    ]
    adopted, todo = split_finished(artifact, shards)
    return IngestPlan(
        ref=ArtifactRef.to(artifact, store=config.store),
        shards=todo,
        adopted=adopted,
        new=sum(video.video_id not in known for video in videos),
        changed=[video.video_id for video in videos if video.video_id in known],
        removed=[video_id for video_id in known if video_id not in listed],
        captions=len(captions),
        changed_captions=[c.caption_id for c in captions if c.caption_id in known_captions],
        removed_captions=[key for key in known_captions if key not in listed_captions],
        notes=listing.notes,
    )


def _new_or_changed(
    listed: Sequence[Video], *, known: Mapping[str, Video], again: Callable[[Video], bool]
) -> Iterator[Video]:
    """Rows to write: with content_hash already set where the file is as last seen."""
    for video in listed:
        size, mtime_ns = _size_and_mtime(video.path)
        now = dataclasses.replace(video, bytes=size, mtime_ns=mtime_ns)
        old = known.get(video.video_id)
        if (
            old is None
            or (old.path, old.bytes, old.mtime_ns) != (now.path, size, mtime_ns)
            or again(old)
        ):
            yield now
            continue
        moved = dataclasses.replace(
            old, split=now.split, start_seconds=now.start_seconds, end_seconds=now.end_seconds
        )
        if moved != old:
            yield moved


def _size_and_mtime(path: str) -> tuple[int, int]:
    """Bytes and mtime in nanoseconds; zeros where there is no regular file."""
    try:
        found = Path(path).stat()
    except (OSError, ValueError):  # ValueError: a NUL in the name
        return 0, 0
    return (found.st_size, found.st_mtime_ns) if stat.S_ISREG(found.st_mode) else (0, 0)


def ingest_shard(
    ref: ArtifactRef, shard: Shard[Any], *, options: ProbeOptions
) -> dict[str, object]:
    """Hash and probe a shard's new videos (or take its captions) and write its part."""

    def write(path: Path) -> PartContents:
        if shard.table == "captions":
            table = records_to_table(shard.items, schema=CAPTION_SCHEMA)
            inputs = tuple(Input(key=caption.caption_id) for caption in shard.items)
        else:
            videos = list(_probed(shard.items, options=options))
            table = records_to_table(videos, schema=VIDEO_SCHEMA)
            inputs = tuple(
                Input(key=v.video_id, status=v.status, reason=v.reason, message=v.message)
                for v in videos
            )
        write_table(path, table, metadata=identity_metadata(ref.open().identity))
        schema = schema_text(table.schema)
        return PartContents(rows=table.num_rows, schema=schema, inputs=inputs)

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
