"""Each stage as a Prefect flow: plan, map over shards, publish one snapshot, say what was done.

A stage takes the config alone and finds what it is made from by identity, so that any of them can
be run by itself, retried, or replayed. Its result is a receipt: which artifact, which snapshot,
how much was done, and how long it took.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any, cast

from prefect import flow, unmapped
from prefect.events import emit_event
from prefect.futures import as_completed

from reelvec.configs import PipelineConfig
from reelvec.flows.progress import stage_progress
from reelvec.storage.commits.artifact import Receipt, Snapshot
from reelvec.storage.records import Status
from reelvec.tasks.corpus import ingest as ingestion
from reelvec.tasks.corpus.ledger import check_failed_fraction, ledger
from reelvec.tasks.decoding.files import ProbeOptions
from reelvec.tasks.embedding import embed as embedding
from reelvec.tasks.embedding import parts as embed_parts
from reelvec.tasks.embedding.encoding import EncoderRef
from reelvec.tasks.embedding.sources import sources_of
from reelvec.tasks.engine import ShardTask, gpu_slot, task
from reelvec.tasks.frames import extract as extraction
from reelvec.tasks.reports.report import report as draw_report
from reelvec.tasks.reports.sources import report_sources
from reelvec.tasks.runs.retrying import RetryFilter
from reelvec.tasks.scoring import evaluate as evaluation
from reelvec.tasks.scoring.logits import scoring_of
from reelvec.tasks.shards import ArtifactRef, Shard
from reelvec.tasks.training import train as training

__all__ = ["StageReceipt", "embed", "evaluate", "extract", "ingest", "report", "train"]

StageReceipt = dict[str, Any]

WAVE = 256
"""Shards submitted at once: a task run costs 40 KB of memory in the client."""

ingest_shard = task(ingestion.ingest_shard)
extract_shard = task(extraction.extract_shard)
embed_shard = task(embed_parts.embed_shard)


@flow(name="ingest", flow_run_name="ingest {config.name}")
def ingest(config: PipelineConfig, retry: RetryFilter | None = None) -> StageReceipt:
    """List the corpus; hash and probe what is new or changed, and what `retry` names."""
    started = time.monotonic()
    again = retry.at_ingest() if retry else _none
    plan = ingestion.plan_ingest(config, again=again)
    options = ProbeOptions(max_pixels=config.extract.max_pixels)
    receipts = _map("ingest", ingest_shard, plan.ref, plan.shards, unit="rows", options=options)
    snapshot = ingestion.commit_ingest(plan, receipts)
    done = {"new": plan.new, "changed": len(plan.changed), "removed": len(plan.removed)}
    return _receipt("ingest", snapshot, done=done, started=started) | {"notes": list(plan.notes)}


@flow(name="extract", flow_run_name="extract {config.name}")
def extract(config: PipelineConfig, retry: RetryFilter | None = None) -> StageReceipt:
    """Decode the clips the frame store does not hold yet, and those `retry` names."""
    started = time.monotonic()
    corpus = ingestion.read_corpus(ingestion.corpus_artifact(config))
    again = retry.at_extract(corpus) if retry else _none
    plan = extraction.plan_extract(config, corpus=corpus, again=again)
    receipts = _map(
        "extract", extract_shard, plan.ref, plan.shards, unit="videos", extract=config.extract
    )
    snapshot = extraction.commit_extract(plan, receipts)
    check_failed_fraction(ledger(corpus, frames=snapshot), limit=config.extract.max_failed_fraction)
    done = {"new": plan.clips - len(plan.again), "again": len(plan.again)}
    return _receipt("extract", snapshot, done=done, started=started)


@flow(name="train", flow_run_name="train {config.name}")
def train(config: PipelineConfig) -> StageReceipt:
    """Train from the last checkpoint on, or find that it is finished."""
    started = time.monotonic()
    with stage_progress("train", total=0, unit="steps") as progress, gpu_slot(config.train.device):
        result = training.train(config, on_progress=progress.follow_training)
    return {"stage": "train", "seconds": round(time.monotonic() - started, 3), **result}


@flow(name="embed", flow_run_name="embed {config.name}")
def embed(config: PipelineConfig) -> StageReceipt:
    """Write the rows of both tables that are missing or stale."""
    started = time.monotonic()
    trained = training.trained(config)
    plan = embedding.plan_embed(config, weights_hash=trained.weights_hash)
    inputs = embed_parts.EmbedInputs(
        encoder=EncoderRef(
            store=config.store,
            checkpoint=trained.fingerprint,
            number=trained.number,
            model=config.model.model_dump_json(),
            device=config.embed.device,
        ),
        frames=plan.frames,
        frames_number=plan.frames_number,
        base_number=plan.base_number,
        options=config.embed,
    )
    with gpu_slot(config.embed.device):
        receipts = _map("embed", embed_shard, plan.ref, plan.shards, unit="rows", inputs=inputs)
    before = plan.base_number
    snapshot = embedding.commit_embed(plan, receipts)
    if snapshot.number != before:
        emit_event(
            event="reelvec.embeddings.committed",
            resource={"prefect.resource.id": f"reelvec.embeddings.{snapshot.artifact.fingerprint}"},
            payload={"snapshot": snapshot.number, "rows": snapshot.rows},
        )
    done = {
        "new": plan.new,
        "stale": len(plan.stale),
        "orphaned": len(plan.orphaned),
        "copied": plan.copied,
    }
    return _receipt("embed", snapshot, done=done, started=started)


@flow(name="evaluate", flow_run_name="evaluate {config.name}")
def evaluate(config: PipelineConfig) -> StageReceipt:
    """Score the tables; reads no video."""
    started = time.monotonic()
    sources = sources_of(config)
    result = evaluation.evaluate(
        sources.embeddings,
        corpus=sources.corpus,
        options=config.evaluate,
        scoring=scoring_of(sources.encoder().model),
    )
    return _receipt(
        "evaluate", result.snapshot, done={"evaluations": int(result.fresh)}, started=started
    )


@flow(name="report", flow_run_name="report {config.name}")
def report(config: PipelineConfig) -> StageReceipt:
    """Write report.html beside the evaluation's tables."""
    started = time.monotonic()
    made = draw_report(report_sources(config))
    return _receipt("report", made.snapshot, done={"reports": int(made.fresh)}, started=started)


