"""One part of an embedding table: rows encoded from frames and texts, or copied from rows in force.

Columns of `videos`: video_id, content_hash, clip_key, split, outcome, frame_count (how many were
encoded), then the family's features. Columns of `captions`: caption_id, video_id, split, subset,
text, then features. Where the family's score is a dot product, `embedding` is the unit vector.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from reelvec.configs.corpora import WindowsConfig
from reelvec.configs.schema import EmbedConfig
from reelvec.storage.commits.artifact import Artifact
from reelvec.storage.commits.views import PartRef
from reelvec.storage.frames.contract import ClipFrames
from reelvec.storage.frames.reader import FrameReader
from reelvec.storage.reasons import Status
from reelvec.storage.records import Outcome
from reelvec.storage.tables import (
    concat_tables,
    identity_metadata,
    iter_part,
    schema_text,
    write_pieces,
    write_table,
)
from reelvec.tasks.artifacts import SnapshotRef
from reelvec.tasks.embedding.encoder import EncoderRef, open_encoder
from reelvec.tasks.embedding.encoding import encode_captions, encode_videos
from reelvec.tasks.embedding.reading import frames_of_clips, sound_of_clips
from reelvec.tasks.embedding.rows import WINDOWS, CaptionRow, FileRow, VideoRow
from reelvec.tasks.embedding.windows import WindowWriter
from reelvec.tasks.shards import PartContents, Shard, ShardReceipt, run_shard
from reelvec.tasks.spending import ENCODER, READ, WRITE, Spending

__all__ = [
    "EmbedInputs",
    "embed_shard",
]


@dataclass(frozen=True)
class EmbedInputs:
    """What every shard of one plan reads beside the tables in force."""

    encoder: EncoderRef
    frames: SnapshotRef
    options: EmbedConfig
    windows: WindowsConfig | None = None
    audio: SnapshotRef | None = None
    """None: the model hears nothing."""


def embed_shard(target: SnapshotRef, shard: Shard[Any], *, inputs: EmbedInputs) -> ShardReceipt:
    """Encode a shard's rows (or copy them from the snapshot `target`) and write its part."""
    artifact, spending = target.artifact(), Spending()
    metadata = identity_metadata(artifact.identity)

    def write(path: Path) -> PartContents:
        if shard.table == WINDOWS:
            with spending.on(ENCODER):
                return _window_part(path, shard.items, inputs=inputs, metadata=metadata)
        with spending.on(ENCODER):
            if shard.table == "captions":
                table = _caption_table(shard.items, inputs=inputs)
            else:
                table = _video_table(shard.items, inputs=inputs, tables=artifact, spending=spending)
        with spending.on(WRITE):
            write_table(path, table, metadata=metadata)
        return PartContents(
            rows=table.num_rows,
            schema=schema_text(table.schema),
            outcomes=tuple(map(_outcome, shard.items)),
        )

    receipt = run_shard(artifact, shard, suffix=".parquet", write=write)
    return ShardReceipt.of(receipt, spending=spending)


def _outcome(row: VideoRow | CaptionRow) -> Outcome:
    if isinstance(row, CaptionRow):
        return Outcome(row.caption_id, detail=row.signature)
    return Outcome(
        row.video_id,
        status=row.status,
        reason=row.reason,
        message=row.message,
        detail=row.signature,
    )


def _window_part(
    path: Path,
    files: Sequence[FileRow],
    *,
    inputs: EmbedInputs,
    metadata: Mapping[str, str],
) -> PartContents:
    if inputs.windows is None:
        raise ValueError("files are to be cut, and how is not said: inputs.windows is None")
    encoder = open_encoder(inputs.encoder)
    part_of = {file.clip_key: file.part for file in files}
    writer = WindowWriter(
        encoder,
        frames_of_clips(inputs.frames, part_of=part_of, form=encoder.model.pixels),
        embed=inputs.options,
        windows=inputs.windows,
    )
    rows, schema = write_pieces(path, writer.pieces(files), metadata=metadata)
    return PartContents(rows=rows, schema=schema_text(schema), outcomes=tuple(writer.outcomes))


