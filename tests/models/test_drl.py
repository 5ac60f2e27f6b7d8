"""DRL: the family contract, naive twins of its interactions, decorrelation, its checkpoints."""

import pytest
import torch

from reelvec.models.conversion.recognition import recognise
from reelvec.models.conversion.weights import load_checkpoint
from reelvec.models.drl import decorrelation
from reelvec.models.errors import InputError, OptionsError
from reelvec.models.noise import StepNoise
from reelvec.models.registry import family_class
from reelvec.models.temporal import unit
from tests.models.contracts_family import FamilyContract, captions, clips, inputs_of, make

MEAN = {"sim_header": "meanP"}
VARIANTS = [
    {"interaction": "dp", "cross_num_hidden_layers": 1},
    MEAN | {"interaction": "ti"},
    MEAN | {"interaction": "wti", "wti_arch": 3},
    {"interaction": "wti", "cross_num_hidden_layers": 1},
    {"interaction": "wti", "pair_mask": "legacy", "cross_num_hidden_layers": 1},
    {"interaction": "xti", "cross_num_hidden_layers": 1},
]


@pytest.fixture(params=VARIANTS, ids=lambda o: "_".join(map(str, o.values())))
def options(request):
    return request.param


class TestDrl(FamilyContract):
    family = "drl"


@torch.no_grad()
@pytest.mark.parametrize("legacy", [False, True], ids=["fixed", "legacy"])
@pytest.mark.parametrize("interaction", ["ti", "wti"])
def test_words_meet_frames_as_the_specification_says(interaction, legacy):
    masks = {"pair_mask": "legacy" if legacy else "fixed"}
    model = make("drl", MEAN | masks | {"interaction": interaction})
    tokens, (pixels, mask) = captions(6), clips(7)
    given = inputs_of(model, pixels, mask)
    _, words = model.encode_words(tokens)
    frames = model.encode_frames(given["frames"])
    found = model.similarity(model.encode_text(tokens), model.encode_video(**given))
    scale = model.logit_scale.exp()
    for t in range(6):
        length = int(tokens[t].argmax()) + 1
        for v in range(7):
            h, x = words[t, :length], frames[v, : int(mask[v].sum())]
            a = b = None
            if interaction == "wti":
                a = torch.softmax(model.text_weight_fc(h)[:, 0], 0)
                b = torch.softmax(model.video_weight_fc(x)[:, 0], 0)
            pairs = unit(h) @ unit(x).T
            by_word, by_frame = pairs.amax(1), pairs.amax(0)
            if legacy and len(x) < 4:
                by_word = by_word.clamp(min=0)
            if legacy and length < 9:
                by_frame = by_frame.clamp(min=0)
            one = by_word.mean() if a is None else a @ by_word
            two = by_frame.mean() if b is None else b @ by_frame
            torch.testing.assert_close(found[t, v], scale * (one + two) / 2, rtol=0, atol=1e-10)


def test_released_masks_move_scores():
    """Of random weights some best match is negative: padding then wins."""
    fixed, legacy = (make("drl", MEAN | {"pair_mask": m}) for m in ("fixed", "legacy"))
    scores = [
        m.similarity(m.encode_text(captions(6)), m.encode_video(**inputs_of(m, *clips(7))))
        for m in (fixed, legacy)
    ]
    assert (scores[0] - scores[1]).abs().max() > 1e-3


def features(options, *, pixels=None):
    model = make("drl", MEAN | {"cdcr_lambda": 1.0} | options)
    shown, mask = clips(5)
    video = model.encode_video(**inputs_of(model, shown if pixels is None else pixels, mask))
    return model, model.encode_text(captions(5)), video


def loss(model, text, video, *, seed=1):
    noise = StepNoise(seed, 0).of_rows(torch.arange(len(text)))
    return model.batch_loss(text, video, noise=noise)


@pytest.mark.parametrize(("interaction", "cdcr"), [("dp", 1), ("ti", 1), ("ti", 2), ("wti", 3)])
def test_decorrelation_is_finite_and_learns(interaction, cdcr):
    model, text, video = features({"interaction": interaction, "cdcr": cdcr})
    found = loss(model, text, video)
    found.backward()
    assert torch.isfinite(found) and found > 0
    grads = [p.grad for p in model.clip.visual.parameters() if p.grad is not None]
    assert grads and all(bool(torch.isfinite(g).all()) for g in grads)
    if interaction == "ti" and cdcr == 1:
        assert loss(model, text, video, seed=2) != found
    assert loss(*features({"interaction": interaction})) is None


