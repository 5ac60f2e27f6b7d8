"""Evaluate: metrics from tables only, never from videos.

One artifact a pair of embeddings and options. Its tables: `metrics` (direction, protocol, subset,
metric, value, low, high, n, published), `ranks` (a caption each, with its five best videos),
`video_ranks`, `coverage` (a split each), `moments` (metric, value, low, high, n) where files were
cut into windows, and `report`, which tasks.reports.report adds.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pyarrow as pa

from reelvec.configs.schema import EvaluateConfig
from reelvec.models.ranking.moments import MomentMetric
from reelvec.storage import layout
from reelvec.storage.commits.artifact import Artifact, Snapshot
from reelvec.storage.commits.receipts import Receipt
from reelvec.storage.records import Outcome
from reelvec.storage.tables import identity_metadata, read_table, schema_text, write_table
from reelvec.tasks.artifacts import Session, SnapshotRef
from reelvec.tasks.corpus.ingest import Corpus
from reelvec.tasks.embedding.sources import sources_of
from reelvec.tasks.identity import evaluation_identity
from reelvec.tasks.scoring.rows import CoverageRow, MetricRow

if TYPE_CHECKING:
    from reelvec.tasks.scoring.logits import Scoring

__all__ = [
    "Evaluation",
    "evaluate",
    "finished_evaluation",
    "is_evaluated",
    "read_coverage",
    "read_metrics",
    "read_moments",
]

_METRICS = pa.schema(
    [
        ("direction", pa.string()),
        ("protocol", pa.string()),
        ("subset", pa.string()),
        ("metric", pa.string()),
        ("value", pa.float64()),
        ("low", pa.float64()),
        ("high", pa.float64()),
        ("n", pa.int64()),
        ("published", pa.float64()),
    ]
)
_MOMENTS = pa.schema(
    [
        ("metric", pa.string()),
        ("value", pa.float64()),
        ("low", pa.float64()),
        ("high", pa.float64()),
        ("n", pa.int64()),
    ]
)
_COVERAGE = pa.schema(
    [
        (field.name, {"str": pa.string(), "int": pa.int64(), "bool": pa.bool_()}[str(field.type)])
        for field in dataclasses.fields(CoverageRow)
    ]
)


@dataclass(frozen=True)
class Evaluation:
    """An evaluation in the store, and whether this call made it."""

    snapshot: Snapshot
    fresh: bool

    @property
    def metrics(self) -> list[MetricRow]:
        """Rows of the metrics table."""
        return read_metrics(self.snapshot)


def _evaluation_artifact(
    session: Session, embeddings: Snapshot, *, options: EvaluateConfig
) -> Artifact:
    """The evaluation of these tables with these options, made if it is not there."""
    identity = evaluation_identity(options, embeddings=embeddings.artifact.fingerprint)
    return session.open("evaluation", identity)


def finished_evaluation(
    session: Session, embeddings: Snapshot, *, corpus: Corpus, options: EvaluateConfig
) -> Snapshot | None:
    """The evaluation in force, if it was made from exactly this embeddings and corpus snapshot."""
    latest = session.latest(_evaluation_artifact(session, embeddings, options=options))
    if latest is None:
        return None
    sources = _sources(embeddings, corpus)
    made_from = [dict(part.receipt.extra) for part in latest.parts("coverage")]
    return latest if made_from == [sources] else None


def is_evaluated(session: Session) -> bool:
    """Whether the tables of the run are scored with its options already."""
    sources = sources_of(session)
    finished = finished_evaluation(
        session, sources.embeddings, corpus=sources.corpus, options=session.config.evaluate
    )
    return finished is not None


def evaluate(
    session: Session,
    embeddings: Snapshot,
    *,
    corpus: Corpus,
    options: EvaluateConfig,
    scoring: Scoring | None = None,
) -> Evaluation:
    """Score one split, both directions, and commit metrics, ranks and coverage as one snapshot.

    Args:
        session: of the run.
        embeddings: pinned snapshot with the tables `videos` and `captions`.
        corpus: as it was when they were embedded.
        options: split, ties, re-rankings, bootstrap, published numbers.
        scoring: `logits.scoring_of(model)`; None: the plain product of `embedding`, which
            ranks the same for every family whose score is one.

    Returns:
        The evaluation; `fresh` is False where it was there already. A split without captions gives
        coverage and no metrics.

    Raises:
        CoverageError: corpus and tables are not about the same videos.
        UnscorableError: NaN scores.
        MissingColumnError: the tables lack the columns the score reads.
    """
    finished = finished_evaluation(session, embeddings, corpus=corpus, options=options)
    if finished is not None:
        return Evaluation(finished, fresh=False)
    from reelvec.tasks.scoring.coverage import coverage_rows  # these import torch
    from reelvec.tasks.scoring.logits import dot_product
    from reelvec.tasks.scoring.moments import score_moments
    from reelvec.tasks.scoring.split_scores import score_split

    coverage = coverage_rows(corpus, embeddings=embeddings, split=options.split)
    scoring = scoring or dot_product()
    scores = score_split(embeddings, options=options, scoring=scoring)
    moments = score_moments(embeddings, corpus=corpus.videos, options=options, scoring=scoring)
    artifact = _evaluation_artifact(session, embeddings, options=options)
    tables = {
        "metrics": (
            _metrics_table(scores.metrics, options.published),
            _metric_keys(scores.metrics),
        ),
        "ranks": (scores.ranks, scores.ranks.column("caption_id").to_pylist()),
        "video_ranks": (scores.video_ranks, scores.video_ranks.column("video_id").to_pylist()),
        "coverage": (_coverage_table(coverage), [f"split {row.split}" for row in coverage]),
        "moments": (_moments_table(moments), [row.metric for row in moments]),
    }
    extra = _sources(embeddings, corpus)
    named = (SnapshotRef.to(embeddings), corpus.ref)
    session.root.sync(
        *(layout.snapshot(f"{ref.kind}/{ref.fingerprint}", ref.number) for ref in named)
    )
    receipts = [
        _write(artifact, name, table, keys=keys, extra=extra)
        for name, (table, keys) in tables.items()
        if keys
    ]
    before = artifact.latest()  # not the session's: another run may have scored meanwhile
    old = {name: set(before.live(name)) for name in before.tables} if before else {}
    for name, (_, keys) in tables.items():  # and may score before this is published
        old[name] = old.get(name, set()) | set(keys)
    note = f"embeddings {embeddings.number}, corpus {corpus.ref.number}"
    snapshot = session.publish(artifact, add=receipts, supersede=old, note=note)
    return Evaluation(snapshot, fresh=True)


def read_metrics(evaluation: Snapshot) -> list[MetricRow]:
    """The metrics of an evaluation; empty where the split has no captions."""
    rows = read_table(evaluation, "metrics", schema=_METRICS).to_pylist()
    return [MetricRow(**row) for row in rows]


def read_moments(evaluation: Snapshot) -> list[MomentMetric]:
    """The moment metrics of an evaluation; empty where there are none."""
    rows = read_table(evaluation, "moments", schema=_MOMENTS).to_pylist()
    return [MomentMetric(**row) for row in rows]


def read_coverage(evaluation: Snapshot) -> list[CoverageRow]:
    """The coverage of an evaluation, a row a split."""
    return [CoverageRow(**row) for row in read_table(evaluation, "coverage").to_pylist()]


def _sources(embeddings: Snapshot, corpus: Corpus) -> dict[str, str | int | float]:
    return {"embeddings": embeddings.number, "corpus": corpus.ref.number}


def _metric_keys(rows: Sequence[MetricRow]) -> list[str]:
    return [f"{row.direction}/{row.protocol}/{row.subset}/{row.metric}" for row in rows]


def _metrics_table(rows: Sequence[MetricRow], published: Mapping[str, float]) -> pa.Table:
    def beside(row: MetricRow) -> float | None:
        plain = not row.subset and "+" not in row.protocol
        return published.get(f"{row.direction}/{row.metric}") if plain else None

    dicts = [{**dataclasses.asdict(row), "published": beside(row)} for row in rows]
    return pa.Table.from_pylist(dicts, schema=_METRICS)


def _moments_table(rows: Sequence[MomentMetric]) -> pa.Table:
    return pa.Table.from_pylist([dataclasses.asdict(row) for row in rows], schema=_MOMENTS)


def _coverage_table(rows: Sequence[CoverageRow]) -> pa.Table:
    return pa.Table.from_pylist([dataclasses.asdict(row) for row in rows], schema=_COVERAGE)


def _write(
    artifact: Artifact,
    name: str,
    table: pa.Table,
    *,
    keys: Sequence[str],
    extra: Mapping[str, str | int | float],
) -> Receipt:
    with artifact.new_part(table=name, shard="all", suffix=".parquet") as part:
        write_table(part.path, table, metadata=identity_metadata(artifact.identity))
        return part.commit(
            rows=table.num_rows,
            schema=schema_text(table.schema),
            outcomes=[Outcome(key) for key in keys],
            extra=extra,
        )
