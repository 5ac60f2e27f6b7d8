"""A student beside its teachers: the loss of a step, and which teachers a run has."""

import pytest
import torch

from reelvec.configs import ConfigError
from reelvec.configs.schema import DistillationConfig
from reelvec.models.training.distillation import Scores, distilled_loss
from reelvec.storage.commits.artifact import Artifact
from reelvec.storage.errors import MissingArtifactError
from reelvec.storage.roots import open_root
from reelvec.storage.runs import RunRecord, write_run
from reelvec.tasks.artifacts import Session
from reelvec.tasks.training.checkpoints import TrainingState, commit_contents, contents_of
from reelvec.tasks.training.processes import Group
from reelvec.tasks.training.progress import Progress
from reelvec.tasks.training.spec import Kept, Teacher
from reelvec.tasks.training.step import StepOptions, contrastive_backward
from reelvec.tasks.training.teachers import (
    check_teachers,
    find_teachers,
    load_teacher,
    with_absolute_teachers,
)
from tests.tasks.training import test_same_weights as same
from tests.tasks.training.builders import make_config, model_config, small_model

one_thread = same.one_thread
OPTIONS = DistillationConfig(scores="ce", frames="pear", temperature=2.0, weights=(0.5, 2.0, 3.0))


@pytest.mark.parametrize("parts", [1, 3])
def test_the_gradient_is_that_of_the_whole_loss(parts):
    """In one piece, through autograd alone, with two teachers of which one weighs frames."""
    batch = same.batch(0)
    lesson = same.lesson_of(batch, slice(0, same.PAIRS), options=OPTIONS)
    model, _ = same.built("teachclip")
    how = StepOptions(seed=11, parts=parts)
    loss = contrastive_backward(model, batch, group=Group(), step=0, options=how, lesson=lesson)
    found = same.gradients(model)
    model.zero_grad(set_to_none=True)
    text, video = batch.encoded(model, {}, device=torch.device("cpu"))
    sim = model.similarity(text, video)
    student = Scores([(1.0, sim)], [(1.0, sim.T)], video["frame_weights"])
    taught = []
    for teacher in lesson.teachers:
        theirs = teacher.model.similarity(teacher.text, teacher.video).detach()
        weights = teacher.model.pair_frame_weights(teacher.text, teacher.video)
        taught.append(Scores([(1.0, theirs)], [(1.0, theirs.T)], weights))
    expected = distilled_loss(student, taught, options=OPTIONS).total
    expected.backward()
    assert loss == pytest.approx(expected.item(), abs=1e-10)
    assert same.apart(found, same.gradients(model)) < 1e-9
    assert all(p.grad is None for t in lesson.teachers for p in t.model.parameters())


def test_a_student_without_frame_weights_learns_scores():
    model, _ = same.built("clip4clip meanP")
    batch = same.batch(0)
    lesson = same.lesson_of(batch, slice(0, same.PAIRS), options=DistillationConfig())
    how = StepOptions(seed=11)
    taught = contrastive_backward(model, batch, group=Group(), step=0, options=how, lesson=lesson)
    alone = contrastive_backward(model, batch, group=Group(), step=0, options=how)
    assert taught != pytest.approx(alone)


@pytest.fixture
def config(tmp_path):
    weights = tmp_path / "start-meanP.safetensors"
    torch.save(small_model().state_dict(), tmp_path / "student.bin")
    return make_config(tmp_path).model_copy(
        update={"name": "student", "model": model_config(weights=str(weights))}
    )


def taught_by(config, *names):
    return config.model_copy(update={"train": config.train.model_copy(update={"teachers": names})})


