"""Each stage as a Prefect flow: plan, map over shards, publish one snapshot, say what was done.

A stage takes the config alone and finds what it is made from by identity, so that any of them can
be run by itself, retried, or replayed. Its result is a receipt: which artifact, which snapshot,
how much was done, and how long it took.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from prefect import flow, unmapped
from prefect.artifacts import create_markdown_artifact, create_table_artifact
from prefect.events import emit_event
from prefect.futures import as_completed

from configs import PipelineConfig
from flows.progress import StageProgress, stage_progress
from flows.runners import open_runner, task_runner
from storage.snapshots import Artifact, Receipt, Snapshot
from tasks import embed as embedding
from tasks import evaluate as evaluation
from tasks import extract as extraction
from tasks import ingest as ingestion
from tasks import train as training
from tasks.decoding import ProbeOptions
from tasks.engine import task
from tasks.ledger import failures
from tasks.shards import Shard

__all__ = ["StageReceipt", "embed", "evaluate", "extract", "ingest", "train"]

StageReceipt = dict[str, Any]

ingest_shard = task(ingestion.ingest_shard)
extract_shard = task(extraction.extract_shard)
embed_shard = task(embedding.embed_shard)
train_model = task(training.train, retries=0)
evaluate_tables = task(evaluation.evaluate)
