"""Gradients of the step against the plain loss, whatever the parts and the processes."""

import pytest
import torch

from reelvec.configs.schema import ModelConfig
from reelvec.models.training.losses import weighted_symmetric_loss
from reelvec.tasks.training import processes
from reelvec.tasks.training.data import ClipBatch
from reelvec.tasks.training.order import pieces
from reelvec.tasks.training.processes import Group
from reelvec.tasks.training.starting import build_sized
from reelvec.tasks.training.step import PairBatch, StepOptions, contrastive_backward
from tests.support.ranks import run_ranks
from tests.tasks.training.builders import FRAMES, MAX_WORDS, SIZE, SMALL, small_model

HEADERS = ("meanP", "seqLSTM", "seqTransf", "tightTransf")


OTHERS = {
    "clip2video": {"cross_num_hidden_layers": 1, "centerK": 2},
    "xclip": {"sim_header": "seqTransf", "cross_num_hidden_layers": 1},
    "adaclip": {"frame_agg": "transformer", "word_agg": "mlp"},
}


def batch(pairs=7):
    draw = torch.Generator().manual_seed(1)
    tokens = torch.randint(1, 49000, (pairs, MAX_WORDS), generator=draw)
    tokens[:, 9] = 49407
    frames = torch.randint(
        0, 256, (pairs, FRAMES, SIZE, SIZE, 3), generator=draw, dtype=torch.uint8
    )
    mask = (torch.arange(FRAMES) < torch.randint(1, FRAMES + 1, (pairs, 1), generator=draw)).long()
    return PairBatch(tokens, ClipBatch(frames, mask), pairs)


def ready(header):
    if header in OTHERS:
        config = ModelConfig(
            family=header, options=OTHERS[header], max_words=MAX_WORDS, max_frames=FRAMES
        )
        torch.manual_seed(3)
        model = build_sized(config, sizes=SMALL)
    else:
        model = small_model(header)
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0  # the plain loss draws torch's own
    return model.double().train()


def plain(header):
    """The loss as anybody would write it, and its gradients."""
    model, pairs = ready(header), batch()
    text = model.encode_text(pairs.tokens)
    clips = model.prepare(pairs.clips.frames, pairs.clips.mask)
    video = model.encode_video(**(clips | {"frames": clips["frames"].double()}))
    loss = weighted_symmetric_loss(model.score_terms(text, video))
    loss.backward()
    return loss.item(), gradients(model)


def stepped(header, *, group=None, **options):
    group = group or Group()
    model, whole = ready(header), batch()
    mine = pieces(whole.pairs, processes=group.world)[group.rank]
    part = PairBatch(whole.tokens[mine], whole.clips.rows(mine), whole.pairs)
    loss = contrastive_backward(model, part, group=group, step=3, options=StepOptions(**options))
    return loss, gradients(model)


def gradients(model):
    return {name: p.grad for name, p in model.named_parameters() if p.grad is not None}


def assert_same(found, expected):
    assert found[0] == pytest.approx(expected[0], abs=1e-6)
    assert found[1].keys() == expected[1].keys()
    for name, gradient in expected[1].items():
        assert torch.allclose(found[1][name], gradient, rtol=1e-4, atol=1e-7), name


@pytest.mark.parametrize("header", HEADERS)
def test_one_pass_is_the_plain_loss(header):
    assert_same(stepped(header), plain(header))


@pytest.mark.parametrize("header", [*HEADERS, *OTHERS])
def test_parts_keep_all_negatives(header):
    assert_same(stepped(header, parts=3), plain(header))


def test_more_parts_than_rows_are_rows():
    assert_same(stepped("meanP", parts=50), plain("meanP"))


def test_bf16_is_near():
    model, whole = small_model().train(), batch()
    loss = contrastive_backward(model, whole, group=Group(), step=0, options=StepOptions(bf16=True))
    assert loss == pytest.approx(plain("meanP")[0], rel=0.05)
    assert all(p.dtype == torch.float32 for p in model.parameters())


def test_randomness_follows_seed_and_step_alone():
    def once(step, seed):
        torch.manual_seed(99)
        model, whole = small_model("seqLSTM").train(), batch()
        model.encode_text = Noisy(model.encode_text)
        options = StepOptions(seed=seed)
        return contrastive_backward(model, whole, group=Group(), step=step, options=options)

    assert once(1, 0) == once(1, 0)
    assert len({once(1, 0), once(2, 0), once(1, 5)}) == 3


class Noisy:
    """An encoder with noise from torch's default generator, as dropout draws it."""

    def __init__(self, encode):
        self.encode = encode

    def __call__(self, tokens):
        features = self.encode(tokens)
        tensors = {k: t + 0.1 * torch.randn_like(t) for k, t in features.tensors.items()}
        return type(features)(tensors)


def test_noise_is_the_same_in_both_encodings_of_a_part():
    """GradCache's second pass must see the first one's dropout: the loss's gradient is of it."""
    seen = []
    model, whole = small_model().train(), batch()
    noisy = Noisy(model.encode_text)

    def spy(tokens):
        features = noisy(tokens)
        seen.append(features["embedding"].detach().clone())
        return features

    model.encode_text = spy
    contrastive_backward(model, whole, group=Group(), step=0, options=StepOptions(parts=2))
    assert torch.equal(seen[0], seen[2])
    assert torch.equal(seen[1], seen[3])
    assert not torch.equal(seen[0][:3], seen[1][:3])


def rank_steps(group, _):
    """What one of two processes finds for a batch of seven (four and three rows)."""
    processes._BUCKET = 1000  # gradients travel in many
    found = {
        header: stepped(header, group=group, parts=2 if header == "seqTransf" else 1)
        for header in [*HEADERS, *OTHERS]
    }
    found["legacy"] = stepped("seqTransf", group=group, legacy_scaling=True)
    return found


@pytest.fixture(scope="module")
def two_processes(tmp_path_factory):
    folder = tmp_path_factory.mktemp("ranks")
    return run_ranks(__name__, "rank_steps", folder, worlds=(2,))[2]


@pytest.mark.parametrize("header", [*HEADERS, *OTHERS])
@pytest.mark.parametrize("rank", [0, 1])
def test_two_processes_equal_one(two_processes, header, rank):
    expected = plain(header)
    found = two_processes[rank][header]
    assert_same(found, expected)
    for name, gradient in expected[1].items():
        if gradient.norm() > 1e-6:
            ratio = float(found[1][name].norm() / gradient.norm())
            assert f"{ratio:.4f}" == "1.0000", name


def test_legacy_scaling_halves_the_encoders_but_not_the_scale(two_processes):
    """By specs/clip4clip-clip2video.md 3.2: ratio 0.5000, and 1.0000 for logit_scale."""
    expected = plain("seqTransf")[1]
    found = two_processes[0]["legacy"][1]
    for name, gradient in expected.items():
        if gradient.norm() > 1e-6:
            ratio = float(found[name].norm() / gradient.norm())
            assert f"{ratio:.4f}" == ("1.0000" if name.endswith("logit_scale") else "0.5000"), name
