"""CLIP2Video: the family contract, naive twins of TDB and TAB, the legacy masks, key lists."""

import pytest
import torch

from reelvec.models.clip.architecture import architecture
from reelvec.models.conversion.recognition import recognise
from reelvec.models.errors import OptionsError
from reelvec.models.registry import build
from tests.models.clip.test_clip_towers import naive_block
from tests.models.contracts_family import FamilyContract, captions, clips, inputs_of, make

PLAIN = {"temporal_type": "", "temporal_proj": "", "center_type": "", "center_proj": ""}
VARIANTS = {
    "meanP": PLAIN | {"sim_type": "meanP"},
    "meanP_TAB": PLAIN | {"sim_type": "meanP", "center_type": "TAB"},
    "seqTransf": PLAIN,
    "sub": PLAIN | {"temporal_type": "TDB"},
    "mlp": PLAIN | {"temporal_type": "TDB", "temporal_proj": "sigmoid_mlp"},
    "selfA": PLAIN | {"temporal_type": "TDB", "temporal_proj": "sigmoid_selfA"},
    "seqTransf_TAB": PLAIN | {"center_type": "TAB", "center_proj": "TAB", "center_weight": 0.3},
    "TAB_TDB": {"centerK": 3},
}
LAYERS = {"cross_num_hidden_layers": 1}


@pytest.fixture(params=VARIANTS.values(), ids=list(VARIANTS))
def options(request):
    return request.param | LAYERS


class TestClip2Video(FamilyContract):
    family = "clip2video"


def block(stack, x):
    for part in stack.resblocks:
        x = naive_block(part, x[None], eps=1e-12)[0]
    return x


def naive_tokens(model, v):
    """Frames of one video and the differences between them (specs/clip4clip-clip2video.md 2.1)."""
    positions = model.frame_position_embeddings.weight
    of_difference, of_frame = model.type_position_embeddings.weight
    count = len(v)
    d = torch.stack([v[i + 1] - v[i] for i in range(count - 1)])
    if model.options.temporal_proj == "sigmoid_mlp":
        d = 2 * torch.sigmoid(model.trans_layernorm(d @ model.frame2t_projection)) - 1
    if model.options.temporal_proj == "sigmoid_selfA":
        d = block(model.frame2t_attention, d + positions[1:count])
        d = 2 * torch.sigmoid(model.trans_layernorm(d)) - 1
    tokens = []
    for i in range(count):
        tokens.append(v[i] + positions[i] + of_frame)
        if i + 1 < count:
            tokens.append(d[i] + positions[i] + of_difference)
    return torch.stack(tokens)


def naive_aligned(model, tokens):
    shares = torch.softmax(tokens @ model.weight_center.T, dim=1)
    around = []
    for k in range(len(model.emb_center)):
        c = sum(a[k] * (x - model.emb_center[k]) for a, x in zip(shares, tokens, strict=True))
        around.append(c / c.norm())
    mean = sum(around) / len(around)
    return mean / mean.norm()


@pytest.mark.parametrize("kind", ["sub", "mlp", "selfA", "TAB_TDB"])
@torch.no_grad()
def test_whole_videos_equal_the_specification(kind):
    """Without padding: every token of the text against ours."""
    model = make("clip2video", VARIANTS[kind] | LAYERS)
    pixels, mask = clips(3)
    given = inputs_of(model, pixels, torch.ones_like(mask))
    frames, video = model.encode_frames(given["frames"]), model.encode_video(**given)
    for i, v in enumerate(frames):
        after = block(model.transformerClip, naive_tokens(model, v))[0::2] + v
        mean = (after / after.norm(dim=1, keepdim=True)).mean(0)
        torch.testing.assert_close(video["embedding"][i], mean / mean.norm(), rtol=0, atol=1e-9)
        if kind == "TAB_TDB":
            u = v[0::2]
            more = block(model.actionClip, naive_tokens(model, u))[0::2] + u
            wanted = naive_aligned(model, torch.cat([v, more]))
            torch.testing.assert_close(video["aligned"][i], wanted, rtol=0, atol=1e-9)


@torch.no_grad()
def test_words_are_aligned_without_start_and_padding():
    model = make("clip2video", VARIANTS["TAB_TDB"] | LAYERS)
    tokens = captions(4)
    _, words = model.encode_words(tokens)
    text = model.encode_text(tokens)
    for i in range(4):
        real = words[i, 1 : int(tokens[i].argmax()) + 1]
        torch.testing.assert_close(
            text["aligned"][i], naive_aligned(model, real), rtol=0, atol=1e-9
        )


