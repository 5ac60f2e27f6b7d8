"""Checkpoints beside the training: what it waits for, what is written, where failures are said."""

import threading
from functools import partial

import pytest
import torch

from reelvec.tasks.training import loop
from reelvec.tasks.training.checkpoints import Contents, commit, contents_of
from reelvec.tasks.training.committed import checkpoints
from reelvec.tasks.training.progress import Progress
from reelvec.tasks.training.writing import CheckpointWriter
from tests.tasks.training.builders import model_config
from tests.tasks.training.test_checkpoints import state
from tests.tasks.training.test_loop import trainer_of

SECONDS = 20.0


class Disk:
    """Commits when it is let; remembers what it was given."""

    def __init__(self):
        self.free = threading.Event()
        self.begun = threading.Semaphore(0)
        self.wrote = []

    def commit(self, contents):
        self.begun.release()
        assert self.free.wait(SECONDS)
        first = next(iter(contents.tensors.values()))
        self.wrote.append((contents.progress.step, float(first[0]), first.data_ptr()))


def contents(step, tensor):
    progress = Progress(step=step, steps_per_epoch=9, total_steps=9)
    return Contents({"weights/a": tensor}, sizes={}, optimizer=None, progress=progress)


def test_the_training_goes_on_while_its_checkpoint_is_written():
    disk, tensor = Disk(), torch.ones(4)
    with CheckpointWriter(disk.commit) as writer:
        writer.put(contents(1, tensor))
        assert disk.begun.acquire(timeout=SECONDS)
        tensor.fill_(2.0)  # the next step
        writer.check()
        assert writer.committed() == []
        disk.free.set()
    assert disk.wrote[0][:2] == (1, 1.0)
    assert writer.committed() == [1]
    assert writer.committed() == []


def test_a_second_checkpoint_waits_for_the_first_and_takes_its_memory():
    disk, tensor, done = Disk(), torch.ones(4), threading.Event()
    with CheckpointWriter(disk.commit) as writer:
        writer.put(contents(1, tensor))

        def second():
            writer.put(contents(2, tensor + 1))
            done.set()

        thread = threading.Thread(target=second)
        thread.start()
        assert not done.wait(0.2)
        disk.free.set()
        thread.join(SECONDS)
        assert done.is_set()
    assert [row[:2] for row in disk.wrote] == [(1, 1.0), (2, 2.0)]
    assert len({address for *_, address in disk.wrote}) == 1
    assert writer.committed() == [1, 2]


def failing(contents):
    raise OSError(28, f"no space left for step {contents.progress.step}")


def test_a_failure_is_said_at_the_next_look_and_once():
    writer = CheckpointWriter(failing)
    writer.put(contents(1, torch.ones(1)))
    writer._join()
    with pytest.raises(OSError, match="step 1"):
        writer.check()
    writer.check()
    writer.put(contents(2, torch.ones(1)))
    with pytest.raises(OSError, match="step 2"):
        writer.put(contents(3, torch.ones(1)))


def test_a_failure_is_said_at_the_end():
    with pytest.raises(OSError, match="step 9"), CheckpointWriter(failing) as writer:
        writer.put(contents(9, torch.ones(1)))


def test_what_ended_the_training_is_said_first():
    def train():
        with CheckpointWriter(failing) as writer:
            writer.put(contents(9, torch.ones(1)))
            raise ValueError("nan")

    with pytest.raises(ValueError, match="nan"):
        train()


def test_the_bytes_are_those_of_a_commit_in_the_step(tmp_path):
    from reelvec.storage.commits.artifact import Artifact
    from reelvec.storage.roots import open_root

    plain, beside = (
        Artifact.open(open_root(tmp_path), kind="checkpoint", identity={"n": n}) for n in (0, 1)
    )
    how = {"config": model_config(), "seconds": 1.0, "keep_last": 1}
    with CheckpointWriter(lambda found: loop.commit_contents(beside, found, **how)) as writer:
        for step in (4, 5):  # the second into the memory of the first
            moved = state(step)
            commit(plain, moved, **how)
            writer.put(contents_of(moved))
    assert checkpoints(beside.latest())[0].progress.step == 5
    assert beside.latest().checksum == plain.latest().checksum


def test_a_run_stops_at_the_step_after_a_checkpoint_that_failed(small, monkeypatch):
    often = {"batch_size": 2, "checkpoint_every": 1}
    config = small.model_copy(update={"train": small.train.model_copy(update=often)})
    trainer = trainer_of(config, "clip4clip", {"sim_header": "meanP"})
    commit_now, backward = loop.commit_contents, loop.contrastive_backward

    def full(artifact, contents, **how):
        return (failing if contents.progress.step == 2 else partial(commit_now, artifact, **how))(
            contents=contents
        )

    def step(*given, step, **more):
        assert step < 3, "the third step is the last"
        if step == 2:
            trainer.writer._join()
        return backward(*given, step=step, **more)

    monkeypatch.setattr(loop, "commit_contents", full)
    monkeypatch.setattr(loop, "contrastive_backward", step)
    with pytest.raises(OSError, match="step 2"):
        trainer.run()
    assert [ref.progress.step for ref in checkpoints(trainer.artifact.latest())] == [1]
