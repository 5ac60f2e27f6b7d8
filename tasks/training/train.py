"""Train: from frames and captions to a checkpoint artifact, from where it stood.

A run looks for its finished checkpoint first. If there is none, the training set is committed,
`tasks.training.worker` is started in processes of its own, and its checkpoints are committed as
they come; a killed run goes on from the last one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from reelvec.configs import PipelineConfig
from reelvec.configs.schema import ModelConfig
from reelvec.models.family import RetrievalModel
from reelvec.models.registry import family_class, trainable_names
from reelvec.models.unfilled import undrawn
from reelvec.storage.commits.artifact import Artifact, Snapshot
from reelvec.storage.errors import MissingArtifactError
from reelvec.tasks.artifacts import Session, SnapshotRef
from reelvec.tasks.training.checkpoints import TrainingState, commit, model_from, recover, tidy
from reelvec.tasks.training.committed import (
    CHECKPOINTS,
    CheckpointRef,
    best_checkpoint,
    checkpoints,
)
from reelvec.tasks.training.errors import TrainingError
from reelvec.tasks.training.finding import checkpoint_artifact, clips_with_frames, training_items
from reelvec.tasks.training.finished import TrainReceipt, finished, receipt_of
from reelvec.tasks.training.items import Item, commit_items, read_items
from reelvec.tasks.training.opening import close_weights
from reelvec.tasks.training.progress import Progress
from reelvec.tasks.training.running import RunTraining, run_here
from reelvec.tasks.training.spec import Kept, TrainSpec
from reelvec.tasks.training.starting import untrained_model
from reelvec.tasks.training.supervisor import OnProgress
from reelvec.tasks.training.watching import watched

__all__ = [
    "load_trained",
    "train",
]


def train(
    session: Session,
    *,
    kept: Kept | None = None,
    on_progress: OnProgress = lambda _: None,
    run_training: RunTraining = run_here,
) -> TrainReceipt:
    """Train the model of a run, or find that it is trained.

    Args:
        session: of the run; corpus and frames must be committed.
        kept: what frozen encoders gave for what `items_at_hand` names; None: nothing.
        on_progress: is told `start`, `step`, `epoch`, `checkpoint` and `restart` events, in the
            calling thread.
        run_training: where its processes run.

    Raises:
        TrainingError: nothing to train on, a loss that is no number, too many crashes.
    """
    items = training_items(session)
    artifact = checkpoint_artifact(session, items=items)
    trained_model = finished(session.latest(artifact))
    steps = 0
    if trained_model is None:
        before = _begun(session, artifact)
        trained_model = finished(session.latest(artifact))
        if trained_model is None:
            work = _Work(items=items, before=before, kept=kept or Kept())
            with watched(session, artifact.fingerprint, on_progress=on_progress) as hear:
                run = partial(run_training, on_progress=hear)
                _run(session, artifact, work, run=run)
            trained_model = finished(session.latest(artifact))
        if trained_model is None:
            raise TrainingError(f"training ended without a finished checkpoint in {artifact!r}")
        tidy(artifact)
        steps = trained_model.last.progress.step - (before[-1].progress.step if before else 0)
    close_weights()  # what was started from is committed
    return receipt_of(trained_model, session.config, items=items, done=steps)


def load_trained(checkpoint: SnapshotRef, *, model: ModelConfig) -> RetrievalModel:
    """The best model of a checkpoint artifact, in fp32 on the CPU, in evaluation mode.

    Args:
        checkpoint: snapshot of the artifact.
        model: family and options; sizes come from the checkpoint.

    Raises:
        MissingArtifactError: no such artifact, snapshot or checkpoint.
    """
    snapshot = checkpoint.open()
    refs = checkpoints(snapshot)
    if not refs:
        raise MissingArtifactError(
            f"{snapshot!r} holds no checkpoint yet", path=snapshot.artifact.folder
        )
    with undrawn():
        return model_from(best_checkpoint(refs).path, model)


def _begun(session: Session, artifact: Artifact) -> list[CheckpointRef]:
    """Checkpoints there are already: a killed run's, or the starting weights of no training."""
    config = session.config
    if config.train.epochs == 0:
        _commit_start(artifact, config)
    before = recover(artifact, keep_last=config.train.keep_last)
    session.forget(artifact)
    return before


def _commit_start(artifact: Artifact, config: PipelineConfig) -> None:
    """The starting weights as a finished checkpoint."""
    model = untrained_model(config.model, seed=config.train.seed)
    state = TrainingState(model, None, Progress(steps_per_epoch=0, total_steps=0))
    commit(artifact, state, config=config.model, seconds=0.0, keep_last=1)


@dataclass(frozen=True)
class _Work:
    """What a training starts from: items, checkpoints of before, what frozen encoders gave."""

    items: Sequence[Item]
    before: Sequence[CheckpointRef]
    kept: Kept


def _run(
    session: Session, artifact: Artifact, work: _Work, *, run: Callable[[TrainSpec], None]
) -> None:
    """Train on the committed training set to the end."""
    config, items, before = session.config, work.items, work.before
    with session.frames.pinned(session.ref(session.frames).number or None) as frames:
        if not _can_go_on(artifact, before, frames=frames):
            _check_items(items, config)
            artifact.publish(supersede={CHECKPOINTS: [ref.key for ref in before]})
            commit_items(artifact, items)
        spec = TrainSpec(
            checkpoint=SnapshotRef.of(artifact),
            frames=SnapshotRef.to(frames),
            model=config.model,
            train=config.train,
            kept=work.kept,
        )
        try:
            run(spec)
        finally:
            session.forget(artifact)


def _can_go_on(artifact: Artifact, before: Sequence[CheckpointRef], *, frames: Snapshot) -> bool:
    """Whether there is a checkpoint whose training set still has all its frames."""
    snapshot = artifact.latest()
    if not before or snapshot is None:
        return False
    return {item.clip_key for item in read_items(snapshot)} <= clips_with_frames(frames)


def _check_items(items: Sequence[Item], config: PipelineConfig) -> None:
    if not any(item.role == "train" for item in items):
        raise TrainingError(
            "no caption of the split train has a video with frames: nothing can be trained on; "
            "give captions, or set train.epochs=0 to use the starting weights as they are"
        )
    if not family_class(config.model.family).trainable:
        raise TrainingError(
            f"model.family ({config.model.family}) is not trained; set train.epochs=0 to use its "
            f"weights as they are, or one of the families that are: {', '.join(trainable_names())}"
        )
