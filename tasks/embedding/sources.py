"""The tables of a run, and the model that made them: found by identity."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from reelvec.configs import PipelineConfig
from reelvec.storage.commits.artifact import Snapshot
from reelvec.storage.errors import MissingArtifactError
from reelvec.tasks.artifacts import Session
from reelvec.tasks.corpus.ingest import Corpus, read_corpus
from reelvec.tasks.training.finding import find_trained
from reelvec.tasks.training.finished import Trained

if TYPE_CHECKING:
    from reelvec.tasks.embedding.encoder import Encoder

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
        from reelvec.tasks.embedding.encoder import EncoderRef, open_encoder  # imports torch

        return open_encoder(EncoderRef.to(self.trained, config=self.config))


def sources_of(session: Session) -> Sources:
    """The tables of a run.

    Raises:
        MissingArtifactError: nothing is trained or embedded yet.
    """
    config, trained = session.config, find_trained(session)
    if trained is None:
        raise MissingArtifactError(
            f"no finished model of the run ({config.name}) in the store ({config.store});"
            " `reelvec run` trains it",
            path=config.store,
        )
    embeddings = session.latest(session.embeddings(weights_hash=trained.weights_hash))
    if embeddings is None:
        raise MissingArtifactError(
            f"no embedding tables of the run ({config.name}) in the store ({config.store});"
            " run the stage embed",
            path=config.store,
        )
    return Sources(config, read_corpus(session), trained, embeddings)
