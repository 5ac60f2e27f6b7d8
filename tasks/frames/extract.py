"""Extract: decode the clips the frame store does not hold yet, one shard a part.

Frames are kept by the clip's bytes, not its name: the same bytes under two paths are decoded once,
and a renamed clip is not decoded again. Every clip of a shard leaves it as frames or as a ledger
row with a reason.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from reelvec.configs.schema import ExtractConfig
from reelvec.storage.commits.artifact import Receipt, Snapshot
from reelvec.storage.frames.contract import ClipFrames, FrameShardWriter, TooLongError
from reelvec.storage.frames.formats import SUFFIXES, open_writer
from reelvec.storage.reasons import Reason, Status
from reelvec.storage.records import Outcome, Video, records_from_table
from reelvec.tasks.artifacts import Session, SnapshotRef
from reelvec.tasks.corpus.clips import ClipOutcomes, clip_outcomes, iter_clips
from reelvec.tasks.decoding.details import MANY_FRAMES
from reelvec.tasks.decoding.files import ClipJob, ClipResult, decode_clips
from reelvec.tasks.shards import (
    PartContents,
    Shard,
    ShardReceipt,
    make_shards,
    run_shard,
    size_of_shards,
    split_finished,
)
from reelvec.tasks.spending import DECODE, WRITE, Spending

__all__ = [
    "TABLE",
    "Clip",
    "ExtractPlan",
    "commit_extract",
    "extract_shard",
    "frames_note",
    "plan_extract",
]

TABLE = "frames"
LEAST_A_SHARD = 8
"""Clips: a shard has a worker process of its own, started in some ten milliseconds."""
#: reasons that are about the moment and not the clip: such clips are tried again on each run
PASSING = frozenset({Reason.MISSING, Reason.CHANGED, Reason.PERMISSION, Reason.UNREACHABLE})


@dataclass(frozen=True, slots=True)
class Clip:
    """A clip to decode, and how often that was tried before."""

    job: ClipJob
    attempts: int = 0


@dataclass(frozen=True)
class ExtractPlan:
    """Which clips are to be decoded."""

    target: SnapshotRef
    shards: list[Shard[Clip]]
    adopted: list[Receipt]
    retried: list[str]

    clips: int


def plan_extract(
    session: Session, *, retry: Callable[[Outcome], bool] = lambda _: False
) -> ExtractPlan:
    """Compare the corpus with the frame store; opens no video.

    Args:
        session: of the run.
        retry: which clips are tried once more, by their ledger row; asked of those not ok.
    """
    artifact = session.frames
    known = clip_outcomes(session.latest(artifact))
    attempts = {
        key: row.attempts for key, (row, _) in known.others.items() if _is_due(row, retry=retry)
    }
    clips: dict[str, Clip] = {}
    corpus, with_files = session.latest(session.corpus), session.config.corpus.windows is not None
    for video, key in _pending(corpus, known=known, redo=attempts, with_files=with_files):
        job = ClipJob.from_video(video, clip_key=key)
        clips.setdefault(key, Clip(job, attempts.get(key, 0)))
    shards = make_shards(
        list(clips.values()),
        table=TABLE,
        size=size_of_shards(
            len(clips), least=LEAST_A_SHARD, most=session.config.extract.shard_videos
        ),
        key=lambda clip: f"{clip.job.clip_key} {clip.attempts}",
    )
    adopted, todo = split_finished(artifact, shards)
    return ExtractPlan(
        target=session.ref(artifact),
        shards=todo,
        adopted=adopted,
        retried=[key for key in clips if key in attempts],
        clips=len(clips),
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
    for piece, keys in iter_clips(corpus):
        files = piece.column("content_hash").to_pylist() if with_files else []
        usable = pc.not_equal(piece.column("status"), str(Status.QUARANTINED))
        due = [
            _without_outcome(named, known=known, redo=redo) & usable.to_numpy().astype(bool)
            for named in ([keys, files] if with_files else [keys])
        ]
        rows = np.flatnonzero(np.any(due, axis=0))
        videos = records_from_table(piece.take(pa.array(rows, pa.int64())), record=Video)
        for i, video in zip(rows.tolist(), videos, strict=True):
            if due[0][i]:
                yield video, keys[i]
            if with_files and due[1][i]:
                yield replace(video, start_seconds=None, end_seconds=None), files[i]


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


def extract_shard(
    target: SnapshotRef, shard: Shard[Clip], *, extract: ExtractConfig
) -> ShardReceipt:
    """Decode a shard's clips in one sandboxed worker and write its part."""
    spending = Spending()

    def write(path: Path) -> PartContents:
        outcomes: list[Outcome] = []
        rows = 0
        with (
            spending.on(DECODE),
            closing(
                decode_clips([c.job for c in shard.items], options=extract, scratch=path.parent)
            ) as results,
            open_writer(
                path,
                format=extract.format,
                payload=extract.payload,
                size=extract.size,
                native=extract.fit == "native",
            ) as writer,
        ):
            for clip, result in zip(shard.items, results, strict=True):
                with spending.on(WRITE):
                    outcome = _written(result, writer)
                rows += outcome.status != Status.QUARANTINED
                outcomes.append(replace(outcome, attempts=clip.attempts + 1))
        return PartContents(rows=rows, schema=_schema(extract), outcomes=tuple(outcomes))

    suffix = SUFFIXES[extract.format]
    receipt = run_shard(target.artifact(), shard, suffix=suffix, write=write)
    return ShardReceipt.of(receipt, spending=spending)


def _schema(extract: ExtractConfig) -> str:
    sides = "H,W" if extract.fit == "native" else f"{extract.size},{extract.size}"
    return f"{extract.format}/{extract.payload} uint8 [T,{sides},3]"


def _written(result: ClipResult, writer: FrameShardWriter) -> Outcome:
    """What became of a clip whose frames, if it has any, are in the shard now."""
    if result.outcome.status == Status.QUARANTINED:
        return result.outcome
    clip = ClipFrames(
        clip_key=result.clip_key,
        frames=result.frames,
        pts_seconds=result.pts_seconds,
        frame_index=result.frame_index,
        source=result.source,
    )
    try:
        writer.add(clip)
    except TooLongError as error:
        return Outcome(result.clip_key, Status.QUARANTINED, Reason.TOO_LARGE, str(error))
    return result.outcome


def frames_note(receipts: Iterable[Receipt], *, extract: ExtractConfig, read: int) -> str:
    """What to know of clips with far more frames than anybody reads; "" where there is none.

    Args:
        receipts: of the clips' parts.
        extract: how they were made.
        read: frames of a clip that the model reads.
    """
    details = (row.detail for receipt in receipts for row in receipt.outcomes)
    many = [json.loads(detail)["frames"] for detail in details if '"frames":' in detail]
    if not many or read >= MANY_FRAMES:
        return ""
    gib = sum(many) * extract.size * extract.size * 3 / 2**30
    return (
        f"{len(many)} of the clips keep more than {MANY_FRAMES:,} frames, {sum(many):,} in all"
        f" ({gib:.1f} GiB raw); the model reads {read} of each. extract.sampling.max_frames keeps"
        " fewer, in frames of their own"
    )


def commit_extract(session: Session, plan: ExtractPlan, receipts: Sequence[Receipt]) -> Snapshot:
    """Publish the new frames; clips that are tried again supersede their old rows."""
    return session.publish(
        session.frames,
        add=[*plan.adopted, *receipts],
        supersede={TABLE: plan.retried},
        note=f"{plan.clips} clips",
    )
