from dataclasses import replace

import pytest
import torch

from reelvec.configs.schema import TrainConfig
from reelvec.storage.commits.artifact import Artifact
from reelvec.storage.roots import open_root
from reelvec.tasks.training.checkpoints import (
    TrainingState,
    _write,
    commit,
    contents_of,
    model_from,
    recover,
    restore,
    tidy,
)
from reelvec.tasks.training.committed import CHECKPOINTS, best_checkpoint, checkpoints
from reelvec.tasks.training.progress import Best, Progress
from reelvec.tasks.training.starting import make_optimizer
from tests.tasks.training.builders import model_config, small_model


@pytest.fixture
def artifact(tmp_path):
    return Artifact.open(open_root(tmp_path), kind="checkpoint", identity={"n": 1})


def state(step=0, best=None, seed=3, optimizer="bert_adam"):
    model = small_model(seed=seed)
    made = make_optimizer(model, TrainConfig(optimizer=optimizer), total_steps=100)
    progress = Progress(steps_per_epoch=5, total_steps=20, step=step)
    if best is not None:
        progress = progress.model_copy(update={"best": Best(step=best, epoch=best // 5)})
    return TrainingState(model, made, progress)


def put(artifact, step, best=None, keep_last=2):
    moved = state(step, best)
    return commit(artifact, moved, config=model_config(), seconds=step, keep_last=keep_last)


def steps(artifact):
    return [ref.progress.step for ref in checkpoints(artifact.latest())]


def test_the_last_few_and_the_best_stay(artifact):
    for step, best in ((2, None), (4, None), (5, 5), (7, 5), (9, 5), (10, 5), (15, 15), (20, 15)):
        put(artifact, step, best)
    assert steps(artifact) == [15, 20]
    assert best_checkpoint(checkpoints(artifact.latest())).progress.step == 15


def test_the_best_is_kept_beside_the_last(artifact):
    for step in (5, 10, 15, 20):
        put(artifact, step, best=5)
    assert steps(artifact) == [5, 15, 20]


@pytest.mark.parametrize("keep_last", [1, 3])
def test_keep_last(artifact, keep_last):
    for step in (1, 2, 3, 4):
        put(artifact, step, keep_last=keep_last)
    assert steps(artifact) == [1, 2, 3, 4][-keep_last:]


def test_a_finished_training_keeps_what_is_promised(artifact):
    """However short it was: the last two and the best, without waiting."""
    for step, best in ((5, 5), (7, 5), (10, 5), (12, 5), (15, 5), (17, 5), (20, 5)):
        put(artifact, step, best)
    assert len(artifact.root.list(f"{artifact.folder}/parts")) == 7
    unpublished = _write(artifact, contents_of(state(21)), config=model_config(), seconds=1.0)
    tidy(artifact)
    left = [name.split("-")[2] for name in artifact.root.list(f"{artifact.folder}/parts")]
    assert left == ["00000005", "00000017", "00000020", "00000021"]
    assert artifact.root.exists(f"{artifact.folder}/{unpublished.path}")
    assert steps(artifact) == [5, 17, 20]


def test_what_left_long_ago_gives_its_bytes_back(artifact, monkeypatch):
    for step in (1, 2, 3):
        put(artifact, step)
    files = artifact.root.list(f"{artifact.folder}/parts")
    assert [name.split("-")[2] for name in files] == ["00000001", "00000002", "00000003"]
    monkeypatch.setattr("reelvec.tasks.training.checkpoints.CHECKPOINT_GRACE_SECONDS", -1.0)
    put(artifact, 4)
    left = artifact.root.list(f"{artifact.folder}/parts")
    assert [name.split("-")[2] for name in left] == ["00000003", "00000004"]
    assert steps(artifact) == [3, 4]


def test_a_step_committed_twice_is_one_checkpoint(artifact):
    put(artifact, 2)
    put(artifact, 2)
    assert steps(artifact) == [2]


def test_what_was_written_but_not_published_is_adopted_and_pruned(artifact):
    for step in (1, 2):
        put(artifact, step)
    _write(artifact, contents_of(state(3)), config=model_config(), seconds=3)
    assert steps(artifact) == [1, 2]
    assert [ref.progress.step for ref in recover(artifact, keep_last=2)] == [2, 3]
    assert recover(artifact, keep_last=2)[-1].seconds == 3
    assert artifact.latest().counts(CHECKPOINTS).ok == 2


@pytest.mark.parametrize("optimizer", ["bert_adam", "adamw"])
def test_restored_is_what_was_saved(artifact, optimizer):
    saved = state(5, optimizer=optimizer)
    train_a_little(saved)
    commit(artifact, saved, config=model_config(), seconds=1, keep_last=1)
    other = state(seed=8, optimizer=optimizer)
    ref = checkpoints(artifact.latest())[-1]
    loaded = restore(ref, model=other.model, optimizer=other.optimizer)
    assert loaded.progress == saved.progress
    assert_equal(loaded.model.state_dict(), saved.model.state_dict())
    for moved in (saved, loaded):  # the next step is the same one
        train_a_little(moved)
    assert_equal(loaded.model.state_dict(), saved.model.state_dict())


def train_a_little(moved):
    torch.manual_seed(0)
    for parameter in moved.model.parameters():
        parameter.grad = torch.randn_like(parameter)
    moved.optimizer.step()


def assert_equal(found, expected):
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[name], expected[name]) for name in expected)


def test_bytes_follow_from_the_state_and_nothing_else(tmp_path):
    sums = set()
    for number, seconds in ((0, 1.0), (1, 2.0)):
        artifact = Artifact.open(open_root(tmp_path), kind="checkpoint", identity={"n": number})
        moved = state(5)
        commit(artifact, moved, config=model_config(), seconds=seconds, keep_last=1)
        sums.add(artifact.latest().checksum)
    assert len(sums) == 1


def test_a_model_comes_back_from_its_file(artifact):
    saved = state(5)
    commit(artifact, saved, config=model_config(), seconds=0, keep_last=1)
    model = model_from(checkpoints(artifact.latest())[0].path, model_config())
    assert not model.training
    assert_equal(model.state_dict(), saved.model.state_dict())


def test_a_model_without_training_is_a_checkpoint_too(artifact):
    start = replace(state(), optimizer=None)
    start = replace(start, progress=Progress(steps_per_epoch=0, total_steps=0))
    commit(artifact, start, config=model_config(), seconds=0, keep_last=1)
    ref = checkpoints(artifact.latest())[0]
    assert ref.progress.finished
    assert ref.progress.epoch == 0
