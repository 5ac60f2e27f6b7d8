"""Legacy switches on two processes against the originals' step, a loop of real DDP."""

import pytest
import torch

from reelvec.configs.schema import ModelConfig
from reelvec.models.noise import StepNoise
from reelvec.tasks.training.data import ClipBatch
from reelvec.tasks.training.starting import build_sized
from reelvec.tasks.training.step import PairBatch, StepOptions, contrastive_backward
from tests.support import released_step
from tests.support.ranks import run_ranks
from tests.tasks.training import test_same_weights as small
from tests.tasks.training.builders import FRAMES, MAX_WORDS

ROWS = 3  # of each process
POLICY = small.POLICY | {"policy": "mobilenet_v3_large", "rnn": "none", "freeze_cnn": True}
LEGACY = {"gathered": {"legacy_scaling": True}, "own": {"negatives": "process"}}
CASES = {
    "clip4clip": ("clip4clip", {"sim_header": "seqTransf"}, "gathered_features", "gathered"),
    "xclip": ("xclip", {"sim_header": "meanP"}, "gathered_features", "gathered"),
    "adaclip frame_agg": (
        "adaclip",
        POLICY | {"frame_agg": "mlp", "batch_norm": "legacy"},
        "adaclip",
        "gathered",
    ),
    "adaclip word_agg": ("adaclip", {"word_agg": "mlp"}, "adaclip", "gathered"),
    "tightTransf": ("clip4clip", {"sim_header": "tightTransf"}, "tight_of_a_process", "own"),
}


def built(case):
    family, options, *_ = CASES[case]
    if family != "adaclip":
        options = options | {"cross_num_hidden_layers": 1}
    config = ModelConfig(family=family, options=options, max_words=MAX_WORDS, max_frames=FRAMES)
    torch.manual_seed(3)
    return build_sized(config, sizes=small.TINY).double().train()


def rank_steps(group, _):
    """Gradients and running statistics of one rank: ours, and the twin's."""
    found = {}
    places = torch.arange(ROWS * group.rank, ROWS * (group.rank + 1))
    mine, noise = slice(places[0], places[-1] + 1), StepNoise(11, 0)
    whole = small.batch(0)
    clips = ClipBatch(whole.clips.frames[mine], torch.ones_like(whole.clips.mask)[mine])
    for case, (_, _, logits, switch) in CASES.items():
        ours, twin = built(case), built(case)
        batch = PairBatch(whole.tokens[mine], clips, 2 * ROWS)
        how = StepOptions(seed=11, **LEGACY[switch])
        contrastive_backward(ours, batch, group=group, step=0, options=how)
        given = twin.prepare(clips.frames, clips.mask) | twin.video_noise(noise.of_rows(places))
        given = {k: x.double() if x.is_floating_point() else x for k, x in given.items()}
        gradients = released_step.gradients(
            twin,
            getattr(released_step, logits),
            tokens=batch.tokens,
            given=given,
            noise=noise.of_pairs(places, places),
        )
        found[case] = [
            {name: p.grad for name, p in ours.named_parameters() if p.grad is not None},
            gradients,
            dict(ours.named_buffers()),
            dict(twin.named_buffers()),
        ]
    return found


@pytest.fixture(scope="module")
def two(tmp_path_factory):
    folder = tmp_path_factory.mktemp("ranks")
    return run_ranks(__name__, "rank_steps", folder, worlds=(2,))[2]


@pytest.mark.parametrize("case", CASES)
def test_gradients_are_the_originals(two, case):
    for rank in two:
        ours, twin, _, _ = rank[case]
        assert ours.keys() == twin.keys()
        for name, gradient in twin.items():
            torch.testing.assert_close(ours[name], gradient, rtol=1e-9, atol=1e-12, msg=name)


def test_running_statistics_are_those_of_the_first_process(two):
    """DDP sends the first process's buffers to the others before each forward pass."""
    first = two[0]["adaclip frame_agg"][3]
    assert any("running" in name for name in first)
    for rank in two:
        for name, tensor in rank["adaclip frame_agg"][2].items():
            torch.testing.assert_close(tensor, first[name], rtol=1e-9, atol=1e-12)
    second = two[1]["adaclip frame_agg"][3]
    assert any(not torch.equal(first[name], second[name]) for name in first)