@torch.no_grad()
def test_an_end_token_inside_a_caption_ends_the_sentence_but_not_the_aligned_words():
    model = make("clip2video", VARIANTS["TAB_TDB"] | LAYERS)
    tokens = torch.tensor([[94, 7, 95, 8, 0, 95, 0, 0, 0]])  # what follows is real: 2.3, 5.1
    sentence, words = model.encode_words(tokens)
    assert torch.equal(sentence[0], words[0, 2])
    found = model.encode_text(tokens)["aligned"][0]
    torch.testing.assert_close(found, naive_aligned(model, words[0, 1:6]), rtol=0, atol=1e-9)


@torch.no_grad()
def test_score_is_the_weighted_sum_of_both():
    model = make("clip2video", {"center_weight": 0.3} | LAYERS)
    text = model.encode_text(captions(5))
    video = model.encode_video(**inputs_of(model, *clips(4)))
    (one, whole), (two, aligned) = model.score_terms(text, video)
    assert (one, two) == (0.3, 0.7)
    scale = model.logit_scale.exp()
    torch.testing.assert_close(whole, scale * text["embedding"] @ video["embedding"].T)
    torch.testing.assert_close(aligned, scale * text["aligned"] @ video["aligned"].T)
    assert model.is_dot_product and model.text_vectors(text).shape == (5, 64)


@torch.no_grad()
def test_legacy_masks_depend_on_the_batch_and_fixed_ones_do_not():
    legacy = make("clip2video", LAYERS | {"mask_layout": "legacy"})
    fixed = make("clip2video", LAYERS)
    fixed.load_state_dict(legacy.state_dict())
    given = inputs_of(legacy, *clips(5))
    whole, alone = (
        legacy.encode_video(**given),
        legacy.encode_video(**{k: x[:1] for k, x in given.items()}),
    )
    assert (whole["embedding"][0] - alone["embedding"][0]).abs().max() > 1e-3
    # alone, the released layout is the right one
    again = fixed.encode_video(**given)["embedding"][0]
    torch.testing.assert_close(alone["embedding"][0], again, rtol=0, atol=1e-9)
    equal = given | {"mask": torch.ones_like(given["mask"])}
    torch.testing.assert_close(
        legacy.encode_video(**equal)["embedding"], fixed.encode_video(**equal)["embedding"]
    )


@torch.no_grad()
def test_padded_frames_are_made_equal_for_the_mlp():
    """A 1e-6 between padded frames must not reach the score (specs/clip4clip-clip2video.md 2.7)."""
    model = make("clip2video", VARIANTS["mlp"] | LAYERS | {"mask_layout": "legacy"})
    given = inputs_of(model, *clips(4))
    noisy = given["frames"].clone()
    noisy[0, 3] += 1e-6
    one, two = (model.encode_video(x, given["mask"]) for x in (given["frames"], noisy))
    torch.testing.assert_close(one["embedding"], two["embedding"], rtol=0, atol=1e-4)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (PLAIN | {"center_type": "TAB", "center_proj": "TAB_TDB"}, "TAB_TDB needs temporal_type"),
        (PLAIN | {"sim_type": "meanP", "temporal_type": "TDB"}, "TDB needs sim_type"),
        ({**VARIANTS["meanP_TAB"], "center_proj": "TAB"}, "needs sim_type seqTransf"),
        ({"centreK": 5}, "centerK"),
    ],
)
def test_options_that_exclude_each_other(options, message):
    with pytest.raises(OptionsError, match=message):
        make("clip2video", options)


def test_one_frame_has_no_difference():
    with pytest.raises(OptionsError, match="at least 2 frames"):
        make("clip2video", frames=1)


@pytest.mark.parametrize(
    ("name", "keys"),
    [
        ("meanP", 304),
        ("seqTransf", 353),
        ("sub", 354),
        ("mlp", 355),
        ("selfA", 366),
        ("TAB_TDB", 380),
    ],
)
def test_keys_of_a_vit_b_32(name, keys):
    with torch.device("meta"):
        model = build(
            "clip2video",
            options=VARIANTS[name],
            architecture=architecture("ViT-B/32"),
            max_words=32,
            max_frames=12,
        )
    state = model.state_dict()
    assert len(state) == keys
    if name == "TAB_TDB":
        assert state["emb_center"].shape == (3, 512)
        assert state["type_position_embeddings.weight"].shape == (2, 512)


def test_a_checkpoint_tells_its_settings():
    model = make("clip2video", VARIANTS["TAB_TDB"] | {"cross_num_hidden_layers": 2})
    ((family, settings),) = recognise(model.state_dict())
    assert family == "clip2video"
    wanted = {**VARIANTS["TAB_TDB"], "sim_type": "seqTransf", "temporal_proj": "sigmoid_selfA"}
    assert wanted.items() <= settings.options.items()
    assert settings.options["center_proj"] == "TAB_TDB"
    assert settings.options["cross_num_hidden_layers"] == 2
