"""The tables of a run, and the model that made them: found by identity."""

from __future__ import annotations

from dataclasses import dataclass

from reelvec.configs import PipelineConfig
from reelvec.storage.commits.artifact import Snapshot
from reelvec.storage.errors import MissingArtifactError
from reelvec.tasks.corpus.ingest import Corpus, corpus_artifact, read_corpus
from reelvec.tasks.embedding.embed import embeddings_artifact
from reelvec.tasks.embedding.encoding import Encoder, EncoderRef, open_encoder
from reelvec.tasks.training.train import Trained, find_trained

__all__ = ["Sources", "sources_of"]


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