def _caption_table(rows: Sequence[CaptionRow], *, inputs: EmbedInputs) -> pa.Table:
    encoder = open_encoder(inputs.encoder)
    facts = {
        "caption_id": [row.caption_id for row in rows],
        "video_id": [row.video_id for row in rows],
        "split": [row.split for row in rows],
        "subset": [row.subset for row in rows],
        "text": [row.text for row in rows],
    }
    features = encode_captions(encoder, facts["text"], options=inputs.options)
    return _with_features(pa.table(facts), features)


def _video_table(
    rows: Sequence[VideoRow], *, inputs: EmbedInputs, tables: Artifact, spending: Spending
) -> pa.Table:
    """Rows in the shard's order: encoded ones, and copies of rows in force."""
    usable = [row for row in rows if row.status != Status.QUARANTINED]
    fresh = [row for row in usable if not row.copy_of]
    made = []
    if fresh or not usable:
        encoder = open_encoder(inputs.encoder)
        part_of = {row.clip_key: row.part for row in fresh}
        form = encoder.model.pixels
        reader = frames_of_clips(inputs.frames, part_of=part_of, form=form)
        watched = _Watched(reader, spending)
        keys = [row.clip_key for row in fresh]
        sounds = None
        if inputs.audio is not None:
            parts = {row.clip_key: row.sound_part for row in fresh}
            sounds = sound_of_clips(inputs.audio, part_of=parts)
        features = encode_videos(encoder, watched, keys, options=inputs.options, sounds=sounds)
        facts = _video_facts(fresh).append_column(
            "frame_count", pa.array(features.pop("frames_used"), pa.int32())
        )
        made.append(_with_features(facts, features))
    copies = [row for row in usable if row.copy_of]
    if copies:
        source = _rows_in_force(tables, copies)
        table = _video_facts(copies)
        kept = source.drop_columns(table.column_names)
        for field in kept.schema:
            table = table.append_column(field, kept.column(field.name))
        made.append(table)
    whole = pa.concat_tables([table.replace_schema_metadata(None) for table in made])
    at = {video_id: index for index, video_id in enumerate(whole.column("video_id").to_pylist())}
    return whole.take(pa.array([at[row.video_id] for row in usable], pa.int64()))


class _Watched:
    """Frames whose reading is told apart from their encoding."""

    def __init__(self, reader: FrameReader, spending: Spending) -> None:
        self._reader = reader
        self._spending = spending

    def ahead(self, keys: Sequence[str]) -> None:
        self._reader.ahead(keys)

    def lengths(self, keys: Sequence[str]) -> np.ndarray:
        with self._spending.on(READ):
            return self._reader.lengths(keys)

    def picture(self, key: str) -> tuple[int, int]:
        with self._spending.on(READ):
            return self._reader.picture(key)

    def gather(self, keys: Sequence[str], *, picks: Sequence[np.ndarray], out: np.ndarray) -> None:
        with self._spending.on(READ):
            self._reader.gather(keys, picks=picks, out=out)

    def clip(self, key: str, picks: np.ndarray) -> ClipFrames:
        with self._spending.on(READ):
            return self._reader.clip(key, picks)


def _rows_in_force(tables: Artifact, copies: Sequence[VideoRow]) -> pa.Table:
    """The row that each copies, in their order (one may be copied twice)."""
    wanted = pa.array(sorted({row.copy_of for row in copies}), pa.string())
    parts = dict.fromkeys(row.part for row in copies if row.part is not None)
    rows = concat_tables(
        [
            piece.filter(pc.is_in(piece.column("video_id"), value_set=wanted))
            for part in parts
            for piece in iter_part(PartRef(tables, part))
        ]
    )
    at = {video_id: row for row, video_id in enumerate(rows.column("video_id").to_pylist())}
    return rows.take(pa.array([at[row.copy_of] for row in copies], pa.int64()))


def _video_facts(rows: Sequence[VideoRow]) -> pa.Table:
    return pa.table(
        {
            "video_id": pa.array([row.video_id for row in rows], pa.string()),
            "content_hash": pa.array([row.content_hash for row in rows], pa.string()),
            "clip_key": pa.array([row.clip_key for row in rows], pa.string()),
            "split": pa.array([row.split for row in rows], pa.string()),
            "outcome": pa.array([row.status for row in rows], pa.string()),
        }
    )


def _with_features(table: pa.Table, features: Mapping[str, pa.Array]) -> pa.Table:
    for name, column in features.items():
        table = table.append_column(name, column)
    return table
