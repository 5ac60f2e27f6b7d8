"""Extract: decode the clips the frame store does not hold yet, one shard a part.

Frames are kept by the clip's bytes, not its name: the same bytes under two paths are decoded once,
and a renamed clip is not decoded again. Every clip of a shard leaves it as frames or as a ledger
row with a reason.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

from reelvec.configs.schema import ExtractConfig
from reelvec.storage.commits.artifact import Receipt, Snapshot
from reelvec.storage.commits.ledgers import iter_ledger
from reelvec.storage.frames.contract import ClipFrames, FrameShardWriter, TooLongError
from reelvec.storage.frames.formats import SUFFIXES, open_writer
from reelvec.storage.reasons import Reason, Status
from reelvec.storage.records import Outcome, Video
from reelvec.tasks.artifacts import Session, SnapshotRef
from reelvec.tasks.corpus.ingest import key_of, read_corpus
from reelvec.tasks.decoding.files import ClipJob, ClipResult, decode_clips
from reelvec.tasks.decoding.worker import MANY_FRAMES
from reelvec.tasks.digests import Digests, DigestSet, digests
from reelvec.tasks.shards import (
    PartContents,
    Shard,
    ShardReceipt,
    make_shards,
    run_shard,
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
#: reasons that are about the moment and not the clip: such clips are tried again on each run
PASSING = frozenset({Reason.MISSING, Reason.CHANGED, Reason.PERMISSION})
_ROWS = 65_536  # videos compared at once


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
        retry: which clips are tried once more, by their ledger row.
    """
    artifact = session.frames
    finished, redo = _outcomes(session.latest(artifact), retry=retry)
    clips: dict[str, Clip] = {}
    videos = iter(read_corpus(session).videos)
    if session.config.corpus.windows is not None:
        videos = _with_files(videos)
    while batch := list(islice(videos, _ROWS)):
        keys = [key_of(video) for video in batch]
        pending = (~finished.has(digests(keys))).tolist()
        for video, key, is_due in zip(batch, keys, pending, strict=True):
            if key and video.status != Status.QUARANTINED and is_due:
                attempts = redo[key].attempts if key in redo else 0
                clips.setdefault(key, Clip(ClipJob.from_video(video, clip_key=key), attempts))
    shards = make_shards(
        list(clips.values()),
        table=TABLE,
        size=session.config.extract.shard_videos,
        key=lambda clip: f"{clip.job.clip_key} {clip.attempts}",
    )
    adopted, todo = split_finished(artifact, shards)
    return ExtractPlan(
        target=session.ref(artifact),
        shards=todo,
        adopted=adopted,
        retried=[key for key in clips if key in redo],
        clips=len(clips),
    )


def _with_files(videos: Iterable[Video]) -> Iterator[Video]:
    """These, and the file of each that is a piece of one: windows share its frames."""
    for video in videos:
        yield video
        if (video.start_seconds, video.end_seconds) != (None, None):
            yield replace(video, start_seconds=None, end_seconds=None)


def _outcomes(
    snapshot: Snapshot | None, *, retry: Callable[[Outcome], bool]
) -> tuple[DigestSet, dict[str, Outcome]]:
    """Clips that are done with, by digest, and the ledger rows of those that are tried again."""
    finished: list[Digests] = []
    redo: dict[str, Outcome] = {}
    for ledger in iter_ledger(snapshot, TABLE):
        rows = [Outcome(*values) for values in zip(*ledger.values(), strict=True)]
        due = {row.key: row for row in rows if _is_due(row, retry=retry)}
        finished.append(digests(row.key for row in rows if row.key not in due))
        redo |= due
    return DigestSet(finished), redo


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
