"""Which snapshots an evaluation, a report or a search of a run reads: found by identity."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from reelvec.configs import PipelineConfig
from reelvec.storage.commits.artifact import Snapshot
from reelvec.storage.errors import MissingArtifactError
from reelvec.storage.roots import open_root
from reelvec.storage.runs import latest_run
from reelvec.tasks.corpus.ingest import Corpus, corpus_artifact, read_corpus
from reelvec.tasks.embedding.embed import embeddings_artifact
from reelvec.tasks.embedding.encoding import Encoder, EncoderRef, open_encoder, with_vectors
from reelvec.tasks.frames.extract import frames_artifact
from reelvec.tasks.recording import last_config
from reelvec.tasks.reports.facts import ReportSources
from reelvec.tasks.scoring.evaluate import finished_evaluation
from reelvec.tasks.scoring.logits import Scoring, scoring_of
from reelvec.tasks.searching.search import SearchRow, search
from reelvec.tasks.training.train import Trained, find_trained

__all__ = ["Sources", "is_evaluated", "report_sources", "search_text", "sources_of"]


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


def search_text(store: str, *, text: str, top: int) -> list[SearchRow]:
    """The `top` videos of the store's last run for a text, best first.

    Raises:
        MissingArtifactError: the store has no run, or no tables yet.
    """
    sources = sources_of(last_config(store))
    encoder = sources.encoder()
    with torch.inference_mode():
        tokens = encoder.model.tokenize([text]).to(encoder.device)
        features = with_vectors(encoder.model, encoder.model.encode_text(tokens))
    return search(
        features.columns(),
        embeddings=sources.embeddings,
        corpus=sources.corpus,
        frames=frames_artifact(sources.config).latest(),
        top=top,
        scoring=scoring_of(encoder.model),
    )


def is_evaluated(config: PipelineConfig) -> bool:
    """Whether the latest tables are scored with these options already."""
    sources = sources_of(config)
    finished = finished_evaluation(
        sources.embeddings, corpus=sources.corpus, options=config.evaluate
    )
    return finished is not None
