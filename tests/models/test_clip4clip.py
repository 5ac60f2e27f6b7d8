"""CLIP4Clip's eight variants: the family contract, naive twins of each header, key lists."""

from dataclasses import replace

import pytest
import torch
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from reelvec.models.clip.architecture import architecture
from reelvec.models.conversion.weights import start
from reelvec.models.errors import InputError, OptionsError
from reelvec.models.registry import build
from reelvec.models.temporal import key_mask, pool
from tests.models.clip.test_clip_towers import naive_block
from tests.models.contracts_family import (
    SIZES,
    FamilyContract,
    captions,
    clips,
    inputs_of,
    make,
)

HEADERS = ("meanP", "seqLSTM", "seqTransf", "tightTransf")
VARIANTS = [{"sim_header": h, "linear_patch": p} for h in HEADERS for p in ("2d", "3d")]


@pytest.fixture(params=VARIANTS, ids=lambda o: "_".join(o.values()))
def options(request):
    return request.param | {"cross_num_hidden_layers": 2}


class TestClip4Clip(FamilyContract):
    family = "clip4clip"


def naive_score(sentence, frames, mask):
    """One text, one video, in plain formulas: the mean of unit frames that are real."""
    real = [f / f.norm() for f, m in zip(frames, mask, strict=True) if m]
    mean = sum(real) / len(real)
    return sentence / sentence.norm() @ (mean / mean.norm())


@torch.no_grad()
def encoded(model):
    pixels, mask = clips(5)
    frames = model.encode_frames(inputs_of(model, pixels, mask)["frames"])
    sentence, _ = model.encode_words(captions(4))
    text = model.encode_text(captions(4))
    video = model.encode_video(**inputs_of(model, pixels, mask))
    return sentence, frames, mask, model.similarity(text, video)


def assert_naive(model, after):
    """`after(frames, length)` is the header on one video's real frames."""
    sentence, frames, mask, sim = encoded(model)
    for t in range(4):
        for v in range(5):
            length = int(mask[v].sum())
            with torch.no_grad():
                real = after(frames[v, :length])
            wanted = model.logit_scale.exp() * naive_score(sentence[t], real, [1] * length)
            torch.testing.assert_close(sim[t, v], wanted, rtol=0, atol=1e-9)


def test_mean_is_the_mean():
    assert_naive(make("clip4clip"), lambda frames: frames)


def test_transformer_sees_real_frames_only():
    model = make("clip4clip", {"sim_header": "seqTransf", "cross_num_hidden_layers": 2})

    def after(frames):
        x = (frames + model.frame_position_embeddings.weight[: len(frames)])[None]
        for block in model.transformerClip.resblocks:
            x = naive_block(block, x, eps=1e-12)
        return x[0] + frames

    assert_naive(model, after)


def test_lstm_equals_the_packed_one():
    model = make("clip4clip", {"sim_header": "seqLSTM"})

    def after(frames):
        packed = pack_padded_sequence(frames[None], [len(frames)], batch_first=True)
        return pad_packed_sequence(model.lstm_visual(packed)[0], batch_first=True)[0][0] + frames

    assert_naive(model, after)


@pytest.mark.parametrize("header", ["meanP", "seqLSTM", "seqTransf"])
@torch.no_grad()
def test_no_frames_give_nan_and_spoil_no_other(header):
    model = make("clip4clip", {"sim_header": header})
    pixels, mask = clips(4)
    whole = model.encode_video(**inputs_of(model, pixels, mask))["embedding"]
    mask[2] = 0
    found = model.encode_video(**inputs_of(model, pixels, mask))["embedding"]
    others = [0, 1, 3]
    assert torch.isnan(found[2]).all()
    torch.testing.assert_close(found[others], whole[others], rtol=0, atol=1e-9)


def test_blocks_beyond_the_text_towers_start_at_random():
    """A header of four blocks, a text tower of two: the rest as the seed made them."""
    model = make("clip4clip", {"sim_header": "seqTransf"})
    before = [block.mlp.c_fc.weight.clone() for block in model.transformerClip.resblocks]
    archive = {key: x + 1 for key, x in model.clip.state_dict().items()}
    model.init_from_clip(archive)
    after = [block.mlp.c_fc.weight for block in model.transformerClip.resblocks]
    for i in range(4):
        started = archive.get(f"transformer.resblocks.{i}.mlp.c_fc.weight", before[i])
        assert torch.equal(after[i], started)
        assert torch.equal(after[i], before[i]) == (i >= 2)


@pytest.mark.parametrize("width", [32, 48], ids=["as wide as the text tower", "wider"])
def test_tight_is_a_forward_pass_a_pair(monkeypatch, width):
    sizes = replace(SIZES, embed_dim=width)
    options = {"sim_header": "tightTransf", "cross_num_hidden_layers": 2}
    model = make("clip4clip", options, sizes=sizes)
    assert model.cross.transformer.heads == width // SIZES.head_dim
    sentence, frames, mask, sim = encoded(model)
    cross = model.cross
    for t in range(4):
        for v in range(5):
            real = frames[v, : int(mask[v].sum())]
            x = torch.cat([sentence[t : t + 1], real])[None]
            x = x + cross.embeddings.position_embeddings.weight[: x.shape[1]]
            for block in cross.transformer.resblocks:
                x = naive_block(block, x, eps=1e-12)
            first = cross.pooler.dense(cross.pooler.ln_pool(x[:, 0]))
            wanted = model.similarity_dense(first * torch.sigmoid(1.702 * first))
            torch.testing.assert_close(sim[t, v], wanted[0, 0], rtol=0, atol=1e-10)
    monkeypatch.setattr("reelvec.models.headers._PAIRS", 3)  # slices of both axes give the same
    torch.testing.assert_close(model.cross_score(sentence, frames, mask), sim)
    assert model.cross_score(sentence[:0], frames, mask).shape == (0, 5)
    assert model.cross_score(sentence, frames[:0], mask[:0]).shape == (4, 0)


