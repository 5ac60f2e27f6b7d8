"""What models cost: counted from sizes, and seen by torch's counter of real products."""

import itertools

import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from reelvec.models.clip.architecture import ARCHITECTURES, Architecture, architecture
from reelvec.models.costs import Costs, Macs, costs_of, frame_macs, text_macs, transformer_macs
from reelvec.models.registry import build, family_names
from tests.models.contracts_family import FRAMES, WORDS, make

CLIP4CLIP = [
    {"sim_header": header, "linear_patch": patch, "cross_num_hidden_layers": 2}
    for header in ("meanP", "seqLSTM", "seqTransf", "tightTransf")
    for patch in ("2d", "3d")
]
CLIP2VIDEO = [
    {"sim_type": "meanP", "temporal_type": "", "center_type": "", "center_proj": ""},
    {"sim_type": "meanP", "temporal_type": "", "center_type": "TAB", "center_proj": ""},
    {"temporal_type": "", "center_type": "TAB", "center_proj": "TAB", "centerK": 3},
    *(
        {"temporal_proj": projection, "center_proj": augmentation}
        for projection in ("", "sigmoid_mlp", "sigmoid_selfA")
        for augmentation in ("", "TAB", "TAB_TDB")
    ),
]
POLICY = {"hidden_dim": 32, "mlp_hidden_dim": 24, "rescale_size": 4, "top_k": 3}
ADACLIP = [
    {"frame_agg": "mlp"},
    {"frame_agg": "transformer", "word_agg": "mlp"},
    {"frame_agg": "qscore"},
    {"word_agg": "mlp"},
    {"word_agg": "transformer", "sim_header": "seqTransf"},
    {"sim_header": "transformer"},
    *(
        {"policy": policy, "rnn": rnn, "mlp_type": kind, **POLICY}
        for policy, rnn, kind in itertools.product(
            ("raw", "clip"), ("none", "lstm", "bilstm", "transformer"), ("mlp", "fc")
        )
    ),
    {"policy": "mobilenet_v3_large", "frame_agg": "mlp", **POLICY},
    {"policy": "mobilenet_v2", "mlp_type": "fc", **POLICY},
]
SHIFT = {"shift_layers": [0], "n_div": 2, "cross_num_hidden_layers": 1}
MODELS = [
    *(("clip4clip", options) for options in CLIP4CLIP),
    *(("clip2video", options) for options in CLIP2VIDEO),
    ("xclip", {"sim_header": "seqTransf"}),
    *(("adaclip", options) for options in ADACLIP),
    ("frozen", {}),
    ("teachclip", {"cross_num_hidden_layers": 2}),
    ("teachclip", {"sim_header": "meanP"}),
    ("xpool", {}),
    ("xpool", {"num_mha_heads": 4}),
    *(("xpool_baseline", {"pooling": kind}) for kind in ("avg", "topk", "attention")),
    ("drl", {"interaction": "dp", "sim_header": "seqLSTM"}),
    ("drl", {"interaction": "ti", "cross_num_hidden_layers": 1}),
    *(("drl", {"interaction": "wti", "wti_arch": n, "sim_header": "meanP"}) for n in (1, 2, 3)),
    ("drl", {"interaction": "xti", "sim_header": "meanP"}),
    *(("ts2net", SHIFT | more) for more in ({}, {"topk": 2, "linear_patch": "3d"})),
    *(("ucofia", SHIFT | more) for more in ({}, {"code": "eval_t2v"}, {"sim_header": "seqLSTM"})),
]


@torch.no_grad()
def seen(model, *, words=WORDS, frames=FRAMES):
    """MACs of a full text and of a video of all frames, as torch's counter sees them.

    Attention and LSTM are taken apart into the products they are made of.
    """
    full = torch.full((1, words), 5)
    full[0, -1] = 12  # the largest id, which ends a text
    side = model.image_size
    pixels = torch.zeros(1, frames, side, side, 3, dtype=torch.uint8)
    dtype = next(model.parameters()).dtype
    inputs = {
        name: x.to(dtype) if x.is_floating_point() else x
        for name, x in model.prepare(pixels, torch.ones(1, frames, dtype=torch.int64)).items()
    }
    counts = []
    for work in (lambda: model.encode_text(full), lambda: model.encode_video(**inputs)):
        with (
            sdpa_kernel(SDPBackend.MATH),
            torch.backends.mkldnn.flags(enabled=False),
            FlopCounterMode(display=False) as counter,
        ):
            work()
        counts.append(counter.get_total_flops() // 2)
    return Macs(*counts)


@pytest.mark.parametrize(("family", "options"), MODELS, ids=str)
def test_every_family_counts_what_it_does(family, options):
    model = make(family, options)
    assert costs_of(model).macs == seen(model)
    assert costs_of(model).parameters == sum(p.numel() for p in model.parameters())


def test_every_family_there_is_counts():
    assert {family for family, _ in MODELS} == set(family_names())


@pytest.mark.parametrize(("words", "frames"), [(5, 2), (77, 7)])
def test_lengths_count(words, frames):
    for family in ("clip2video", "xclip"):
        model = make(family, words=words, frames=frames)
        assert costs_of(model).macs == seen(model, words=words, frames=frames)


def test_sizes_count():
    sizes = Architecture(
        embed_dim=48, image_size=24, vision_layers=3, vision_width=32, patch_size=8,
        text_width=16, text_layers=1, vocab_size=96, head_dim=16,
    )  # fmt: skip
    model = make("clip4clip", sizes=sizes)
    assert costs_of(model).macs == seen(model)


def test_what_does_not_count_says_nothing():
    costs = costs_of(torch.nn.Linear(3, 4))
    assert costs == Costs(16, None)
    assert costs.as_dict() == {"parameters": 16}


def published(**options):
    """AdaCLIP's recipe for MSR-VTT at ViT-B/32: 12 of 16 frames."""
    with torch.device("meta"):
        return build(
            "adaclip",
            options={"frame_agg": "mlp", "hidden_dim": 512, **options},
            architecture=architecture("ViT-B/32"),
            max_words=32,
            max_frames=16,
        )


def test_adaclips_recipe_costs_what_is_kept():
    """Of 16 frames 12 are encoded, of the last block one token: docs/models.md.

    The original encodes all 16, whole. The paper names 56.6: 12 frames, whole, and the policy.
    """
    ours = costs_of(published(policy="mobilenet_v3_large", top_k=12)).macs
    sizes = ARCHITECTURES["ViT-B/32"]
    assert ours.video / 1e9 == pytest.approx(52.92, abs=0.01)
    assert ours.text == text_macs(sizes, words=32)
    block = {"layers": 1, "tokens": 50}
    cut = transformer_macs(768, **block) - transformer_macs(768, first_only=True, **block)
    whole = frame_macs(sizes) + cut
    policy = ours.video - 12 * frame_macs(sizes)
    assert (12 * whole + policy) / 1e9 == pytest.approx(56.6, abs=0.2)
    assert ours.video / (16 * whole + policy) == pytest.approx(0.71, abs=0.005)