def _none(_: object) -> bool:
    return False


def _map(
    title: str,
    shard_task: ShardTask,
    ref: ArtifactRef,
    shards: Sequence[Shard[Any]],
    *,
    unit: str,
    **shared: object,
) -> list[Receipt]:
    """Run one task a shard, in waves, and read back the receipts they committed.

    A shard that still fails after its retries fails the stage; what the others committed is
    adopted by the next run.
    """
    if not shards:
        return []
    artifact = ref.open()
    receipts: list[Receipt] = []
    total = sum(len(shard.items) for shard in shards)
    with stage_progress(title, total=total, unit=unit) as progress:
        for start in range(0, len(shards), WAVE):
            futures = shard_task.map(
                unmapped(ref),
                list(shards[start : start + WAVE]),
                **cast("dict[str, Any]", {key: unmapped(v) for key, v in shared.items()}),
            )
            for future in as_completed(futures):
                result = future.result()
                receipts.append(artifact.receipt(str(result["receipt"])))
                failed = int(str(result["failed"]))
                progress.advance(int(str(result["done"])), failed=failed)
    return receipts


def _receipt(
    stage: str, snapshot: Snapshot, *, done: dict[str, int], started: float
) -> StageReceipt:
    artifact = snapshot.artifact
    counts = snapshot.counts()
    return {
        "stage": stage,
        "artifact": artifact.fingerprint,
        "kind": artifact.kind,
        "snapshot": snapshot.number,
        "rows": snapshot.rows,
        "counts": {
            "planned": counts.planned,
            str(Status.OK): counts.ok,
            str(Status.SALVAGED): counts.salvaged,
            str(Status.QUARANTINED): counts.quarantined,
        },
        "done": done,
        "seconds": round(time.monotonic() - started, 3),
    }
