"""Keep: from frames and captions to what frozen encoders give for them, once.

A row is written when a clip or a text of the training has none; nothing is ever superseded, as a
row is a function of its key. A killed run goes on where it stood.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pyarrow as pa

from reelvec.configs.schema import EmbedConfig
from reelvec.storage.commits.artifact import Receipt, Snapshot
from reelvec.storage.commits.merging import Entry
from reelvec.storage.features import write_features
from reelvec.storage.frames.reader import parts_with
from reelvec.storage.records import Outcome
from reelvec.storage.tables import identity_metadata, schema_text
from reelvec.tasks.artifacts import Session, SnapshotRef
from reelvec.tasks.embedding.encoding import encode_captions, encode_videos
from reelvec.tasks.embedding.reading import frames_of_clips
from reelvec.tasks.features.encoders import FeatureSource, features_identity, open_source
from reelvec.tasks.shards import (
    PartContents,
    Shard,
    ShardReceipt,
    make_shards,
    run_shard,
    split_finished,
)
from reelvec.tasks.training.finding import items_at_hand
from reelvec.tasks.training.items import Item
from reelvec.tasks.training.kept import CAPTIONS, VIDEOS, text_key
from reelvec.tasks.training.spec import Kept, Teacher
from reelvec.tasks.training.teachers import find_teachers

__all__ = [
    "FeatureInputs",
    "FeaturesPlan",
    "commit_features",
    "features_shard",
    "kept_by",
    "plan_features",
]

_CAPTIONS_A_VIDEO = 8
"""A caption shard holds so many times more rows than a video shard."""


@dataclass(frozen=True, slots=True)
class Row:
    """A clip, or a text, that has no features yet."""

    key: str
    text: str = ""
    part: Entry | None = None
    """Where the clip's frames are."""


@dataclass(frozen=True)
class FeatureInputs:
    """What every shard of one plan reads."""

    source: FeatureSource
    frames: SnapshotRef
    batch_size: int


@dataclass(frozen=True)
class FeaturesPlan:
    """What one encoder has still to give."""

    inputs: FeatureInputs
    teacher: Teacher | None
    """None: the frozen backbone."""
    target: SnapshotRef
    shards: list[Shard[Row]]
    adopted: list[Receipt]
    rows: int


def plan_features(session: Session) -> list[FeaturesPlan]:
    """A plan for each encoder that is frozen in the training of this run; opens no frame."""
    config = session.config
    if not config.train.epochs:
        return []
    sources: list[tuple[FeatureSource, Teacher | None]] = []
    if config.train.freeze == "backbone":
        sources.append((FeatureSource.backbone(config), None))
    for teacher in find_teachers(config, root=session.root):
        sources.append((FeatureSource.of_teacher(teacher, config), teacher))
    if not sources:
        return []
    items = items_at_hand(session)
    return [_plan(session, source, teacher, items=items) for source, teacher in sources]


def _plan(
    session: Session, source: FeatureSource, teacher: Teacher | None, *, items: Sequence[Item]
) -> FeaturesPlan:
    identity = features_identity(source, frames=session.frames.fingerprint)
    artifact = session.open("features", identity)
    snapshot = session.latest(artifact)
    known = {t: snapshot.live(t) if snapshot else {} for t in (VIDEOS, CAPTIONS)}
    if teacher is not None:  # it teaches, and is never asked in validation
        items = [item for item in items if item.role == "train"]
    clips = {item.clip_key: Row(item.clip_key) for item in items}
    texts = {text_key(item.text): Row(text_key(item.text), item.text) for item in items}
    due = {
        VIDEOS: [row for key, row in clips.items() if key not in known[VIDEOS]],
        CAPTIONS: [row for key, row in texts.items() if key not in known[CAPTIONS]],
    }
    part_of = parts_with(session.latest(session.frames), {row.key for row in due[VIDEOS]})
    due[VIDEOS] = [replace(row, part=part_of.get(row.key)) for row in due[VIDEOS]]
    adopted, todo = split_finished(artifact, _shards(due, size=session.config.embed.shard_rows))
    return FeaturesPlan(
        inputs=FeatureInputs(source, session.ref(session.frames), session.config.embed.batch_size),
        teacher=teacher,
        target=session.ref(artifact),
        shards=todo,
        adopted=adopted,
        rows=sum(map(len, due.values())),
    )


def _shards(due: dict[str, list[Row]], *, size: int) -> list[Shard[Row]]:
    sizes = {VIDEOS: size, CAPTIONS: size * _CAPTIONS_A_VIDEO}
    return [
        shard
        for table, rows in due.items()
        for shard in make_shards(rows, table=table, size=sizes[table], key=lambda row: row.key)
    ]


def features_shard(
    target: SnapshotRef, shard: Shard[Row], *, inputs: FeatureInputs
) -> ShardReceipt:
    """Encode a shard's rows and write its part."""
    artifact = target.artifact()

    def write(path: Path) -> PartContents:
        table = _table(shard, inputs=inputs)
        write_features(path, table, metadata=identity_metadata(artifact.identity))
        outcomes = tuple(Outcome(row.key) for row in shard.items)
        return PartContents(
            rows=table.num_rows, schema=schema_text(table.schema), outcomes=outcomes
        )

    return ShardReceipt.of(run_shard(artifact, shard, suffix=".arrow", write=write))


def _table(shard: Shard[Row], *, inputs: FeatureInputs) -> pa.Table:
    encoder = open_source(inputs.source)
    keys = [row.key for row in shard.items]
    exact = next(encoder.model.parameters()).dtype.itemsize > 4  # what is not kept in fp32 is more
    options = EmbedConfig.model_construct(
        dtype="float64" if exact else "float32", batch_size=inputs.batch_size
    )
    if shard.table == CAPTIONS:
        columns = encode_captions(encoder, [row.text for row in shard.items], options=options)
    else:
        part_of = {row.key: row.part for row in shard.items}
        form = encoder.model.pixels
        reader = frames_of_clips(inputs.frames, part_of=part_of, form=form)
        columns = encode_videos(encoder, reader, keys, options=options)
        del columns["frames_used"]
        reader.close()
    return pa.table({"key": pa.array(keys, pa.string()), **columns})


def commit_features(session: Session, plan: FeaturesPlan, receipts: Sequence[Receipt]) -> Snapshot:
    """Publish what was missing."""
    return session.publish(
        session.find(plan.target.kind, plan.target.fingerprint),
        add=[*plan.adopted, *receipts],
        supersede={},
        note=f"{plan.rows} clips and texts",
    )


def kept_by(plans: Iterable[tuple[FeaturesPlan, Snapshot]]) -> Kept:
    """What training reads: the backbone's features, and the teachers with theirs."""
    backbone, teachers = None, []
    for plan, snapshot in plans:
        ref = SnapshotRef.to(snapshot)
        if plan.teacher is None:
            backbone = ref
        else:
            teachers.append(plan.teacher.model_copy(update={"features": ref}))
    return Kept(backbone=backbone, teachers=tuple(teachers))
