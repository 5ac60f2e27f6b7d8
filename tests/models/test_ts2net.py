"""TS2-Net: the family contract, its masks and scores beside twins, its checkpoints."""

import pytest
import torch

from reelvec.models.conversion.recognition import recognise
from reelvec.models.conversion.weights import export_clip, load_checkpoint, start
from reelvec.models.errors import InputError, OptionsError
from reelvec.models.noise import StepNoise
from reelvec.models.temporal import unit
from tests.models.contracts_family import FamilyContract, captions, clips, inputs_of, make

SHIFT = {"shift_layers": [0, 1], "n_div": 2, "cross_num_hidden_layers": 1, "num_samples": 20}
VARIANTS = [
    SHIFT,
    SHIFT | {"mask_layout": "legacy", "topk": 2},
    SHIFT | {"linear_patch": "3d"},
    SHIFT | {"sim_header": "seqLSTM"},
]


@pytest.fixture(params=VARIANTS, ids=["fixed", "legacy", "3d", "seqLSTM"])
def options(request):
    return request.param


class TestTs2Net(FamilyContract):
    family = "ts2net"


@torch.no_grad()
@pytest.mark.parametrize("layout", ["fixed", "legacy"])
def test_a_video_is_scored_as_the_specification_says(layout):
    model = make("ts2net", SHIFT | {"mask_layout": layout})
    pixels, mask = clips(4)
    given = inputs_of(model, pixels, mask)
    text, video = model.encode_text(captions(3)), model.encode_video(**given)
    kept = model.selected(model.video_backbone(**given)["tokens"]).flatten(1, 2)
    found = model.similarity(text, video) / model.logit_scale.exp()
    for v in range(4):
        own = [int(mask[v, i % 4 if layout == "legacy" else i // 4]) for i in range(16)]
        real = [i for i in range(16) if own[i]]
        x = (kept[v] + model.frame_position_embeddings.weight[:16])[real][None]
        after = kept[v][real] + model.transformerClip(x)[0]
        frames = [unit(after[real.index(i)]) for i in range(0, 16, 4) if own[i]]
        for t in range(3):
            s = torch.stack(frames) @ text["sentence"][t]
            wanted = torch.softmax(4 * s / s.norm(), 0) @ s
            torch.testing.assert_close(found[t, v], wanted, rtol=0, atol=1e-10)
        assert video["mask"][v].tolist() == own[::4]


def test_frames_see_each_other_through_the_shift_alone():
    for shift in (True, False):
        model = make("ts2net", SHIFT | ({} if shift else {"shift_layers": []}))
        pixels, _ = clips(1)
        mask = torch.ones(1, 4, dtype=torch.int64)
        other = pixels.clone()
        other[:, 3] = 255 - other[:, 3]
        a, b = (
            model.video_backbone(**inputs_of(model, x, mask))["tokens"] for x in (pixels, other)
        )
        moved = (a - b).abs().amax(dim=(0, 2, 3)) > 1e-9
        assert moved.tolist() == [False, shift, shift, True]


def test_evaluation_draws_the_same_noise_always_and_training_its_rows():
    model = make("ts2net", SHIFT)
    given = inputs_of(model, *clips(3))
    assert torch.equal(model.encode_video(**given)["frames"], model.encode_video(**given)["frames"])
    hard = make("ts2net", SHIFT | {"selection": "hard"})
    assert not torch.equal(
        hard.encode_video(**given)["frames"], model.encode_video(**given)["frames"]
    )
    noise = StepNoise(1, 2).of_rows(torch.arange(3))
    drawn = model.video_noise(noise)
    assert drawn["selection_noise"].shape == (3, 4, 20, 4)
    trained = model.encode_video(**given, **drawn)
    assert not torch.equal(trained["frames"], model.encode_video(**given)["frames"])
    one = model.encode_video(
        **{k: x[1:2] for k, x in given.items()}, **model.video_noise(noise[1:2])
    )
    torch.testing.assert_close(one["frames"][0], trained["frames"][1], rtol=0, atol=1e-12)


def test_its_checkpoint_tells_it_and_leaves_as_an_archive():
    model = make("ts2net", SHIFT)
    state = dict(model.state_dict())
    assert "clip.visual.transformer.resblocks.1.attn.net.out_proj.bias" in state
    released = state | {
        "text_token_selector.score_predictor.in_conv.0.weight": torch.ones(32),
        "visual_prompt_encoder.layer_norm.bias": torch.ones(32),
    }
    ((family, settings),) = recognise(released)
    assert family == "ts2net"
    assert settings.options["shift_layers"] == [0, 1]
    assert settings.options["mask_layout"] == "legacy"
    again = make("ts2net", SHIFT, seed=5)
    load_checkpoint(again, released)
    assert all(torch.equal(x, again.state_dict()[k]) for k, x in state.items())
    archive = export_clip(model)
    assert set(archive) == set(export_clip(make("clip4clip")))
    fresh = make("ts2net", SHIFT, seed=6)
    start(fresh, archive)
    key = "clip.visual.transformer.resblocks.0.attn.net.in_proj_weight"
    assert torch.equal(fresh.state_dict()[key], state[key].half().double())


def test_what_it_cannot_be_is_refused():
    with pytest.raises(OptionsError, match="positions for 77 tokens; set at most 19"):
        make("ts2net", SHIFT, frames=20)
    with pytest.raises(OptionsError, match="no patch reaches a frame"):
        make("ts2net", SHIFT | {"sim_header": "meanP"})
    with pytest.raises(OptionsError, match="released seqTransf"):
        make("ts2net", SHIFT | {"sim_header": "seqLSTM", "mask_layout": "legacy"})
    with pytest.raises(OptionsError, match="n_div 7 asks for"):
        make("ts2net", SHIFT | {"n_div": 7})
    with pytest.raises(OptionsError, match="topk 5: a frame has 4"):
        make("ts2net", SHIFT | {"topk": 5})
    model = make("ts2net", SHIFT)
    with pytest.raises(InputError, match="3 frames a video"):
        model.encode_video(**inputs_of(model, *clips(2, frames=3)))
