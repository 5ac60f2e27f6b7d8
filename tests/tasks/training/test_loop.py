"""The loop in one process: what a family is told, and on which families it stands."""

from dataclasses import replace

import pytest
import torch

from reelvec.configs.schema import TrainConfig
from reelvec.configs.training import LoraConfig
from reelvec.models.adaclip.model import AdaClip
from reelvec.models.family import RetrievalModel
from reelvec.models.training.schedules import multiplier
from reelvec.storage.commits.artifact import Artifact
from reelvec.storage.frames.reader import FrameReader
from reelvec.storage.roots import open_root
from reelvec.tasks.artifacts import Session, SnapshotRef
from reelvec.tasks.training import step
from reelvec.tasks.training.checkpoints import TrainingState, commit, model_from
from reelvec.tasks.training.committed import checkpoints
from reelvec.tasks.training.errors import TrainingError
from reelvec.tasks.training.finding import find_trained, training_items
from reelvec.tasks.training.identity import Start, checkpoint_identity, former_identity
from reelvec.tasks.training.loop import Trainer, scheduled_steps
from reelvec.tasks.training.order import Order
from reelvec.tasks.training.processes import Group
from reelvec.tasks.training.progress import Progress
from reelvec.tasks.training.spec import TrainSpec
from reelvec.tasks.training.starting import starting_model
from reelvec.tasks.training.train import train
from tests.tasks.training.builders import FRAMES, MAX_WORDS


def trainer_of(config, family, options):
    """A trainer in this process, whose checkpoints go to an artifact of its own."""
    model = {"family": family, "options": options, "weights": None}
    config = config.model_copy(update={"model": config.model.model_copy(update=model)})
    artifact = Artifact.open(
        open_root(config.store), kind="checkpoint", identity={"kind": "checkpoint", "of": family}
    )
    frames = Session(config).frames.latest()
    spec = TrainSpec(
        checkpoint=SnapshotRef.of(artifact),
        frames=SnapshotRef.to(frames),
        model=config.model,
        train=config.train,
    )
    return Trainer(
        spec,
        artifact=artifact,
        items=training_items(Session(config)),
        reader=FrameReader(frames),
        group=Group(),
    )


def test_a_family_is_told_each_epoch(small, monkeypatch):
    """AdaCLIP's temperature and number of kept frames follow the epoch."""
    told, frames_kept = [], []
    original = AdaClip.start_epoch

    def start_epoch(self, epoch):
        original(self, epoch)
        told.append(epoch)
        frames_kept.append((self.training_k, self.temperature))

    monkeypatch.setattr(AdaClip, "start_epoch", start_epoch)
    options = {"policy": "raw", "rnn": "none", "mlp_type": "fc", "rescale_size": 4}
    options |= {"top_k": 1, "warmup_epochs": 2}
    trainer = trainer_of(small, "adaclip", options)
    del told[:], frames_kept[:]  # building tells it too
    trainer.run()
    assert told == [0, 1, 2]
    kept, temperatures = zip(*frames_kept, strict=True)
    assert FRAMES > kept[0] > kept[-1] == 1
    assert temperatures[0] > temperatures[1] > temperatures[2]


def test_the_contract_has_the_hook():
    assert RetrievalModel.start_epoch(None, 3) is None


def test_what_only_embeds_is_not_trained(small):
    model = {"family": "frozen", "options": {}, "weights": None, "max_words": MAX_WORDS}
    config = small.model_copy(update={"model": small.model.model_copy(update=model)})
    with pytest.raises(TrainingError, match=r"\(frozen\) is not trained.*clip4clip, clip2video"):
        train(Session(config))


def test_a_checkpoint_with_noise_by_part_goes_on_and_says_so(small, capsys):
    """Checkpoints of before have no word about their noise."""
    options = {"policy": "raw", "rnn": "none", "mlp_type": "fc", "rescale_size": 4, "top_k": 1}
    trainer = trainer_of(small, "adaclip", options)
    trainer.run()
    ref = checkpoints(trainer.artifact.latest())[0]
    assert ref.part.receipt.extra["noise"] == "by row"
    for noise_by_row, said in ((True, 0), (False, 1)):
        again = trainer_of(small, "adaclip", options)
        again.resume(replace(ref, noise_by_row=noise_by_row))
        assert again.state.progress.step == ref.progress.step
        assert capsys.readouterr().out.count("with noise drawn by part") == said


def test_a_model_without_noise_says_nothing_of_it(small, capsys):
    trainer = trainer_of(small, "clip4clip", {"sim_header": "meanP"})
    trainer.run()
    ref = checkpoints(trainer.artifact.latest())[0]
    assert set(ref.part.receipt.extra) == {"progress", "weights_hash", "seconds"}
    trainer.resume(ref)
    assert "noise" not in capsys.readouterr().out


