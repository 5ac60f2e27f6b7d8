"""Audio: the sound of the clips of a run whose model hears, one shard a part.

As frames are (`tasks.frames.extract`): by the clip's bytes, in the same sandbox. A clip without
sound, or with a broken track, leaves its shard as a ledger row with a reason.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path

from reelvec.configs.decoding import FileLimits
from reelvec.configs.schema import ExtractConfig
from reelvec.storage.commits.artifact import Receipt, Snapshot
from reelvec.storage.commits.ledgers import iter_ledger
from reelvec.storage.frames.sound import ClipSound, SoundShardWriter
from reelvec.storage.reasons import Reason, Status
from reelvec.storage.records import Outcome
from reelvec.tasks.artifacts import Session, SnapshotRef
from reelvec.tasks.decoding.places import decoder_place
from reelvec.tasks.decoding.sounds import SoundOptions, SoundResult, decode_sounds
from reelvec.tasks.frames.planning import Clip, DecodePlan, commit_clips, plan_clips
from reelvec.tasks.shards import PartContents, Shard, ShardReceipt, run_shard
from reelvec.tasks.spending import DECODE, WRITE, Spending

__all__ = ["audio_note", "audio_shard", "commit_audio", "plan_audio"]


def plan_audio(
    session: Session, *, retry: Callable[[Outcome], bool] = lambda _: False
) -> DecodePlan:
    """Compare the corpus with the sound that is kept; opens no video.

    Args:
        session: of a run whose model hears.
        retry: which clips are tried once more, by their ledger row; asked of those not ok.
    """
    return plan_clips(session, session.audio, retry=retry)


def audio_shard(target: SnapshotRef, shard: Shard[Clip], *, extract: ExtractConfig) -> ShardReceipt:
    """Decode the sound of a shard's clips in one sandboxed worker and write its part."""
    spending = Spending()
    limits = extract.model_dump(include=set(FileLimits.model_fields))
    options = SoundOptions(form=extract.sound, damaged=extract.damaged, **limits)

    def write(path: Path) -> PartContents:
        outcomes: list[Outcome] = []
        jobs = [clip.job for clip in shard.items]
        with (
            decoder_place() as place,
            spending.on(DECODE),
            closing(decode_sounds(jobs, options=options, scratch=path.parent)) as decoded,
            SoundShardWriter(path, rate=extract.sound.rate) as writer,
        ):
            results = place.until_last(decoded, count=len(jobs))
            for clip, result in zip(shard.items, results, strict=True):
                with spending.on(WRITE):
                    outcome = _written(result, writer)
                outcomes.append(replace(outcome, attempts=clip.attempts + 1))
        rows = sum(outcome.status != Status.QUARANTINED for outcome in outcomes)
        schema = f"arrow float32 [N], {extract.sound.rate} a second"
        return PartContents(rows=rows, schema=schema, outcomes=tuple(outcomes))

    receipt = run_shard(target.artifact(), shard, suffix=".arrow", write=write)
    return ShardReceipt.of(receipt, spending=spending)


def _written(result: SoundResult, writer: SoundShardWriter) -> Outcome:
    """What became of a clip whose sound, if it has any, is in the shard now."""
    if result.outcome.status != Status.QUARANTINED:
        writer.add(ClipSound(result.clip_key, result.samples, result.start_seconds))
    return result.outcome


def commit_audio(session: Session, plan: DecodePlan, receipts: Sequence[Receipt]) -> Snapshot:
    """Publish the new sound; clips that are tried again supersede their old rows."""
    return commit_clips(session, session.audio, plan, receipts)


def audio_note(snapshot: Snapshot) -> str:
    """How many clips have no sound, by reason; "" where all have."""
    counts = snapshot.counts()
    if not counts.quarantined:
        return ""
    reasons: Counter[str] = Counter()
    for ledger in iter_ledger(snapshot, snapshot.artifact.kind):
        reasons.update(reason for reason in ledger["reason"] if reason)
    listed = ", ".join(f"{n} {Reason(reason).value}" for reason, n in reasons.most_common())
    return (
        f"{counts.quarantined} of {counts.planned} clips have no sound ({listed}): their audio and"
        " audio_video are null; `reelvec failures` lists them"
    )
