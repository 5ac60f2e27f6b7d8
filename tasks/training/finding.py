"""Which model a run has trained, and what it would train on: found by identity, no weights read."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress

from reelvec.configs import PipelineConfig
from reelvec.storage.commits.artifact import Artifact, Snapshot
from reelvec.storage.errors import MissingArtifactError
from reelvec.storage.layout import fingerprint
from reelvec.storage.reasons import Status
from reelvec.storage.roots import Root
from reelvec.storage.weights.known import KnownWeights, WeightsMark, keep, recall
from reelvec.tasks.artifacts import Session
from reelvec.tasks.corpus.ingest import read_corpus
from reelvec.tasks.training.committed import checkpoints
from reelvec.tasks.training.finished import Trained, finished
from reelvec.tasks.training.identity import Start, checkpoint_identity, former_identity
from reelvec.tasks.training.items import TRAINING_SET, Item, choose_items, read_items, set_hash
from reelvec.tasks.training.order import Order
from reelvec.tasks.training.spec import Teacher

__all__ = [
    "checkpoint_artifact",
    "clips_with_frames",
    "find_trained",
    "items_at_hand",
    "steps_left",
    "trained",
    "training_items",
]

FRAMES = "frames"


def find_trained(session: Session) -> Trained | None:
    """The finished training of the run, if there is one; reads no weights."""
    options = session.config.train
    needs_items = options.when_corpus_grows == "retrain" and options.epochs > 0
    items = training_items(session) if needs_items else []
    return finished(session.latest(checkpoint_artifact(session, items=items)))


def steps_left(session: Session) -> int:
    """Steps that the training of a run still takes: all of them, or those after a killed one's.

    A corpus that was never ingested has no training set yet: 0.
    """
    options = session.config.train
    items = training_items(session)
    begun = checkpoints(session.latest(checkpoint_artifact(session, items=items)))
    if begun:
        progress = begun[-1].progress
        return 0 if progress.finished else progress.total_steps - progress.step
    order = Order.of([item for item in items if item.role == "train"], options)
    return order.steps * options.epochs


def trained(session: Session) -> Trained:
    """The finished training of the run.

    Raises:
        MissingArtifactError: it is not trained, or not to the end.
    """
    trained_model = find_trained(session)
    if trained_model is None:
        config = session.config
        raise MissingArtifactError(
            f"the model of ({config.name}) is not trained in {config.store}; run the stage train"
        )
    return trained_model


def checkpoint_artifact(session: Session, *, items: Sequence[Item]) -> Artifact:
    """The checkpoint artifact of the run, made if it is not there.

    One that was begun under its former identity stays the run's.
    """
    identity = checkpoint_identity(
        session.config,
        start=_hashes_of_start(session),
        corpus=session.corpus.fingerprint,
        frames=session.frames.fingerprint,
        training_set=set_hash(items),
        teachers=[t.identity for t in _teachers(session.config, root=session.root)],
    )
    former = former_identity(identity, session.config)
    if former is not None:
        with suppress(MissingArtifactError):
            begun = session.find("checkpoint", fingerprint(former))
            if checkpoints(session.latest(begun)):
                return begun
    return session.open("checkpoint", identity)


def training_items(session: Session) -> list[Item]:
    """What would be trained and selected on, were training to start now."""
    corpus, options = read_corpus(session), session.config.train
    return choose_items(
        corpus.videos,
        corpus.captions,
        clips_with_frames=clips_with_frames(session.latest(session.frames)),
        selection_split=options.selection_split,
        joined=options.captions == "joined",
    )


def items_at_hand(session: Session) -> list[Item]:
    """What a training may read: of the corpus as it is now, and what one has begun on."""
    items = training_items(session)
    snapshot = session.latest(checkpoint_artifact(session, items=items))
    begun = read_items(snapshot) if snapshot and TRAINING_SET in snapshot.tables else []
    clips = clips_with_frames(session.latest(session.frames))
    return [*items, *(item for item in begun if item.clip_key in clips)]


def clips_with_frames(frames: Snapshot | None) -> frozenset[str]:
    """Clips that have frames."""
    rows = frames.outcomes(FRAMES) if frames else iter(())
    return frozenset(row.key for row in rows if row.status != Status.QUARANTINED)


def _hashes_of_start(session: Session) -> Start:
    """Of the weights that are started from."""
    model = session.config.model
    first, policy = (_known_hash(session, of) for of in (model.weights, model.policy_weights))
    return Start(weights=first, policy=policy)


def _known_hash(session: Session, weights: str | None) -> str | None:
    """The hash of a weights file; torch is imported where it is not known yet."""
    if weights is None:
        return None
    mark = WeightsMark.of(weights)
    known = recall(session.root, mark).hash
    if known:
        return known
    from reelvec.tasks.training.opening import hash_of_weights

    found = hash_of_weights(weights)
    if not session.plans:  # a plan writes nothing
        keep(session.root, mark, found=KnownWeights(hash=found))
    return found


def _teachers(config: PipelineConfig, *, root: Root) -> list[Teacher]:
    """The teachers of a run; torch is imported where there are any."""
    if not config.train.teachers:
        return []
    from reelvec.tasks.training.teachers import find_teachers

    return find_teachers(config, root=root)
