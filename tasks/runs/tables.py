"""Which snapshots an evaluation, a report or a search of a run reads: found by identity."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from reelvec.configs import PipelineConfig
from reelvec.storage.commits.artifact import Snapshot
from reelvec.storage.errors import MissingArtifactError
from reelvec.storage.roots import open_root
from reelvec.storage.runs import latest_run
from reelvec.tasks.corpus.ingest import Corpus, corpus_artifact, read_corpus
from reelvec.tasks.embedding.embed import embeddings_artifact
from reelvec.tasks.embedding.encoding import Encoder, EncoderRef, open_encoder
from reelvec.tasks.frames.extract import frames_artifact
from reelvec.tasks.reports.facts import ReportSources
from reelvec.tasks.scoring.evaluate import finished_evaluation
from reelvec.tasks.scoring.logits import Scoring, scoring_of
from reelvec.tasks.training.train import Trained, find_trained

__all__ = ["Sources", "is_evaluated", "report_sources", "sources_of"]


@dataclass(frozen=True)
class Sources:
    """The tables of a run, and the model that made them."""

    config: PipelineConfig
    corpus: Corpus
    trained: Trained
    embeddings: Snapshot

    def encoder(self) -> Encoder:
        """The model that made the tables."""
        return open_encoder(
            EncoderRef(
                store=self.config.store,
                checkpoint=self.trained.fingerprint,
                number=self.trained.number,
                model=self.config.model.model_dump_json(),
                device=self.config.embed.device,
            )
        )

    def scoring(self) -> Scoring:
        """How the model scores rows of the tables."""
        return scoring_of(self.encoder().model)


def sources_of(config: PipelineConfig) -> Sources:
    """The latest tables of `config`.

    Raises:
        MissingArtifactError: nothing is trained or embedded yet.
    """
    trained = find_trained(config)
    if trained is None:
        raise MissingArtifactError(
            f"no finished model of the run ({config.name}) in the store ({config.store});"
            " `reelvec run` trains it",
            path=config.store,
        )
    embeddings = embeddings_artifact(config, weights_hash=trained.weights_hash).latest()
    if embeddings is None:
        raise MissingArtifactError(
            f"no embedding tables of the run ({config.name}) in the store ({config.store});"
            " run the stage embed",
            path=config.store,
        )
    return Sources(config, read_corpus(corpus_artifact(config)), trained, embeddings)


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


def is_evaluated(config: PipelineConfig) -> bool:
    """Whether the latest tables are scored with these options already."""
    sources = sources_of(config)
    finished = finished_evaluation(
        sources.embeddings, corpus=sources.corpus, options=config.evaluate
    )
    return finished is not None
