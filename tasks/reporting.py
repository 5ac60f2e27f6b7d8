"""Which snapshots an evaluation, a report or a search of a run reads: found by identity."""

from __future__ import annotations

from dataclasses import dataclass

from configs import PipelineConfig
from storage.errors import MissingArtifactError
from storage.snapshots import Snapshot
from tasks.embed import embeddings_artifact
from tasks.encoding import Encoder, EncoderRef, open_encoder
from tasks.evaluate import finished_evaluation
from tasks.ingest import Corpus, corpus_artifact, read_corpus
from tasks.scoring import Scoring, scoring_of
from tasks.train import Trained, find_trained

__all__ = ["Sources", "is_evaluated", "sources_of"]


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


def is_evaluated(config: PipelineConfig) -> bool:
    """Whether the latest tables are scored with these options already."""
    sources = sources_of(config)
    finished = finished_evaluation(
        sources.embeddings, corpus=sources.corpus, options=config.evaluate
    )
    return finished is not None
