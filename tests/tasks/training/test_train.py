"""The whole stage: artifact, child processes, kills, resumption, receipts."""

import getpass
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import psutil
import pytest
import torch

from reelvec.models.clip4clip import Clip4Clip
from reelvec.storage.errors import MissingArtifactError
from reelvec.storage.records import Caption, Video
from reelvec.storage.weights.checkpoints import load_checkpoint
from reelvec.tasks.artifacts import Session
from reelvec.tasks.training.committed import CHECKPOINTS
from reelvec.tasks.training.errors import TrainingError
from reelvec.tasks.training.finding import find_trained, trained
from reelvec.tasks.training.identity import Start, checkpoint_identity
from reelvec.tasks.training.items import read_items
from reelvec.tasks.training.train import load_trained, train
from tests.tasks.training.builders import (
    commit_corpus,
    commit_frames,
    make_config,
    make_store,
    videos_and_captions,
)

ROOT = str(Path(__file__).parents[3])


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A finished run: folder, config, receipt, events."""
    folder = tmp_path_factory.mktemp("finished")
    config = make_store(folder, header="seqTransf", epochs=4)
    events = []
    return folder, config, train(Session(config), on_progress=events.append), events


def checksum(config):
    return find_trained(Session(config)).snapshot.checksum


def another(finished, tmp_path, **train_options):
    """The same store before any training, with other options."""
    folder, _, _, _ = finished
    for path in folder.glob("*.safetensors"):
        shutil.copy(path, tmp_path)
    options = {"epochs": 4, **train_options}
    config = make_config(tmp_path, header="seqTransf", **options)
    listed, said = videos_and_captions()
    commit_corpus(config, listed, said)
    commit_frames(config, listed)
    return config


def test_receipt_and_events(finished):
    _, config, receipt, events = finished
    assert receipt.epochs == 4
    assert receipt.steps == 12
    assert receipt.steps_done == 12
    assert [point["epoch"] for point in receipt.history] == [1, 2, 3, 4]
    assert {"loss", "lr", "R@1", "MdR"} <= receipt.history[0].keys()
    assert receipt.history[-1]["loss"] < receipt.history[0]["loss"]
    assert receipt.weights_hash == trained(Session(config)).weights_hash
    steps = [e for e in events if e["event"] == "step"]
    assert {"step", "epoch", "loss", "lr", "samples_per_second", "data_wait"} <= steps[0].keys()
    assert [e["step"] for e in events if e["event"] == "checkpoint"] == [2, 3, 4, 6, 8, 9, 10, 12]


def test_a_second_call_finds_it(finished):
    _, config, receipt, _ = finished
    again = train(Session(config), on_progress=lambda e: pytest.fail(str(e)))
    assert again == replace(receipt, steps_done=0)


def test_the_trained_model_loads(finished):
    _, config, receipt, _ = finished
    found = find_trained(Session(config))
    model = load_trained(found.ref, model=config.model)
    assert isinstance(model, Clip4Clip)
    assert found.best_epoch == receipt.best_epoch
    saved = load_checkpoint(found.path).weights
    assert all(torch.equal(saved[k], v) for k, v in model.state_dict().items())


def test_processes_device_and_store_are_no_part_of_the_identity(finished):
    _, config, _, _ = finished

    def identity(**changes):
        changed = config.model_copy(update={"train": config.train.model_copy(update=changes)})
        sources = {"corpus": "c", "frames": "f", "training_set": "t"}
        return checkpoint_identity(changed, start=Start("h"), **sources)

    same = {"processes": 3, "device": "cuda", "threads": 5, "keep_last": 9, "accumulation": 2}
    assert identity(**same) == identity()
    for changes in ({"seed": 1}, {"epochs": 5}, {"batch_size": 4}, {"precision": "bf16"}):
        assert identity(**changes) != identity()
    assert identity(gradient_scaling="legacy", processes=2) != identity(gradient_scaling="legacy")


def test_nothing_is_trained_in_epochs_0(finished, tmp_path):
    config = another(finished, tmp_path, epochs=0)
    receipt = train(Session(config))
    assert (receipt.epochs, receipt.steps, receipt.best_epoch) == (0, 0, 0)
    start = load_checkpoint(trained(Session(config)).path).weights
    given = load_checkpoint_weights(tmp_path)
    assert all(torch.equal(start[name], given[name]) for name in given)
    ref = trained(Session(config)).ref
    assert (train(Session(config)), trained(Session(config)).ref) == (receipt, ref)


def load_checkpoint_weights(folder):
    from reelvec.storage.weights.checkpoints import read_weights

    return read_weights(folder / "start-seqTransf.safetensors")


def test_not_trained_yet_is_said(finished, tmp_path):
    config = another(finished, tmp_path)
    assert find_trained(Session(config)) is None
    with pytest.raises(MissingArtifactError, match="not trained"):
        trained(Session(config))


def test_without_captions_nothing_can_be_trained(tmp_path):
    config = make_store(tmp_path, captions=0)
    with pytest.raises(TrainingError, match="epochs=0"):
        train(Session(config))


def test_a_grown_corpus_keeps_the_model_and_says_so(finished, tmp_path):
    folder, _, _, _ = finished
    config = make_config(folder, header="seqTransf", epochs=4)
    listed, said = videos_and_captions()
    more = Video("new", "/nowhere/new.mp4", "train", content_hash="f" * 32)
    commit_frames(config, [*listed, more])
    commit_corpus(config, [*listed, more], [*said, Caption("new#0", "new", "a new one")])
    try:
        receipt = train(Session(config))
        assert receipt.steps_done == 0
        assert "1 captions are new" in receipt.notes[0]
        growing = make_config(folder, header="seqTransf", epochs=4, when_corpus_grows="retrain")
        assert find_trained(Session(growing)) is None
    finally:
        commit_corpus(config, listed, said)


def test_a_loss_that_is_no_number_stops_with_step_and_videos(finished, tmp_path):
    config = another(finished, tmp_path, learning_rate=1e30, warmup=0.0)
    with pytest.raises(TrainingError, match=r"the loss is (nan|inf) at step \d+.*v\d\d"):
        train(Session(config))
    assert find_trained(Session(config)) is None


def test_the_last_epoch_is_best_without_a_selection_split(finished, tmp_path):
    config = another(finished, tmp_path, epochs=2)
    listed, said = videos_and_captions()
    commit_corpus(config, [replace(v, split="train") for v in listed], said)
    receipt = train(Session(config))
    assert receipt.best_epoch == 2
    assert "it is the last" in receipt.notes[0]


@pytest.mark.parametrize(("warmup", "moves"), [(0.1, False), (0.0, True)])
def test_a_single_step_at_rate_zero_is_said(finished, tmp_path, warmup, moves):
    config = another(finished, tmp_path, epochs=1, batch_size=24, warmup=warmup)
    receipt = train(Session(config))
    assert receipt.steps == 1
    start = load_checkpoint_weights(tmp_path)
    found = load_checkpoint(trained(Session(config)).path).weights
    assert any(not torch.equal(found[name], start[name]) for name in start) is moves
    assert any("one step" in note for note in receipt.notes) is not moves


def left_of_a_training(config):
    """Steps whose files are there, and the steps that are promised: the last and the best."""
    snapshot = find_trained(Session(config)).snapshot
    artifact = snapshot.artifact
    files = [name for name in artifact.root.list(f"{artifact.folder}/parts") if "step-" in name]
    return sorted(files), sorted(
        part.part.removeprefix("parts/") for part in snapshot.parts(CHECKPOINTS)
    )


def test_a_finished_training_leaves_what_is_promised_on_disk(finished):
    _, config, receipt, _ = finished
    there, promised = left_of_a_training(config)
    assert there == promised and 2 <= len(there) <= 3
    assert receipt.steps == 12, "every two steps there was a checkpoint"


def test_two_processes_and_an_interruption_reach_the_same_weights(finished, tmp_path, monkeypatch):
    """Killed as one process, resumed as two: the same batches, the same weights up to rounding."""
    (tmp_path / "temporary").mkdir()
    monkeypatch.setenv("TMPDIR", str(tmp_path / "temporary"))
    monkeypatch.setattr("tempfile.tempdir", None)
    config = another(finished, tmp_path)

    def stop(event):
        if event["event"] == "checkpoint" and event["step"] >= 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(Session(config), on_progress=stop)
    events = []
    two = config.model_copy(update={"train": config.train.model_copy(update={"processes": 2})})
    receipt = train(Session(two), on_progress=events.append)
    start = next(e for e in events if e["event"] == "start")
    assert start["processes"] == 2
    assert 4 <= start["step"] < 12
    assert receipt.steps_done == 12 - start["step"]
    _, one, expected, _ = finished
    for key in ("loss", "R@1"):
        found = [point[key] for point in receipt.history]
        assert found == pytest.approx([point[key] for point in expected.history], rel=1e-4)
    weights = [load_checkpoint(find_trained(Session(c)).last.path).weights for c in (one, two)]
    for name, tensor in weights[0].items():
        assert torch.allclose(weights[1][name], tensor, rtol=1e-3, atol=1e-5), name
    there, promised = left_of_a_training(two)
    assert there == promised
    left = {path.name: path for path in (tmp_path / "temporary").iterdir()}
    left.pop(f"torchinductor_{getpass.getuser()}", None)  # its cache, for the next one
    assert list(left) == [f"reelvec-{os.getuid()}"], "nothing else stays"
    assert all(list(path.iterdir()) == [] for path in left.values())


def test_an_interrupted_run_goes_on_with_its_own_training_set(finished, tmp_path):
    config = another(finished, tmp_path)

    def stop(event):
        if event["event"] == "checkpoint":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(Session(config), on_progress=stop)
    listed, said = videos_and_captions()
    commit_corpus(config, listed, said[1:])
    receipt = train(Session(config))
    assert checksum(config) == checksum(finished[1])
    found = trained(Session(config))
    assert len(read_items(found.last.part.artifact.latest())) == len(said)
    assert receipt.notes == ()  # one caption less is no new one


RUN = """
import sys
from reelvec.configs import PipelineConfig
from reelvec.tasks.artifacts import Session
from reelvec.tasks.training.train import train
config = PipelineConfig.model_validate_json(sys.argv[1])
train(Session(config), on_progress=lambda e: print(e["event"], e.get("step", 0), flush=True))
"""


@pytest.mark.slow
def test_kill_9_at_random_moments_changes_no_byte(finished, tmp_path):
    config = another(finished, tmp_path)
    chance = random.Random(4)
    resumed = []
    for _ in range(4):
        child = start(config)
        for line in child.stdout:
            event, step = line.split()
            if event == "start":
                resumed.append(int(step))
            if event in ("start", "checkpoint") and chance.random() < 0.35:
                time.sleep(chance.random() * 0.15)
                break
        kill_and_check(child, everything=chance.random() < 0.5)
    child = start(config)
    assert child.wait(timeout=120) == 0
    assert len(set(resumed)) > 1, "no kill fell into the training"
    assert checksum(config) == checksum(finished[1])
    expected = finished[2]
    assert trained(Session(config)).weights_hash == expected.weights_hash


def start(config):
    environment = {**os.environ, "PYTHONPATH": ROOT, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", RUN, config.model_dump_json()]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)


def kill_and_check(child, *, everything):
    """SIGKILL the parent, or its whole tree; nothing of it may live on."""
    family = psutil.Process(child.pid).children(recursive=True) if child.poll() is None else []
    for process in family if everything else []:
        try:
            process.send_signal(signal.SIGKILL)
        except psutil.NoSuchProcess:
            continue
    child.kill()
    child.wait()
    child.stdout.close()
    _, alive = psutil.wait_procs(family, timeout=10)
    assert alive == []
