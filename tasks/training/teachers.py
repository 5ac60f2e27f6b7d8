"""Teachers of a run: models that other runs of the store trained, or weights files."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import torch
from pydantic import ValidationError

from reelvec.configs.errors import ConfigError
from reelvec.configs.schema import ModelConfig, PipelineConfig, TrainConfig
from reelvec.models.conversion.recognition import recognise
from reelvec.models.family import RetrievalModel
from reelvec.storage.commits.artifact import Artifact
from reelvec.storage.errors import MissingArtifactError, WeightsError
from reelvec.storage.file_marks import FileMark
from reelvec.storage.roots import Root, open_root
from reelvec.storage.runs import find_run, newest_first
from reelvec.storage.weights.paths import is_pretrained
from reelvec.tasks.artifacts import SnapshotRef
from reelvec.tasks.training.checkpoints import model_from
from reelvec.tasks.training.committed import best_checkpoint, checkpoints
from reelvec.tasks.training.errors import TrainingError
from reelvec.tasks.training.items import Item
from reelvec.tasks.training.kept import KeptFeatures
from reelvec.tasks.training.lesson import Lesson, Taught
from reelvec.tasks.training.opening import open_any
from reelvec.tasks.training.spec import SEEN, Teacher
from reelvec.tasks.training.starting import hashes_of_start, starting_model

__all__ = ["Classroom", "check_teachers", "find_teachers", "load_teacher", "with_absolute_teachers"]


def find_teachers(config: PipelineConfig, *, root: Root | None = None) -> list[Teacher]:
    """The teachers a run names, found in its store or on this machine.

    Raises:
        ConfigError: neither a run with a model nor a weights file, or the run itself.
    """
    if not config.train.teachers or not config.train.epochs:
        return []
    root = root or open_root(config.store)
    return [_find(name, config, root=root) for name in config.train.teachers]


def load_teacher(teacher: Teacher) -> RetrievalModel:
    """The model of a teacher in fp32 on the CPU, in evaluation mode.

    Raises:
        MissingArtifactError, WeightsError: it is gone, or damaged.
    """
    if teacher.checkpoint is None and teacher.model.weights is None:
        raise MissingArtifactError(
            f"the teacher ({teacher.name}) is gone, and the model is not trained to the end;"
            " train the teacher again, or name another"
        )
    if teacher.checkpoint is None:
        return starting_model(teacher.model, seed=0).eval()
    refs = checkpoints(teacher.checkpoint.open())
    return model_from(best_checkpoint(refs).path, teacher.model)


def check_teachers(config: PipelineConfig) -> None:
    """Refuse teachers that cannot teach this model, and frames that features are not kept of.

    Raises:
        ConfigError: as `find_teachers`; a teacher that sees other frames; frames drawn anew.
    """
    _check_frames(config)
    for teacher in find_teachers(config):
        for key in SEEN:
            theirs, ours = getattr(teacher.model, key), getattr(config.model, key)
            if theirs != ours:
                raise ConfigError(
                    f"train.teachers: ({teacher.name}) has {key} ({theirs}), and model.{key} is"
                    f" ({ours}); a teacher weighs what the student sees: make them equal",
                    key="train.teachers",
                )


def _check_frames(config: PipelineConfig) -> None:
    """Refuse frames in training that are not those that a frozen model is shown once."""
    model, train = config.model, config.train
    frozen = "train.teachers" if train.teachers else "train.freeze=backbone"
    if not train.epochs or not (train.teachers or train.freeze == "backbone"):
        return
    drawn = model.train_frame_draw != "none" or model.train_frame_order == "random"
    if drawn or model.train_frame_order != model.eval_frame_order:
        raise ConfigError(
            f"{frozen} keeps what a frozen model gives for a video's frames as they are embedded,"
            f" and training sees others (train_frame_draw {model.train_frame_draw},"
            f" train_frame_order {model.train_frame_order}, eval_frame_order"
            f" {model.eval_frame_order}); set model.train_frame_draw=none and both orders the same,"
            f" not random in training, or leave {frozen} out",
            key="model.train_frame_draw",
        )


def with_absolute_teachers(config: PipelineConfig) -> PipelineConfig:
    """The same run, weights files named by their whole path; names of runs stay as they are."""
    if not config.train.teachers:
        return config
    found = find_teachers(config)
    names = [teacher.model.weights or teacher.name for teacher in found if not teacher.checkpoint]
    paths = dict(zip([t.name for t in found if not t.checkpoint], names, strict=True))
    teachers = tuple(paths.get(name, name) for name in config.train.teachers)
    train = config.train.model_copy(update={"teachers": teachers})
    return config.model_copy(update={"train": train})


def _find(name: str, config: PipelineConfig, *, root: Root) -> Teacher:
    if name == config.name:
        raise ConfigError(
            f"train.teachers names this run itself ({name}); give the run another name, or name"
            " another teacher",
            key="train.teachers",
        )
    try:
        return _of_run(name, root)
    except MissingArtifactError as error:
        if is_pretrained(name) or Path(name).expanduser().is_file():
            return _of_file(name)
        known = _remembered(name, config, root=root)
        if known is not None:
            return known
        raise ConfigError(
            f"train.teachers: ({name}) is no weights file that is there, and {error}; run the"
            " teacher first, in the same store, or name another",
            key="train.teachers",
        ) from None


def _of_run(name: str, root: Root) -> Teacher:
    record = find_run(root, name)
    if "checkpoint" not in record.artifacts:
        raise MissingArtifactError(f"the run ({name}) has trained no model", path=root.uri)
    fingerprint, _ = record.artifacts["checkpoint"]
    artifact = Artifact.find(root, kind="checkpoint", fingerprint=fingerprint)
    snapshot = artifact.latest()
    refs = checkpoints(snapshot)
    if snapshot is None or not refs or not refs[-1].progress.finished:
        raise MissingArtifactError(f"the model of the run ({name}) is not trained to the end")
    try:
        model = ModelConfig.model_validate(record.config["model"])
    except ValidationError as error:
        raise ConfigError(
            f"train.teachers: the run ({name}) is of another version ({error.error_count()} keys of"
            " its model are not known); run it again",
            key="train.teachers",
        ) from None
    return Teacher(
        name=name,
        model=model,
        weights_hash=best_checkpoint(refs).weights_hash,
        checkpoint=SnapshotRef.to(snapshot),
    )


def _remembered(name: str, config: PipelineConfig, *, root: Root) -> Teacher | None:
    """A teacher that is gone, as a model that it taught tells of it."""
    for record in newest_first(root, name=config.name):
        if "checkpoint" not in record.artifacts:
            continue
        artifact = Artifact(root, kind="checkpoint", fingerprint=record.artifacts["checkpoint"][0])
        for ref in checkpoints(artifact.latest()):
            for told in ref.teachers:
                if told["name"] == name:
                    return Teacher.model_validate(told)
    return None


def _of_file(name: str) -> Teacher:
    weights = name if is_pretrained(name) else str(Path(name).expanduser().resolve())
    on_disk = None if is_pretrained(name) else FileMark.of(Path(weights).stat())
    model = _recognised(weights, on_disk)
    return Teacher(name=name, model=model, weights_hash=hashes_of_start(model).weights or "")


@lru_cache(maxsize=8)
def _recognised(weights: str, mark: FileMark | None) -> ModelConfig:
    """What a weights file is of; the likeliest family where several could be."""
    del mark  # tells one content of the file from another
    file = open_any(weights)
    found = recognise(file.tensors, facts=file.facts)
    if not found:
        raise WeightsError(f"({weights}) fits no model family", path=weights)
    family, settings = found[0]
    return ModelConfig(
        family=family,
        options=settings.options,
        weights=weights,
        max_words=settings.max_words,
        max_frames=settings.max_frames,
    )


class Classroom:
    """The teachers of a training process, with what they gave for its texts and clips."""

    def __init__(
        self, teachers: Sequence[Teacher], options: TrainConfig, *, device: torch.device
    ) -> None:
        self._options = options.distillation
        self._teachers = [_before(teacher, device) for teacher in teachers]

    def lesson(self, items: Sequence[Item]) -> Lesson | None:
        """What the teachers gave for these pairs; None: there are no teachers."""
        if not self._teachers:
            return None
        texts, keys = [item.text for item in items], [item.clip_key for item in items]
        taught = [
            Taught(model, kept.of_texts(texts), kept.of_clips(keys))
            for model, kept in self._teachers
        ]
        return Lesson(taught, self._options)


def _before(teacher: Teacher, device: torch.device) -> tuple[RetrievalModel, KeptFeatures]:
    if teacher.features is None:
        raise TrainingError(f"the teacher ({teacher.name}) has not been asked for its features")
    model = load_teacher(teacher)
    kept = KeptFeatures.open(
        teacher.features.open(),
        text_columns=model.text_columns,
        video_columns=model.video_columns,
    )
    return model.requires_grad_(False).to(device), kept
