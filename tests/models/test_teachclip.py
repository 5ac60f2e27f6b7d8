"""TeachCLIP's student: the family contract, a naive twin, the released mask, its checkpoints."""

from collections import Counter

import pytest
import torch

from reelvec.models.conversion.weights import export_checkpoint, load_checkpoint, start
from reelvec.models.errors import InputError, OptionsError
from reelvec.models.registry import build, family_class
from reelvec.models.training.optim import OptimizerOptions, build_optimizer, rates
from tests.models.contracts_family import SIZES, FamilyContract, captions, clips, inputs_of, make

TWO = {"cross_num_hidden_layers": 2}
VARIANTS = [{"sim_header": "seqTransf"} | TWO, {"sim_header": "meanP"}, {"sim_header": "seqLSTM"}]


@pytest.fixture(params=VARIANTS, ids=lambda o: o["sim_header"])
def options(request):
    return request.param


class TestTeachClip(FamilyContract):
    family = "teachclip"


@torch.no_grad()
def test_a_video_is_its_weighed_real_frames():
    model = make("teachclip", TWO)
    pixels, mask = clips(5)
    given = inputs_of(model, pixels, mask)
    video = model.encode_video(**given)
    after = model.temporal(model.encode_frames(given["frames"]), mask)
    for v in range(5):
        real = [f for f, m in zip(after[v], mask[v], strict=True) if m]
        logits = torch.cat([model.frameLinear2(model.frameLinear(f).relu()) for f in real])
        total = sum(
            w * f / f.norm() for w, f in zip(torch.softmax(logits / 0.1, 0), real, strict=True)
        )
        torch.testing.assert_close(video["embedding"][v], total / total.norm(), rtol=0, atol=1e-12)
        plain = torch.zeros(4).double()
        plain[: len(real)] = torch.softmax(logits, 0)
        torch.testing.assert_close(video["frame_weights"][v], plain, rtol=0, atol=1e-12)


@torch.no_grad()
def test_released_weights_take_padding_for_frames():
    fixed, legacy = (make("teachclip", TWO | {"weight_mask": m}) for m in ("fixed", "legacy"))
    pixels, mask = clips(4)
    ours, theirs = (m.encode_video(**inputs_of(m, pixels, mask)) for m in (fixed, legacy))
    assert bool((theirs["frame_weights"] > 0.01).all())
    assert torch.equal(ours["frame_weights"] > 0, mask == 1)
    torch.testing.assert_close(theirs["embedding"][3], ours["embedding"][3])  # no padding there
    assert (theirs["embedding"][0] - ours["embedding"][0]).abs().max() > 1e-3


def test_its_weights_are_told_from_clip4clips_and_back():
    model = make("teachclip", TWO)
    state = export_checkpoint(model, half=False)
    settings = family_class("teachclip").recognise(state)
    assert settings.options == {
        "sim_header": "seqTransf",
        "linear_patch": "2d",
        "cross_num_hidden_layers": 2,
        "weight_mask": "legacy",
    }
    for family in ("clip4clip", "xclip", "clip2video", "adaclip"):
        assert family_class(family).recognise(state) is None
    assert family_class("teachclip").recognise(make("clip4clip").state_dict()) is None
    again = make("teachclip", TWO, seed=5)
    load_checkpoint(again, state)
    with torch.no_grad():
        assert torch.equal(
            again.encode_text(captions(3))["embedding"], model.encode_text(captions(3))["embedding"]
        )


def test_it_starts_from_clip_as_clip4clip_and_its_weighing_at_random():
    archive = {k.removeprefix("clip."): v for k, v in make("frozen").state_dict().items()}
    model = make("teachclip", TWO)
    weighing = model.frameLinear.weight.clone()
    start(model, archive)
    assert torch.equal(
        model.frame_position_embeddings.weight, model.clip.state_dict()["positional_embedding"]
    )
    assert torch.equal(model.frameLinear.weight, weighing)


def test_its_weighing_starts_as_the_headers_do():
    torch.manual_seed(0)
    model = build("teachclip", options={}, architecture=SIZES, max_words=9, max_frames=4)
    for layer in (model.frameLinear, model.frameLinear2):
        assert not layer.bias.any()
        assert 0.012 < layer.weight.std() < 0.028, "N(0, 0.02)"


def test_frame_weights_learn_ten_times_as_fast():
    model = make("teachclip", TWO)
    how = OptimizerOptions(learning_rate=1e-3, clip_rate_factor=0.1, schedule="constant", warmup=0)
    optimizer = build_optimizer(model, options=how)
    found = rates(optimizer)
    assert found == pytest.approx({"clip": 1e-4, "other": 1e-3, "frameLinear.": 1e-2})
    sizes = Counter({g["part"]: 0 for g in optimizer.param_groups})
    for group in optimizer.param_groups:
        sizes[group["part"]] += len(group["params"])
    assert len(optimizer.param_groups) == 6 and sizes["frameLinear."] == 4
    assert sum(sizes.values()) == len(list(model.parameters()))
    assert len(build_optimizer(make("clip4clip"), options=how).param_groups) == 4


def test_what_it_cannot_be_is_refused():
    with pytest.raises(OptionsError, match="gives a video no vector"):
        make("teachclip", {"sim_header": "tightTransf"})
    with pytest.raises(OptionsError, match="released seqTransf"):
        make("teachclip", {"sim_header": "meanP", "weight_mask": "legacy"})
    model = make("teachclip", TWO)
    pixels, mask = clips(2, frames=3)
    with pytest.raises(InputError, match="3 frames a video"):
        model.encode_video(**inputs_of(model, pixels, mask))
