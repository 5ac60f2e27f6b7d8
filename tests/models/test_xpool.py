"""X-Pool: the family contract, the folded score against pooling, short videos, its checkpoints."""

import pytest
import torch

from reelvec.models.clip.architecture import architecture
from reelvec.models.conversion.names import our_names
from reelvec.models.conversion.recognition import recognise
from reelvec.models.conversion.weights import (
    architecture_of,
    export_checkpoint,
    export_clip,
    load_checkpoint,
)
from reelvec.models.errors import InputError, OptionsError
from reelvec.models.noise import StepNoise
from reelvec.models.registry import build
from tests.models.contracts_family import SIZES, FamilyContract, captions, clips, inputs_of, make

VARIANTS = [{}, {"num_mha_heads": 4}, {"short_videos": "repeat"}]


@pytest.fixture(params=VARIANTS, ids=lambda o: "_".join(map(str, o.values())) or "plain")
def options(request):
    return request.param


class TestXPool(FamilyContract):
    family = "xpool"


def pooled_pair(head, text, frames):
    """specs/more-heads.md 2.3, one raw text and one video's raw frames [F, D], step by step."""
    heads, attn = head.heads, head.cross_attn
    x, asked = head.layer_norm1(frames), attn.q_proj(head.layer_norm1(text))
    key, value = attn.k_proj(x), attn.v_proj(x)
    width = len(text) // heads
    parts = []
    for h in range(heads):
        own = slice(h * width, (h + 1) * width)
        weights = torch.softmax(key[:, own] @ asked[own] / width**0.5, dim=0)
        parts.append(weights @ value[:, own])
    y = head.layer_norm2(attn.out_proj(torch.cat(parts)))
    z = head.layer_norm3(y + head.linear_proj(y))
    return text @ z / (text.norm() * z.norm())


@torch.no_grad()
def test_the_folded_score_is_pooling_pair_by_pair(options):
    model = make("xpool", options)
    pixels, mask = clips(5)
    given = inputs_of(model, pixels, mask)
    raw = model.encode_frames(given["frames"])
    text = model.encode_text(captions(4))
    found = model.similarity(text, model.encode_video(**given)) / model.logit_scale.exp()
    for v in range(5):
        length = int(mask[v].sum())
        seen = list(range(length))
        if options.get("short_videos") == "repeat":
            seen += [length - 1] * (4 - length)
        for t in range(4):
            wanted = pooled_pair(model.pool_frames, text["sentence"][t], raw[v, seen])
            torch.testing.assert_close(found[t, v], wanted, rtol=0, atol=1e-12)


def test_training_and_evaluation_agree_and_dropout_is_the_rows(options):
    model = make("xpool", options)
    text, video = model.encode_text(captions(6)), model.encode_video(**inputs_of(model, *clips(6)))
    trained = model.similarity(text, video)
    assert trained.requires_grad
    with torch.no_grad():
        torch.testing.assert_close(model.similarity(text, video), trained, rtol=0, atol=1e-10)
    noise = StepNoise(3, 0).of_pairs(torch.arange(6), torch.arange(6))
    ((_, dropped),) = model.training_terms(text, video, noise=noise)
    assert (dropped - trained).abs().max() > 1e-3
    some = slice(2, 4), slice(None)
    ((_, rows),) = model.training_terms(text.index(some[0]), video, noise=noise[some])
    torch.testing.assert_close(rows, dropped[2:4], rtol=0, atol=1e-10)


@torch.no_grad()
def test_half_precision_frames_keep_the_score_where_sums_stay_exact():
    model = make("xpool").float()
    text = model.encode_text(captions(6))
    video = model.encode_video(**{k: x.float() for k, x in inputs_of(model, *clips(7)).items()})
    wanted = model.similarity(text, video) / model.logit_scale.exp()
    exact = {name for name, column in model.video_columns.items() if column.kind == "exact"}
    assert exact == {"grams", "vectors"}
    kept = video.to(dtype=torch.float16, exact=exact)
    found = model.similarity(text, kept) / model.logit_scale.exp()
    assert found.dtype == torch.float32 and kept["grams"].dtype == torch.float32
    assert (found - wanted).abs().max() < 1e-3


def test_attention_to_frames_is_what_it_teaches():
    model = make("xpool", {"num_mha_heads": 2})
    text, video = model.encode_text(captions(5)), model.encode_video(**inputs_of(model, *clips(5)))
    weights = model.pair_frame_weights(text, video)
    assert torch.equal(weights > 0, clips(5)[1] == 1)
    torch.testing.assert_close(weights.sum(dim=1), torch.ones(5).double())


def test_its_checkpoint_has_transformers_names_and_comes_back():
    model = make("xpool").float()
    state = export_checkpoint(model)
    assert "clip.vision_model.pre_layrnorm.weight" in state
    assert not any("resblocks" in key for key in state)
    assert all(x.dtype == torch.float32 for x in state.values())
    state["clip.text_model.embeddings.position_ids"] = torch.arange(77)[None]
    ours = our_names(state)
    ((family, settings),) = recognise(ours)
    assert (family, settings.max_words) == ("xpool", 77)
    assert settings.options == {"short_videos": "repeat"}
    assert architecture_of(ours, head_dim=SIZES.head_dim) == SIZES
    again = make("xpool", seed=5).float()
    load_checkpoint(again, ours)
    assert all(torch.equal(x, again.state_dict()[k]) for k, x in model.state_dict().items())
    assert set(export_clip(model)) == set(export_clip(make("clip4clip")))
    wrapped = our_names({f"model.{key}": x for key, x in state.items()})
    assert set(wrapped) == set(ours)
    alone = our_names({key: x for key, x in state.items() if key.startswith("clip.")})
    assert "visual.proj" in alone, "towers alone are a CLIP, whatever stands before their names"


def test_keys_of_the_published_model():
    with torch.device("meta"):
        model = build(
            "xpool",
            options={},
            architecture=architecture("ViT-B/32"),
            max_words=77,
            max_frames=12,
        )
    columns = model.video_columns
    numbers = sum(columns[name].size for name in ("frames", "grams", "vectors"))
    assert numbers == 6612, "specs/more-heads.md 2.6"
    assert sum(key.startswith("pool_frames.") for key in model.state_dict()) == 16


def test_what_it_cannot_be_is_refused():
    with pytest.raises(OptionsError, match="num_mha_heads 5 must divide"):
        make("xpool", {"num_mha_heads": 5})
    model = make("xpool")
    with pytest.raises(InputError, match="3 frames a video"):
        model.encode_video(**inputs_of(model, *clips(2, frames=3)))
