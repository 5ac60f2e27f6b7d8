"""Train: from frames and captions to a checkpoint artifact, through torchrun, from where it stood.

A run looks for its finished checkpoint first. If there is none, the training set is committed,
`tasks.training.worker` is started as a child, and its checkpoints are committed as they come; a
killed run goes on from the last one.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from reelvec.configs import PipelineConfig
from reelvec.configs.schema import ModelConfig
from reelvec.models.family import RetrievalModel
from reelvec.models.registry import family_class, trainable_names
from reelvec.storage.commits.artifact import Artifact, Snapshot
from reelvec.storage.errors import MissingArtifactError
from reelvec.storage.records import Status
from reelvec.storage.roots import Root, open_root
from reelvec.tasks.corpus.ingest import corpus_artifact, read_corpus
from reelvec.tasks.frames.extract import frames_artifact
from reelvec.tasks.training.checkpoints import (
    CHECKPOINTS,
    CheckpointRef,
    TrainingState,
    best_checkpoint,
    checkpoints,
    commit,
    model_from,
    settle,
)
from reelvec.tasks.training.errors import TrainingError
from reelvec.tasks.training.finished import Trained, finished, receipt_of
from reelvec.tasks.training.identity import checkpoint_identity
from reelvec.tasks.training.items import Item, choose_items, commit_items, read_items, set_hash
from reelvec.tasks.training.progress import Progress
from reelvec.tasks.training.spec import TrainSpec, write_spec
from reelvec.tasks.training.starting import hash_of_start, starting_model
from reelvec.tasks.training.supervisor import Launch, OnProgress, supervise

__all__ = ["Trained", "find_trained", "load_trained", "train", "trained", "training_items"]

FRAMES = "frames"


def train(config: PipelineConfig, *, on_progress: OnProgress = lambda _: None) -> dict[str, Any]:
    """Train the model of `config`, or find that it is trained.

    Args:
        config: the run; corpus and frames must be committed.
        on_progress: is told `start`, `step`, `epoch`, `checkpoint` and `restart` events, in the
            calling thread.

    Returns:
        A receipt: kind, artifact, snapshot, part, weights_hash, epochs, steps, best_epoch,
        history, training_seconds (over all runs that contributed), done (steps taken by this
        call), notes.

    Raises:
        TrainingError: nothing to train on, a loss that is no number, too many crashes.
    """
    items = training_items(config)
    artifact = checkpoint_artifact(config, items=items)
    found = finished(artifact)
    if found is None and config.train.epochs == 0:
        _commit_start(artifact, config)
    before = settle(artifact, keep_last=config.train.keep_last)
    steps_before = before[-1].progress.step if before else 0
    found = found or finished(artifact)
    if found is None:
        _run(artifact, config, items=items, before=before, on_progress=on_progress)
    found = found or finished(artifact)
    if found is None:
        raise TrainingError(f"training ended without a finished checkpoint in {artifact.folder}")
    return receipt_of(found, config, items=items, done=found.last.progress.step - steps_before)


def find_trained(config: PipelineConfig) -> Trained | None:
    """The finished training of this config, if there is one; reads no weights."""
    needs_items = config.train.when_corpus_grows == "retrain" and config.train.epochs > 0
    items = training_items(config) if needs_items else []
    return finished(checkpoint_artifact(config, items=items))


def trained(config: PipelineConfig) -> Trained:
    """The finished training of this config.

    Raises:
        MissingArtifactError: it is not trained, or not to the end.
    """
    found = find_trained(config)
    if found is None:
        raise MissingArtifactError(
            f"the model of ({config.name}) is not trained in {config.store}; run the stage train"
        )
    return found


def load_trained(
    store: str, *, fingerprint: str, number: int | None, model: ModelConfig
) -> RetrievalModel:
    """The best model of a checkpoint artifact, in fp32 on the CPU, in evaluation mode.

    Args:
        store: root of the store.
        fingerprint: of the artifact.
        number: its snapshot; None: the latest.
        model: family and options; sizes come from the checkpoint.

    Raises:
        MissingArtifactError: no such artifact, snapshot or checkpoint.
    """
    artifact = Artifact.find(open_root(store), kind="checkpoint", fingerprint=fingerprint)
    refs = checkpoints(artifact.latest() if number is None else artifact.at(number))
    if not refs:
        raise MissingArtifactError(
            f"{artifact.folder} holds no checkpoint yet", path=artifact.folder
        )
    return model_from(best_checkpoint(refs).path, model)


def checkpoint_artifact(config: PipelineConfig, *, items: Sequence[Item]) -> Artifact:
    """The checkpoint artifact of `config`, made if it is not there."""
    identity = checkpoint_identity(
        config,
        start=hash_of_start(config.model),
        corpus=corpus_artifact(config).fingerprint,
        frames=frames_artifact(config).fingerprint,
        training_set=set_hash(items),
    )
    return Artifact.open(open_root(config.store), kind="checkpoint", identity=identity)


def training_items(config: PipelineConfig) -> list[Item]:
    """What would be trained and selected on, were training to start now."""
    corpus = read_corpus(corpus_artifact(config))
    return choose_items(
        corpus.videos,
        corpus.captions,
        frames=_clips(frames_artifact(config).latest()),
        selection_split=config.train.selection_split,
        joined=config.train.captions == "joined",
    )


def _clips(frames: Snapshot | None) -> frozenset[str]:
    """Clips that have frames."""
    rows = frames.outcomes(FRAMES) if frames else iter(())
    return frozenset(row.key for row in rows if row.status != Status.QUARANTINED)


def _commit_start(artifact: Artifact, config: PipelineConfig) -> None:
    """The starting weights as a finished checkpoint."""
    model = starting_model(config.model, seed=config.train.seed)
    state = TrainingState(model, None, Progress(steps_per_epoch=0, total_steps=0))
    commit(artifact, state, config=config.model, seconds=0.0, keep_last=1)


def _run(
    artifact: Artifact,
    config: PipelineConfig,
    *,
    items: Sequence[Item],
    before: Sequence[CheckpointRef],
    on_progress: OnProgress,
) -> None:
    """Start the worker on the committed training set, and wait for its end."""
    root = open_root(config.store)
    with frames_artifact(config).pinned() as frames:
        if not _can_go_on(artifact, before, frames=frames):
            _check_items(items, config)
            artifact.publish(supersede={CHECKPOINTS: [ref.key for ref in before]})
            commit_items(artifact, items)
        spec = TrainSpec(
            store=root.uri,
            checkpoint=artifact.fingerprint,
            frames=frames.artifact.fingerprint,
            frames_number=frames.number,
            model=config.model,
            train=config.train,
        )
        path = root.new_scratch(".json")
        write_spec(spec, path)
        try:
            launch = Launch(path, config.train.processes, log=_log(root, artifact))
            supervise(launch, on_progress=on_progress)
        finally:
            path.unlink(missing_ok=True)


def _can_go_on(artifact: Artifact, before: Sequence[CheckpointRef], *, frames: Snapshot) -> bool:
    """Whether there is a checkpoint whose training set still has all its frames."""
    snapshot = artifact.latest()
    if not before or snapshot is None:
        return False
    return {item.clip_key for item in read_items(snapshot)} <= _clips(frames)


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


def _log(root: Root, artifact: Artifact) -> Path:
    """Everything the training processes say; not part of the artifact, since clocks are in it."""
    return root.local_folder / "logs" / f"train-{artifact.fingerprint}.log"
