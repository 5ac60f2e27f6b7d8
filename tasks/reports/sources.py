"""What a report is made from: pinned snapshots, and what only the caller knows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from reelvec.configs import PipelineConfig
from reelvec.storage.commits.artifact import Artifact, Snapshot
from reelvec.storage.errors import MissingArtifactError
from reelvec.storage.naming import choose_run, places_of
from reelvec.storage.roots import Root
from reelvec.storage.runs import RunRecord
from reelvec.tasks.artifacts import Session, SnapshotRef
from reelvec.tasks.corpus.ingest import Corpus
from reelvec.tasks.embedding.sources import Sources, sources_of
from reelvec.tasks.scoring.evaluate import finished_evaluation, read_coverage
from reelvec.tasks.training.items import trained_clips

__all__ = ["Against", "ReportSources", "against_run", "report_sources"]


@dataclass(frozen=True, kw_only=True)
class Against:
    """The run a report compares with.

    Attributes:
        name: as it was asked for.
        evaluation: what it scored; None: nothing.
    """

    name: str
    evaluation: Snapshot | None

    @property
    def candidates(self) -> int:
        """Videos its captions were ranked among."""
        return 0 if self.evaluation is None else _candidates(self.evaluation)


def against_run(root: Root, name: str) -> Against:
    """The run of this name, identifier or tag, to compare with.

    Raises:
        MissingArtifactError: there is none, or its tables are lost.
        AliasError: a tag cannot be followed.
    """
    chosen = choose_run(root, name)
    places = places_of(root, chosen.record, as_ended=chosen.as_ended)
    if "evaluation" not in places:
        return Against(name=name, evaluation=None)
    fingerprint, number = places["evaluation"]
    artifact = Artifact.find(root, kind="evaluation", fingerprint=fingerprint)
    return Against(name=name, evaluation=artifact.at(number))


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
        checkpoint: snapshot the weights are from; None: not known.
        weights_hash: of these weights.
        trained_on: clips of the set these weights were trained on here; empty: not trained here.
        origin: the model that made the tables, and how it was trained; None: not known.
        notes: what the stages want a reader to know, shown after the run's own note.
        against: the run it is compared with; None: none.
    """

    config: PipelineConfig
    corpus: Corpus
    frames: Snapshot
    embeddings: Snapshot
    evaluation: Snapshot
    run: RunRecord | None = None
    history: Sequence[Mapping[str, float]] = ()
    best_epoch: int = 0
    checkpoint: SnapshotRef | None = None
    weights_hash: str = ""
    trained_on: frozenset[str] = frozenset()
    origin: Sources | None = None
    notes: Sequence[str] = ()
    against: Against | None = None

    @property
    def candidates(self) -> int:
        """Videos that captions are ranked among."""
        return _candidates(self.evaluation)

    @property
    def checkpoint_facts(self) -> dict[str, str | int]:
        """Where the weights are from; empty where that is not known."""
        ref = self.checkpoint
        if ref is None:
            return {}
        return {
            "artifact": ref.fingerprint,
            "snapshot": ref.number,
            "weights": self.weights_hash,
        }


def _candidates(evaluation: Snapshot) -> int:
    scored = [row for row in read_coverage(evaluation) if row.scored]
    return sum(row.ok + row.salvaged for row in scored)


def report_sources(
    session: Session, *, notes: Sequence[str] = (), against: Against | None = None
) -> ReportSources:
    """What the report of a run's evaluation is made from.

    Raises:
        MissingArtifactError: the tables are not made or not scored yet.
    """
    config, sources = session.config, sources_of(session)
    evaluation = finished_evaluation(
        session, sources.embeddings, corpus=sources.corpus, options=config.evaluate
    )
    frames = session.latest(session.frames)
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
        run=session.last_run,
        history=trained.history,
        best_epoch=trained.best_epoch,
        checkpoint=trained.ref,
        weights_hash=trained.weights_hash,
        trained_on=trained_clips(trained.snapshot) if config.train.epochs else frozenset(),
        origin=sources,
        notes=notes,
        against=against,
    )
