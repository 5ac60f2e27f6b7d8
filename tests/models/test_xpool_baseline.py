"""X-Pool's baselines: the family contract, a twin in NumPy from the specification, checkpoints."""

import numpy as np
import pytest
import torch

from reelvec.models.conversion.names import our_names
from reelvec.models.conversion.recognition import recognise
from reelvec.models.conversion.weights import export_checkpoint, start
from reelvec.models.errors import InputError, OptionsError
from tests.models.contracts_family import FamilyContract, captions, clips, inputs_of, make

POOLINGS = ("avg", "topk", "attention")
VARIANTS = [
    *({"pooling": pooling, "top_k": 2} for pooling in POOLINGS),
    *({"pooling": pooling, "top_k": 2, "short_videos": "repeat"} for pooling in POOLINGS),
]


@pytest.fixture(params=VARIANTS, ids=lambda o: "_".join(map(str, o.values())))
def options(request):
    return request.param


class TestXPoolBaseline(FamilyContract):
    family = "xpool_baseline"


def unit(x):
    return x / np.sqrt((x * x).sum(-1, keepdims=True))


def pooled_pair(text, frames, *, pooling, top_k, temperature):
    """specs/more-heads.md 2.3, one text and one video's frames [F, D], raw; and its weights."""
    text, frames = unit(text), unit(frames)
    near = frames @ text
    if pooling == "avg":
        weights = np.full(len(frames), 1 / len(frames))
    elif pooling == "topk":
        weights = np.zeros(len(frames))
        weights[np.argsort(-near)[:top_k]] = 1.0
    else:
        weights = np.exp((near - near.max()) / temperature)
        weights /= weights.sum()
    return text @ unit((weights[:, None] * frames).sum(0)), weights


@torch.no_grad()
def test_scores_are_the_specification_s_pair_by_pair(options):
    options = options | {"attention_temperature": 0.05}
    model = make("xpool_baseline", options)
    pixels, mask = clips(5)
    given = inputs_of(model, pixels, mask)
    raw = model.encode_frames(given["frames"]).numpy()
    sentence, _ = model.encode_words(captions(4))
    text, video = model.encode_text(captions(4)), model.encode_video(**given)
    found = model.similarity(text, video) / model.logit_scale.exp()
    shares = model.pair_frame_weights(text, video.index(slice(0, 4)))
    for v in range(5):
        seen = list(range(int(mask[v].sum())))
        if options.get("short_videos") == "repeat":
            seen += seen[-1:] * (4 - len(seen))
        for t in range(4):
            wanted, weights = pooled_pair(
                sentence[t].numpy(),
                raw[v, seen],
                pooling=options["pooling"],
                top_k=2,
                temperature=0.05,
            )
            assert abs(float(found[t, v]) - wanted) < 1e-12
            if t == v and shares is not None and len(set(seen)) == len(seen):
                own = shares[t, : len(seen)].numpy()
                np.testing.assert_allclose(own, weights / weights.sum(), rtol=0, atol=1e-12)
    assert (shares is None) == (options["pooling"] == "avg")


@torch.no_grad()
def test_the_mean_is_clip4clips():
    ours, theirs = make("xpool_baseline"), make("clip4clip")
    theirs.load_state_dict(ours.state_dict())
    given = inputs_of(ours, *clips(5))
    for model in (ours, theirs):
        assert model.is_dot_product
    a, b = (m.similarity(m.encode_text(captions(4)), m.encode_video(**given))
            for m in (ours, theirs))  # fmt: skip
    torch.testing.assert_close(a, b, rtol=0, atol=1e-12)


def test_training_and_evaluation_agree_and_blocks_do_not_matter(options, monkeypatch):
    model = make("xpool_baseline", options)
    text, video = model.encode_text(captions(6)), model.encode_video(**inputs_of(model, *clips(7)))
    trained = model.similarity(text, video)
    assert trained.requires_grad
    monkeypatch.setattr("reelvec.models.xpool.baseline.held", lambda device: 48)
    with torch.no_grad():
        torch.testing.assert_close(model.similarity(text, video), trained, rtol=0, atol=1e-10)


@torch.no_grad()
def test_half_precision_frames_keep_the_score(options):
    model = make("xpool_baseline", options | {"attention_temperature": 0.1}).float()
    text = model.encode_text(captions(6))
    video = model.encode_video(**{k: x.float() for k, x in inputs_of(model, *clips(7)).items()})
    wanted = model.similarity(text, video) / model.logit_scale.exp()
    for half, most in ((torch.float16, 1e-3), (torch.bfloat16, 8e-3)):
        found = model.similarity(text.to(dtype=half), video.to(dtype=half))
        assert (found.float() / model.logit_scale.exp() - wanted).abs().max() < most


@torch.no_grad()
def test_a_video_without_frames_is_nan_and_spoils_no_other(options):
    model = make("xpool_baseline", options)
    pixels, mask = clips(4)
    text = model.encode_text(captions(3))
    wanted = model.similarity(text, model.encode_video(**inputs_of(model, pixels, mask)))
    mask[1] = 0
    found = model.similarity(text, model.encode_video(**inputs_of(model, pixels, mask)))
    assert found[:, 1].isnan().all()
    rest = [0, 2, 3]
    torch.testing.assert_close(found[:, rest], wanted[:, rest], rtol=0, atol=1e-12)


def test_its_checkpoint_is_two_towers_and_comes_back():
    model = make("xpool_baseline", {"pooling": "attention"}).float()
    state = export_checkpoint(model)
    assert "clip.vision_model.pre_layrnorm.weight" in state
    assert all(key.startswith("clip.") and x.dtype == torch.float32 for key, x in state.items())
    ours = our_names(state)
    assert [family for family, _ in recognise(ours)] == ["frozen"], "say the family"
    told = {"family": "xpool_baseline", "options": {"pooling": "topk"}}
    facts = {"model": told | {"max_words": 9, "max_frames": 4}}
    ((family, settings),) = recognise(ours, facts=facts)
    assert (family, settings.options) == ("xpool_baseline", {"pooling": "topk"})
    again = make("xpool_baseline", {"pooling": "attention"}, seed=5).float()
    start(again, ours)
    assert all(torch.equal(x, again.state_dict()[k]) for k, x in model.state_dict().items())


def test_what_it_cannot_be_is_refused():
    with pytest.raises(OptionsError, match="top_k 5 of max_frames 4: set at most 4"):
        make("xpool_baseline", {"pooling": "topk", "top_k": 5})
    with pytest.raises(OptionsError, match=r"xpool_baseline\.attention_temperature"):
        make("xpool_baseline", {"attention_temperature": 0})
    model = make("xpool_baseline", {"pooling": "topk"})
    with pytest.raises(InputError, match="3 frames a video"):
        model.encode_video(**inputs_of(model, *clips(2, frames=3)))
