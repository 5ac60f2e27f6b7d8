"""The stages of a run: plan, map over shards, publish one snapshot, say what was done.

A stage finds what it is made from by identity, so that any of them can be run by itself, retried,
or replayed. Its result is a receipt: which snapshot, how much was done, and how long it took.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from reelvec.configs import PipelineConfig
from reelvec.flows.clusters import slots
from reelvec.flows.costs import TrainingCost
from reelvec.flows.engine import Engine
from reelvec.flows.events import Event, announce
from reelvec.flows.progress import TrainingNumbers, stage_progress
from reelvec.flows.work import Work
from reelvec.storage.at_work import announced
from reelvec.tasks.artifacts import Session
from reelvec.tasks.corpus import ingest as ingestion
from reelvec.tasks.corpus.ledger import LedgerCounts, check_failed_fraction, summary
from reelvec.tasks.decoding.places import decoder_places
from reelvec.tasks.embedding import embed as embedding
from reelvec.tasks.embedding import parts as embed_parts
from reelvec.tasks.embedding.encoder import EncoderRef
from reelvec.tasks.embedding.sources import sources_of
from reelvec.tasks.features import keep as features
from reelvec.tasks.frames import audio as listening
from reelvec.tasks.frames import extract as extraction
from reelvec.tasks.reports.report import report as draw_report
from reelvec.tasks.reports.sources import report_sources
from reelvec.tasks.runs.outcome import RunSummary, summary_of
from reelvec.tasks.runs.receipts import StageReceipt
from reelvec.tasks.runs.recording import record_run
from reelvec.tasks.runs.retrying import RetryFilter
from reelvec.tasks.runs.settled import choose_stages
from reelvec.tasks.scoring import evaluate as evaluation
from reelvec.tasks.scoring.logits import scoring_of
from reelvec.tasks.training import train as training
from reelvec.tasks.training.finding import find_trained, trained
from reelvec.tasks.training.running import RunTraining, run_here
from reelvec.tasks.training.spec import Kept

__all__ = ["DECODING", "STAGES", "Stage", "run_stages"]

Stage = Callable[[Session, RetryFilter | None, Engine], StageReceipt]
"""What a stage does for a run; only ingest and extract look at the filter."""


def run_stages(
    session: Session, names: Sequence[str], *, run_stage: Callable[[str], StageReceipt]
) -> RunSummary:
    """Run these stages in their order, and record the run.

    Args:
        session: of the run.
        names: of the stages.
        run_stage: runs the stage of that name, as `STAGES` has it.
    """
    started = datetime.now(UTC)
    receipts: list[StageReceipt] = []
    session.root.begin_writing()
    with (
        announced(session.root, session.config.name),
        decoder_places(slots(session.config)),
    ):
        for name in choose_stages(names, hears=session.config.hears):
            if name == "report":
                record_run(session, receipts, started=started)
            receipts.append(run_stage(name))
        if "report" not in names:
            record_run(session, receipts, started=started)
    return summary_of(session, receipts)


def ingest(session: Session, retry: RetryFilter | None, engine: Engine) -> StageReceipt:
    """List the corpus; hash and probe what is new or changed, and what `retry` names."""
    started = time.monotonic()
    plan = ingestion.plan_ingest(session, retry=retry.at_ingest() if retry else None)
    work = Work(session, engine, plan.target, plan.shards, unit="rows")
    receipts = work.map(
        "ingest", ingestion.ingest_shard, decodes=True, limits=session.config.extract
    )
    snapshot = ingestion.commit_ingest(session, plan, receipts)
    if snapshot.number != plan.target.number:
        payload = {"snapshot": snapshot.number, **plan.done}
        _announce(Event.INGESTED, session, plan.target.fingerprint, payload=payload)
    seconds = time.monotonic() - started
    return work.costed(
        StageReceipt.of("ingest", snapshot, done=plan.done, seconds=seconds, notes=plan.notes)
    )


def extract(session: Session, retry: RetryFilter | None, engine: Engine) -> StageReceipt:
    """Decode the clips the frame store does not hold yet, and those `retry` names."""
    started = time.monotonic()
    options, corpus = session.config.extract, ingestion.read_corpus(session)
    plan = extraction.plan_extract(session, retry=retry.at_extract(corpus) if retry else _none)
    work = Work(session, engine, plan.target, plan.shards, unit="videos")
    receipts = work.map("extract", extraction.extract_shard, decodes=True, extract=options)
    snapshot = extraction.commit_extract(session, plan, receipts)
    videos = summary(session.latest(session.corpus), frames=snapshot)
    _tell_failures(session, videos.counts)
    check_failed_fraction(videos, limit=options.max_failed_fraction)
    read = session.config.model.max_frames
    note = extraction.frames_note([*plan.adopted, *receipts], extract=options, read=read)
    seconds, notes = time.monotonic() - started, (note,) if note else ()
    return work.costed(
        StageReceipt.of("extract", snapshot, done=plan.done, seconds=seconds, notes=notes)
    )


def audio(session: Session, retry: RetryFilter | None, engine: Engine) -> StageReceipt:
    """Decode the sound that is not kept yet, and that of clips that `retry` names."""
    started = time.monotonic()
    again = retry.at_extract(ingestion.read_corpus(session)) if retry else _none
    plan = listening.plan_audio(session, retry=again)
    work = Work(session, engine, plan.target, plan.shards, unit="videos")
    receipts = work.map(
        "audio", listening.audio_shard, decodes=True, extract=session.config.extract
    )
    snapshot = listening.commit_audio(session, plan, receipts)
    seconds, note = time.monotonic() - started, listening.audio_note(snapshot)
    notes = (note,) if note else ()
    return work.costed(
        StageReceipt.of("audio", snapshot, done=plan.done, seconds=seconds, notes=notes)
    )


def train(session: Session, _: RetryFilter | None, engine: Engine) -> StageReceipt:
    """Train from the last checkpoint on, or find that it is finished."""
    started = time.monotonic()
    device = session.config.train.device
    kept, written = _keep_features(session, engine)
    shown = stage_progress("train", total=0, unit="steps", show=engine.progress("train"))
    numbers, cost = TrainingNumbers("train", show=engine.numbers), TrainingCost()
    with shown as progress, engine.gpu_slot(device):

        def hear(event: dict[str, Any]) -> None:
            progress.follow_training(event)
            numbers.follow(event)
            cost.follow(event)

        receipt = training.train(
            session,
            kept=kept,
            on_progress=hear,
            run_training=_where_to_train(session.config, engine),
        )
    made = StageReceipt.of(
        "train",
        trained(session).snapshot,
        done={"features": written, "steps": receipt.steps_done},
        seconds=time.monotonic() - started,
        notes=receipt.notes,
        training=receipt,
    )
    return replace(made, spent=cost.spent)


def _keep_features(session: Session, engine: Engine) -> tuple[Kept, int]:
    """What frozen encoders give for a training that is not finished, and how much was missing."""
    if find_trained(session) is not None:
        return Kept(), 0
    made, device = [], session.config.train.device
    with engine.gpu_slot(device):
        for plan in features.plan_features(session):
            work = Work(session, engine, plan.target, plan.shards, unit="rows")
            done = work.map("features", features.features_shard, device=device, inputs=plan.inputs)
            made.append((plan, features.commit_features(session, plan, done)))
    return features.kept_by(made), sum(plan.rows for plan, _ in made)


def _where_to_train(config: PipelineConfig, engine: Engine) -> RunTraining:
    """Workers of the Dask cluster, where there is one and the training is for them."""
    if engine.dask_address is None:
        return run_here
    from reelvec.flows.dask_training import where_to_train

    return where_to_train(engine.dask_address, config.train)


def embed(session: Session, _: RetryFilter | None, engine: Engine) -> StageReceipt:
    """Write the rows of both tables that are missing or stale."""
    started = time.monotonic()
    config, model = session.config, trained(session)
    plan = embedding.plan_embed(session, weights_hash=model.weights_hash)
    inputs = embed_parts.EmbedInputs(
        encoder=EncoderRef.to(model, config=config),
        frames=plan.frames,
        options=config.embed,
        windows=config.corpus.windows,
        audio=plan.audio,
    )
    device = config.embed.device
    with engine.gpu_slot(device):
        work = Work(session, engine, plan.target, plan.shards, unit="rows")
        receipts = work.map("embed", embed_parts.embed_shard, device=device, inputs=inputs)
    snapshot = embedding.commit_embed(session, plan, receipts)
    if snapshot.number != plan.target.number:
        payload = {"snapshot": snapshot.number, "rows": snapshot.rows}
        _announce(Event.COMMITTED, session, plan.target.fingerprint, payload=payload)
    done = {
        "new": plan.new,
        "stale": len(plan.stale),
        "orphaned": len(plan.orphaned),
        "copied": plan.copied,
    }
    seconds = time.monotonic() - started
    return work.costed(StageReceipt.of("embed", snapshot, done=done, seconds=seconds))


def evaluate(session: Session, _: RetryFilter | None, __: Engine) -> StageReceipt:
    """Score the tables; reads no video."""
    started = time.monotonic()
    sources, options = sources_of(session), session.config.evaluate
    snapshot = evaluation.finished_evaluation(
        session, sources.embeddings, corpus=sources.corpus, options=options
    )
    done = {"evaluations": int(snapshot is None)}
    if snapshot is None:  # only now is the model read
        snapshot = evaluation.evaluate(
            session,
            sources.embeddings,
            corpus=sources.corpus,
            options=options,
            scoring=scoring_of(sources.encoder().model),
        ).snapshot
    return StageReceipt.of("evaluate", snapshot, done=done, seconds=time.monotonic() - started)


def report(session: Session, _: RetryFilter | None, __: Engine) -> StageReceipt:
    """Write report.html beside the evaluation's tables."""
    started = time.monotonic()
    made = draw_report(session, report_sources(session))
    done = {"reports": int(made.fresh)}
    return StageReceipt.of("report", made.snapshot, done=done, seconds=time.monotonic() - started)


STAGES: dict[str, Stage] = {
    "ingest": ingest,  # 1. list, hash and probe the videos
    "extract": extract,  # 2. decode the frames that are missing
    "audio": audio,  # decode the sound that is missing, where the model hears
    "train": train,  # 3. train, or go on from the last checkpoint
    "embed": embed,  # 4. write both embedding tables
    "evaluate": evaluate,  # 5. score them
    "report": report,  # 6. one page to read
}

DECODING = frozenset({"ingest", "extract", "audio"})
"""Stages whose shards hold a place while they decode."""


def _none(_: object) -> bool:
    return False


def _tell_failures(session: Session, videos: LedgerCounts) -> None:
    """Announce that more videos failed than a person wants to find out by chance."""
    if videos.quarantined > session.config.extract.warn_failed_fraction * videos.planned:
        payload = {"quarantined": videos.quarantined, "videos": videos.planned}
        _announce(Event.QUARANTINED, session, session.corpus.fingerprint, payload=payload)


def _announce(event: Event, session: Session, identity: str, *, payload: Mapping[str, int]) -> None:
    announce(
        event,
        identity=identity,
        store=session.root.uri,
        run=session.config.name,
        payload=payload,
    )