def test_decorrelation_of_partners_is_the_naive_one():
    model, text, video = features({"interaction": "wti", "cdcr": 3, "cdcr_alpha2": 0.5})
    mask = clips(5)[1]
    rows = {"word": [], "its": [], "a": [], "frame": [], "best": [], "b": []}
    for i in range(5):
        w = text["words"][i, : int(text["mask"][i].sum())]
        f = video["frames"][i, : int(mask[i].sum())]
        pairs = w @ f.T
        rows["word"] += list(w)
        rows["its"] += [f[j] for j in pairs.argmax(1)]
        rows["a"] += list(text["weights"][i, : len(w)])
        rows["frame"] += list(f)
        rows["best"] += [w[j] for j in pairs.argmax(0)]
        rows["b"] += list(video["weights"][i, : len(f)])
    z = {k: torch.stack(x) for k, x in rows.items()}
    z |= {k: (z[k] - z[k].mean(0)) / z[k].std(0) for k in ("word", "its", "frame", "best")}
    one = sum(a * torch.outer(p, q) for a, p, q in zip(z["a"], z["word"], z["its"], strict=True))
    two = sum(b * torch.outer(p, q) for b, p, q in zip(z["b"], z["frame"], z["best"], strict=True))
    c = (one + two) / 10
    off = c - torch.diag(c.diagonal())
    wanted = (c.diagonal() - 1).square().sum() + 0.5 * off.square().sum()
    torch.testing.assert_close(loss(model, text, video), wanted, rtol=1e-9, atol=1e-9)


def test_a_channel_that_is_the_same_everywhere_is_nan_as_released_and_nothing_here():
    """All frames alike prefer one word; the start token's feature is the same in every text."""
    same = clips(1, frames=4)[0][:, :1].expand(5, 4, -1, -1, -1)
    found = {}
    for guard in ("fixed", "legacy"):
        model, text, video = features(
            {"interaction": "ti", "cdcr": 2, "cdcr_guard": guard}, pixels=same
        )
        loss(model, text, video).backward()
        learnt = model.clip.visual.proj.grad
        found[guard] = bool(torch.isfinite(learnt).all())
    assert found == {"fixed": True, "legacy": False}
    constant = torch.ones(4, 3, dtype=torch.float64)
    assert torch.equal(
        decorrelation.correlation(constant, constant, guard=True, total=4),
        torch.zeros(3, 3, dtype=torch.float64),
    )


@pytest.mark.parametrize("variant", [{"wti_arch": 1}, {"wti_arch": 2}, {"wti_arch": 3} | MEAN])
def test_wti_is_told_from_its_weights(variant):
    model = make("drl", variant | {"cross_num_hidden_layers": 1})
    ((family, settings),) = recognise(model.state_dict())
    assert family == "drl"
    assert settings.options["wti_arch"] == variant["wti_arch"]
    assert settings.options["pair_mask"] == "legacy"
    assert settings.options["sim_header"] == variant.get("sim_header", "seqTransf")
    load_checkpoint(make("drl", settings.options, seed=4), model.state_dict())


def test_xti_behind_a_header_is_told_and_what_looks_like_clip4clip_is_not():
    state = make("drl", {"interaction": "xti", "cross_num_hidden_layers": 2}).state_dict()
    ((family, settings),) = recognise(state)
    assert (family, settings.options["interaction"]) == ("drl", "xti")
    assert settings.options["cross_num_hidden_layers"] == 2
    for options in ({"interaction": "dp"}, {"interaction": "xti"} | MEAN):
        state = make("drl", options | {"cross_num_hidden_layers": 1}).state_dict()
        assert family_class("drl").recognise(state) is None
        assert recognise(state)[0][0] == "clip4clip"


def test_what_it_cannot_be_is_refused():
    with pytest.raises(OptionsError, match="ti has no weights"):
        make("drl", {"interaction": "ti", "cdcr": 3})
    with pytest.raises(OptionsError, match="interaction xti"):
        make("drl", {"sim_header": "tightTransf"})
    for options in ({}, {"interaction": "xti"} | MEAN):
        model = make("drl", options | {"cross_num_hidden_layers": 1})
        with pytest.raises(InputError, match="3 frames a video: the columns"):
            model.encode_video(**inputs_of(model, *clips(2, frames=3)))
