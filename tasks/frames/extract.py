"""Extract: decode the clips the frame store does not hold yet, one shard a part.

Every clip of a shard leaves it as frames or as a ledger row with a reason.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path

from reelvec.configs.schema import ExtractConfig
from reelvec.storage.commits.artifact import Receipt, Snapshot
from reelvec.storage.frames.contract import ClipFrames, FrameShardWriter, TooLongError
from reelvec.storage.frames.formats import SUFFIXES, open_writer
from reelvec.storage.reasons import Reason, Status
from reelvec.storage.records import Outcome
from reelvec.tasks.artifacts import Session, SnapshotRef
from reelvec.tasks.decoding.details import MANY_FRAMES
from reelvec.tasks.decoding.files import ClipResult, decode_clips
from reelvec.tasks.decoding.places import decoder_place
from reelvec.tasks.frames.planning import Clip, DecodePlan, commit_clips, plan_clips
from reelvec.tasks.shards import (
    PartContents,
    Shard,
    ShardReceipt,
    run_shard,
)
from reelvec.tasks.spending import DECODE, WRITE, Spending

__all__ = [
    "TABLE",
    "commit_extract",
    "extract_shard",
    "frames_note",
    "plan_extract",
]

TABLE = "frames"


def plan_extract(
    session: Session, *, retry: Callable[[Outcome], bool] = lambda _: False
) -> DecodePlan:
    """Compare the corpus with the frame store; opens no video.

    Args:
        session: of the run.
        retry: which clips are tried once more, by their ledger row; asked of those not ok.
    """
    with_files = session.config.corpus.windows is not None
    return plan_clips(session, session.frames, retry=retry, with_files=with_files)


def extract_shard(
    target: SnapshotRef, shard: Shard[Clip], *, extract: ExtractConfig
) -> ShardReceipt:
    """Decode a shard's clips in one sandboxed worker and write its part."""
    spending = Spending()

    def write(path: Path) -> PartContents:
        outcomes: list[Outcome] = []
        rows = 0
        jobs = [clip.job for clip in shard.items]
        with (
            decoder_place() as place,
            spending.on(DECODE),
            closing(decode_clips(jobs, options=extract, scratch=path.parent)) as decoded,
            open_writer(
                path,
                format=extract.format,
                payload=extract.payload,
                size=extract.size,
                native=extract.fit == "native",
            ) as writer,
        ):
            results = place.until_last(decoded, count=len(jobs))
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


def commit_extract(session: Session, plan: DecodePlan, receipts: Sequence[Receipt]) -> Snapshot:
    """Publish the new frames; clips that are tried again supersede their old rows."""
    return commit_clips(session, session.frames, plan, receipts)
