"""What a report is made from: pinned snapshots, and what only the caller knows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from reelvec.configs import PipelineConfig
from reelvec.storage.commits.artifact import Snapshot
from reelvec.storage.errors import MissingArtifactError
from reelvec.storage.roots import open_root
from reelvec.storage.runs import RunRecord, latest_run
from reelvec.tasks.corpus.ingest import Corpus
from reelvec.tasks.embedding.sources import sources_of
from reelvec.tasks.frames.extract import frames_artifact
from reelvec.tasks.scoring.evaluate import finished_evaluation

__all__ = ["ReportSources", "report_sources"]


@dataclass(frozen=True, kw_only=True)
class ReportSources:
    """Pinned snapshots a report is made from, and what only the caller knows.

    Attributes:
        config: the run's.
        corpus: as it was when the tables were made.
        frames: snapshot the clips were encoded from.
        embeddings: snapshot that was scored.
        evaluation: snapshot with its metrics.
        run: the run's record, for stage times.
        history: of the training, a point an epoch: epoch, loss, R@1 of the selection split.
        best_epoch: whose weights were used; 0: not trained.
        checkpoint: facts about the weights to be shown, e.g. artifact and snapshot.
        notes: what the stages want a reader to know, shown after the run's own note.
    """

    config: PipelineConfig
    corpus: Corpus
    frames: Snapshot
    embeddings: Snapshot
    evaluation: Snapshot
    run: RunRecord | None = None
    history: Sequence[Mapping[str, float]] = ()
    best_epoch: int = 0
    checkpoint: Mapping[str, str | int | float] = field(default_factory=dict)
    notes: Sequence[str] = ()


def report_sources(config: PipelineConfig, *, notes: Sequence[str] = ()) -> ReportSources:
    """What the report of the latest evaluation of `config` is made from.

    Raises:
        MissingArtifactError: the tables are not made or not scored yet.
    """
    sources = sources_of(config)
    evaluation = finished_evaluation(
        sources.embeddings, corpus=sources.corpus, options=config.evaluate
    )
    frames = frames_artifact(config).latest()
    if evaluation is None or frames is None:
        raise MissingArtifactError(
            f"the tables of the run ({config.name}) are not scored; run the stage evaluate",
            path=config.store,
        )
    trained = sources.trained
    return ReportSources(
        config=config,
        corpus=sources.corpus,
        frames=frames,
        embeddings=sources.embeddings,
        evaluation=evaluation,
        run=latest_run(open_root(config.store)),
        history=trained.history,
        best_epoch=trained.best_epoch,
        checkpoint={
            "artifact": trained.fingerprint,
            "snapshot": trained.number,
            "weights": trained.weights_hash,
        },
        notes=notes,
    )