def test_a_training_of_before_stays_the_runs(small):
    """It was found under an identity that named the cuts of its batches."""
    options = {"sim_header": "tightTransf", "cross_num_hidden_layers": 1}
    model = small.model.model_copy(update={"options": options, "weights": None})
    trains = small.train.model_copy(update={"processes": 2})
    config = small.model_copy(update={"model": model, "train": trains})
    session = Session(config)
    sources = {"corpus": session.corpus.fingerprint, "frames": session.frames.fingerprint}
    identity = checkpoint_identity(config, start=Start(), training_set="", **sources)
    former = session.open("checkpoint", former_identity(identity, config))
    assert find_trained(Session(config)) is None  # a folder is no training
    state = TrainingState(
        starting_model(model, seed=1), None, Progress(step=2, steps_per_epoch=2, total_steps=2)
    )
    commit(former, state, config=model, seconds=0.0, keep_last=1)
    assert find_trained(Session(config)).ref.fingerprint == former.fingerprint
    one = config.model_copy(update={"train": trains.model_copy(update={"processes": 1})})
    assert find_trained(Session(one)) is None


def test_adaclips_schedule_ends_with_all_pairs():
    """Its log of MSR-VTT: rate 1.4215e-5 at step 20, so 1407 steps, of which 1380 are taken."""
    order = Order([[row] for row in range(9000)], batch_size=192, seed=0)
    options = TrainConfig(epochs=30, batch_size=192, schedule_over="pairs")
    total = scheduled_steps(order, options)
    assert total == 1407
    rate = options.learning_rate * multiplier(
        options.schedule, step=20, total_steps=total, warmup=options.warmup
    )
    assert f"{rate:.4e}" == "1.4215e-05"
    assert scheduled_steps(order, TrainConfig(epochs=30, batch_size=192)) == 1380


def test_the_optimizer_is_as_asked_for(small, monkeypatch):
    limits = []
    monkeypatch.setattr(step, "clip_grad_norm_", lambda _, limit: limits.append(limit) or 1.0)
    options = {"betas": (0.8, 0.9), "epsilon": 1e-3, "schedule_over": "pairs", "batch_size": 5}
    for limit in (0.5, None):
        given = small.train.model_copy(update={**options, "max_grad_norm": limit, "epochs": 1})
        config = small.model_copy(update={"train": given})
        trainer = trainer_of(config, "clip4clip", {"sim_header": "meanP"})
        group = trainer.state.optimizer.param_groups[0]
        assert (group["b1"], group["b2"], group["e"], group["t_total"]) == (0.8, 0.9, 1e-3, 2)
        assert group["max_grad_norm"] == (limit or -1)
        assert trainer.state.progress.total_steps == 1  # of six pairs
        trainer.run()
    assert limits == [0.5]


def test_adapters_are_in_plain_weights_and_go_on_from_where_they_stood(small):
    """A checkpoint is the adapted model's for whoever reads it; resumed, not a bit differs."""
    lora = LoraConfig(rank=2, targets=("q", "c_proj"))
    given = {"lora": lora, "checkpoint_every": 1, "keep_last": 9, "activation_checkpointing": True}
    config = small.model_copy(update={"train": small.train.model_copy(update=given)})
    options = {"sim_header": "seqTransf", "cross_num_hidden_layers": 1}
    whole = trainer_of(config, "clip4clip", options)
    start = {name: x.clone() for name, x in whole.state.model.state_dict().items()}
    whole.run()
    refs = checkpoints(whole.artifact.latest())
    again = trainer_of(config, "clip4clip", options)
    again.resume(refs[1])
    assert 0 < again.state.progress.step < again.state.progress.total_steps
    again.run()
    ended = whole.state.model.state_dict()
    for name, x in again.state.model.state_dict().items():
        assert torch.equal(x, ended[name]), name
    assert checkpoints(whole.artifact.latest())[-1].weights_hash == refs[-1].weights_hash
    moved = {name for name, x in start.items() if not torch.equal(x, ended[name])}
    assert {name for name in moved if name.startswith("clip.")} <= {"clip.logit_scale"}
    assert any(name.startswith("transformerClip.") for name in moved)
    assert any(name.startswith("lora.visual.0.c_proj.up") for name in moved)

    plain = model_from(refs[-1].path, whole.spec.model)
    assert not any(name.startswith("lora.") for name in plain.state_dict())
    key = "clip.visual.transformer.resblocks.0.attn.in_proj_weight"
    assert not torch.equal(plain.get_parameter(key), start[key])
    tokens = whole.tokens[:4]
    with torch.no_grad():
        expected = whole.state.model.eval().encode_text(tokens)["embedding"]
        assert (plain.encode_text(tokens)["embedding"] - expected).abs().max() < 1e-5