def test_pool_of_nothing_is_nan_never_zero():
    frames = torch.randn(2, 3, 4)
    found = pool(frames, torch.tensor([[1, 1, 0], [0, 0, 0]]))
    assert torch.isfinite(found[0]).all() and found[1].isnan().all()


@pytest.mark.parametrize("heads", [1, 3])
@pytest.mark.parametrize("batch", [1, 2, 5])
def test_legacy_masks_are_tiled_head_major(batch, heads):
    mask = torch.randint(0, 2, (batch, 4), generator=torch.Generator().manual_seed(batch))
    found = key_mask(mask, heads=heads, dtype=torch.float64, layout="legacy")
    fixed = key_mask(mask, heads=heads, dtype=torch.float64)
    for b in range(batch):
        assert torch.equal(fixed[b, 0, 0], (1 - mask[b]).double() * -1e6)
        for h in range(heads):
            row = (b * heads + h) % batch
            assert torch.equal(found[b, h, 0], (1 - mask[row]).double() * -1e6)


KEYS = {"meanP": 302, "seqLSTM": 307, "seqTransf": 351, "tightTransf": 357}


@pytest.mark.parametrize("header", HEADERS)
@pytest.mark.parametrize("patch", ["2d", "3d"])
def test_key_lists_of_vit_b_32(header, patch):
    """Counts, names and shapes of specs/clip4clip-clip2video.md 7.1."""
    with torch.device("meta"):
        model = build(
            "clip4clip",
            options={"sim_header": header, "linear_patch": patch},
            architecture=architecture("ViT-B/32"),
            max_words=32,
            max_frames=12,
        )
    shapes = {k: tuple(v.shape) for k, v in model.state_dict().items()}
    assert len(shapes) == KEYS[header] + (patch == "3d")
    wanted = {
        "meanP": {},
        "seqLSTM": {
            "frame_position_embeddings.weight": (77, 512),
            "lstm_visual.weight_hh_l0": (2048, 512),
            "lstm_visual.bias_ih_l0": (2048,),
        },
        "seqTransf": {
            "frame_position_embeddings.weight": (77, 512),
            "transformerClip.resblocks.3.mlp.c_fc.weight": (2048, 512),
        },
        "tightTransf": {
            "cross.embeddings.position_embeddings.weight": (77, 512),
            "cross.transformer.resblocks.0.attn.in_proj_weight": (1536, 512),
            "cross.pooler.ln_pool.bias": (512,),
            "cross.pooler.dense.weight": (512, 512),
            "similarity_dense.weight": (1, 512),
        },
    }[header]
    assert {k: shapes.get(k) for k in wanted} == wanted
    if patch == "3d":
        assert shapes["clip.visual.conv2.weight"] == (768, 3, 3, 32, 32)


def test_lengths_and_widths_a_header_cannot_take():
    with pytest.raises(OptionsError, match="positions for 76 frames"):
        make("clip4clip", {"sim_header": "tightTransf"}, frames=77)
    make("clip4clip", {"sim_header": "meanP"}, frames=200)
    model = make("clip4clip", {"sim_header": "tightTransf"})
    with pytest.raises(InputError, match="pad with zeros"):
        model.encode_video(torch.zeros(1, 3, 3, 8, 8).double(), torch.ones(1, 3))


def test_widths_that_differ_are_refused_where_the_header_ties_them():
    wide = replace(SIZES, embed_dim=48)
    with pytest.raises(OptionsError, match="embed_dim 48 must equal text_width 32"):
        make("clip4clip", {"sim_header": "seqTransf"}, sizes=wide)
    with pytest.raises(OptionsError, match="embed_dim 40 must be a multiple of head_dim 16"):
        make("clip4clip", {"sim_header": "tightTransf"}, sizes=replace(SIZES, embed_dim=40))
    assert make("clip4clip", sizes=wide).video_columns["embedding"].shape == (48,)


@pytest.mark.parametrize("header", ["seqLSTM", "tightTransf"])
def test_a_header_of_another_width_than_the_text_tower_starts_at_random(header):
    wide = make("clip4clip", {"sim_header": header}, sizes=replace(SIZES, embed_dim=48))
    before = {key: tensor.clone() for key, tensor in wide.state_dict().items()}
    start(wide, {key: tensor + 1 for key, tensor in wide.clip.state_dict().items()})
    for key, tensor in wide.state_dict().items():
        assert torch.equal(tensor, before[key] + 1 if key.startswith("clip.") else before[key])


@pytest.mark.parametrize("family", ["clip4clip", "xclip"])
def test_frame_positions_start_as_wide_as_asked(family):
    def spread(std):
        torch.manual_seed(0)
        options = {"sim_header": "seqTransf", "frame_position_std": std}
        sizes = architecture("tiny")
        model = build(family, options=options, architecture=sizes, max_words=8, max_frames=4)
        return model.frame_position_embeddings.weight.std().item()

    assert spread(0.02) == pytest.approx(0.02, rel=0.1)
    assert spread(0.4) == pytest.approx(20 * spread(0.02))