def run_trained(config, name, *, steps=2, total=2, origins=None, **model):
    """A run of the store whose model is trained."""
    root = open_root(config.store)
    artifact = Artifact.open(root, kind="checkpoint", identity={"kind": "checkpoint", "of": name})
    progress = Progress(steps_per_epoch=1, total_steps=total, step=steps)
    state = TrainingState(small_model(), None, progress)
    snapshot = commit_contents(
        artifact,
        contents_of(state, origins=origins or {}),
        config=config.model,
        seconds=0.0,
        keep_last=1,
    )
    plain = config.model.model_copy(update=model).model_dump(mode="json")
    made = {"checkpoint": (artifact.fingerprint, snapshot.number)}
    record = RunRecord(name=name, config={"model": plain}, artifacts=made)
    write_run(root, RunRecord(**{**vars_of(record), "started": "2026-01-01T00:00:00+00:00"}))
    return snapshot


def vars_of(record):
    return {slot: getattr(record, slot) for slot in record.__dataclass_fields__}


def test_a_teacher_is_a_run_or_a_file(config, tmp_path):
    run_trained(config, "older")
    file = str(tmp_path / "student.bin")
    by_run, by_file = find_teachers(taught_by(config, "older", file))
    assert by_run.checkpoint is not None and by_file.checkpoint is None
    assert by_run.weights_hash == by_file.weights_hash
    assert by_file.model.family == "clip4clip" and by_file.model.weights == file
    state = small_model().state_dict()
    for teacher in (by_run, by_file):
        loaded = load_teacher(teacher)
        assert not loaded.training
        assert all(torch.equal(x, state[name]) for name, x in loaded.state_dict().items())


def test_names_of_files_become_whole_paths_and_names_of_runs_stay(config, tmp_path, monkeypatch):
    run_trained(config, "older")
    monkeypatch.chdir(tmp_path)
    named = taught_by(config, "older", "student.bin")
    assert with_absolute_teachers(named).train.teachers == (
        "older",
        str(tmp_path / "student.bin"),
    )
    assert with_absolute_teachers(config) is config


def test_who_cannot_teach_is_refused(config):
    run_trained(config, "begun", steps=1)
    run_trained(config, "wide", max_frames=7)
    for name, message in (
        ("student", "names this run itself"),
        ("nobody", "no weights file that is there, and no run is called"),
        ("begun", "is not trained to the end"),
        ("wide", r"has max_frames \(7\)"),
    ):
        with pytest.raises(ConfigError, match=message):
            check_teachers(taught_by(config, name))
    for changes in ({"train_frame_draw": "random"}, {"train_frame_order": "reverse"}):
        model = config.model.model_copy(update=changes)
        frozen = config.train.model_copy(update={"freeze": "backbone"})
        with pytest.raises(ConfigError, match=r"train\.freeze=backbone keeps"):
            check_teachers(config.model_copy(update={"model": model, "train": frozen}))
        check_teachers(config.model_copy(update={"model": model}))
    untrained = taught_by(config, "nobody")
    none = untrained.train.model_copy(update={"epochs": 0})
    check_teachers(untrained.model_copy(update={"train": none}))


def test_a_student_that_is_trained_is_found_when_its_teacher_is_gone(config):
    run_trained(config, "older")
    (teacher,) = find_teachers(taught_by(config, "older"))
    root = open_root(config.store)
    gone = teacher.model_copy(update={"name": "dropped"})
    run_trained(config, "student", origins=Kept(teachers=(gone,)).origins)
    (known,) = find_teachers(taught_by(config, "dropped"), root=root)
    assert known.identity == teacher.identity and known.checkpoint is None
    plain = Teacher.model_validate(known.model_dump() | {"model": model_config().model_dump()})
    with pytest.raises(MissingArtifactError, match="is gone"):
        load_teacher(plain)


def test_its_identity_is_the_teachers_weights_not_their_names(config, monkeypatch):
    from reelvec.tasks.training import finding
    from reelvec.tasks.training.identity import Start

    run_trained(config, "older")
    run_trained(config, "same")
    monkeypatch.setattr(finding, "_hashes_of_start", lambda _: Start("start"))
    prints = [
        finding.checkpoint_artifact(Session(taught_by(config, *names)), items=[]).fingerprint
        for names in (["older"], ["same"], [], ["older", "same"])
    ]
    assert prints[0] == prints[1] and len(set(prints)) == 3
