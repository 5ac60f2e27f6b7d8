"""Adapters of the towers: what they compute, where they begin, what learns, what is left plain."""

from dataclasses import replace

import pytest
import torch

from reelvec.configs.schema import ModelConfig
from reelvec.models.errors import OptionsError
from reelvec.models.lora import LoraOptions, adapt, check_lora, plain_state
from reelvec.models.training.optim import OptimizerOptions, build_optimizer, rates
from reelvec.models.training.parameters import freeze
from reelvec.tasks.training.starting import build_sized
from tests.tasks.training.builders import FRAMES, MAX_WORDS, SIZE, SMALL

TINY = replace(
    SMALL, vocab_size=96, head_dim=16, vision_width=32, vision_layers=2, text_width=32, embed_dim=32
)
ONE_LAYER = {"cross_num_hidden_layers": 1}
CASES = {
    "clip4clip": ("clip4clip", {}),
    "clip4clip 3d": ("clip4clip", {"sim_header": "seqTransf", "linear_patch": "3d"} | ONE_LAYER),
    "clip2video": ("clip2video", {"centerK": 2} | ONE_LAYER),
    "xclip": ("xclip", {"sim_header": "seqTransf"} | ONE_LAYER),
    "teachclip": ("teachclip", ONE_LAYER),
    "ts2net": (
        "ts2net",
        {"shift_layers": [1], "n_div": 2, "topk": 1, "num_samples": 3} | ONE_LAYER,
    ),
    "adaclip": ("adaclip", {"policy": "clip", "top_k": 2, "hidden_dim": 32, "mlp_hidden_dim": 8}),
}
ALL = ("c_fc", "c_proj", "k", "out_proj", "q", "v")
FULL = LoraOptions(rank=3, alpha=12.0, targets=ALL, towers=("text", "visual"))
FEW = replace(FULL, targets=("k", "out_proj"), towers=("visual",), first_block=1)


def built(case, dtype=torch.float64):
    family, options = CASES[case]
    config = ModelConfig(family=family, options=options, max_words=MAX_WORDS, max_frames=FRAMES)
    torch.manual_seed(3)
    return build_sized(config, sizes=TINY).to(dtype)


def trained(case, options, dtype=torch.float64):
    """A model whose adapters are anything but zero."""
    model = built(case, dtype)
    adapt(model, options, seed=5)
    draw = torch.Generator().manual_seed(1)
    for name, parameter in model.named_parameters():
        if name.endswith(".up"):
            parameter.data.copy_(torch.randn(parameter.shape, generator=draw) / 8)
    return model


def scores(model):
    """Logits of four captions and four videos, padding among them."""
    draw = torch.Generator().manual_seed(2)
    tokens = torch.randint(1, 90, (4, MAX_WORDS), generator=draw)
    tokens[torch.arange(4), 4 + torch.arange(4)] = 95
    frames = torch.randint(0, 256, (4, FRAMES, SIZE, SIZE, 3), generator=draw, dtype=torch.uint8)
    mask = (torch.arange(FRAMES) < torch.tensor([[1], [2], [3], [3]])).long()
    return model.similarity(
        model.encode_text(tokens), model.encode_video(**model.prepare(frames, mask))
    )


def by_hand(model, case, options):
    """The plain model whose matrices are W + alpha / rank * B A, element by element."""
    plain, own = built(case), model.state_dict()
    towers = {"text": "clip.transformer", "visual": "clip.visual.transformer"}
    for name in own:
        if not name.endswith(".down"):
            continue
        _, tower, block, target, _ = name.split(".")
        down, up = own[name], own[name.removesuffix("down") + "up"]
        part = "mlp" if target.startswith("c_") else "attn"
        key, first = f"{part}.{target}.weight", 0
        if target in "qkv":
            key, first = "attn.in_proj_weight", "qkv".index(target) * down.shape[1]
        matrix = f"{towers[tower]}.resblocks.{block}.{key}"
        if matrix not in plain.state_dict():
            matrix = matrix.replace(".attn.", ".attn.net.")  # a block with token shift
        weight = plain.get_parameter(matrix).data
        for row in range(len(up)):
            for r in range(options.rank):
                weight[first + row] += options.alpha / options.rank * up[row, r] * down[r]
    return plain


@pytest.fixture(autouse=True)
def one_thread():
    """Small models: threads that wait for each other cost more than they give."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.mark.parametrize("options", [FULL, FEW], ids=["all", "few"])
@pytest.mark.parametrize("case", CASES)
def test_an_adapted_model_is_its_naive_twin_and_what_is_merged(case, options):
    model = trained(case, options).eval()
    expected = scores(by_hand(model, case, options).eval())
    largest = expected.abs().max()
    assert (scores(model) - expected).abs().max() < 1e-12 * largest
    merged = built(case).eval()
    merged.load_state_dict(plain_state(model))  # its keys are the plain model's
    assert (scores(merged) - expected).abs().max() < 1e-12 * largest
    assert (scores(built(case).eval()) - expected).abs().max() > 1e-3 * largest


def test_merged_in_single_precision():
    model = trained("clip2video", FULL, torch.float32).eval()
    merged = built("clip2video", torch.float32).eval()
    merged.load_state_dict(plain_state(model))
    expected = scores(model)
    assert (scores(merged) - expected).abs().max() < 1e-5 * expected.abs().max()


def test_merging_leaves_the_model_as_it_is():
    model = trained("clip4clip", FULL)
    before = {name: x.clone() for name, x in model.state_dict().items()}
    assert plain_state(model).keys() == built("clip4clip").state_dict().keys()
    for name, x in model.state_dict().items():
        assert torch.equal(x, before[name])


@pytest.mark.parametrize("case", CASES)
def test_training_begins_with_the_model_as_it_was_and_moves_adapters_and_head(case):
    model = built(case)
    freeze(model, freeze_layers=0)
    expected = scores(model.eval())
    adapt(model, FULL, seed=5)
    assert torch.equal(scores(model), expected)
    optimizer = build_optimizer(
        model, options=OptimizerOptions(learning_rate=1e-2, warmup=0.0, total_steps=9)
    )
    before = {name: x.clone() for name, x in model.state_dict().items()}
    for _ in range(2):
        optimizer.zero_grad(set_to_none=True)
        torch.nn.functional.cross_entropy(scores(model), torch.arange(4)).backward()
        optimizer.step()
    after = model.state_dict()
    moved = {name for name, x in before.items() if not torch.equal(x, after[name])}
    assert {n for n in moved if n.startswith("clip.")} == {"clip.logit_scale"}
    assert {n for n in after if n.startswith("lora.")} <= moved
    head = {
        n
        for n, p in model.named_parameters()
        if p.grad is not None and p.grad.any() and not n.startswith(("clip.", "lora."))
    }
    assert head <= moved


def test_where_it_begins_follows_from_the_seed():
    def start(seed, before):
        torch.manual_seed(before)
        model = built("clip4clip")
        torch.manual_seed(before)
        adapt(model, FULL, seed=seed)
        return model.get_parameter("lora.visual.1.q.down")

    assert torch.equal(start(5, before=1), start(5, before=2))
    assert not torch.equal(start(5, before=1), start(6, before=1))
    assert start(5, before=1).std() > 0.05


def test_adapters_have_a_rate_of_their_own():
    model = built("teachclip")
    adapt(model, replace(FULL, rate_factor=3.0), seed=5)
    options = OptimizerOptions(learning_rate=1e-3, schedule="constant", warmup=0.0, total_steps=9)
    found = rates(build_optimizer(model, options=options))
    assert found == pytest.approx(
        {"clip": 1e-6, "other": 1e-3, "frameLinear.": 1e-2, "lora.": 3e-3}
    )


def test_blocks_below_and_other_towers_have_none():
    model = built("clip4clip")
    adapt(model, FEW, seed=5)
    assert {n.rsplit(".", 1)[0] for n in model.state_dict() if n.startswith("lora.")} == {
        "lora.visual.1.k",
        "lora.visual.1.out_proj",
    }


def test_recomputed_activations_give_the_same_gradients():
    found = []
    for recompute in (False, True):
        model = trained("xclip", FULL).train()
        model.set_activation_checkpointing(recompute)
        torch.nn.functional.cross_entropy(scores(model), torch.arange(4)).backward()
        found.append({n: p.grad for n, p in model.named_parameters() if p.grad is not None})
    assert found[0].keys() == found[1].keys()
    assert any(name.startswith("lora.text.0.c_fc.") for name in found[0])
    for name, gradient in found[0].items():
        assert torch.equal(gradient, found[1][name]), name


@pytest.mark.parametrize(
    ("family", "options", "lora", "said"),
    [
        ("adaclip", {"freeze_clip": True, "frame_agg": "mlp"}, FULL, "freeze_clip keeps"),
        ("clip4clip", {}, replace(FULL, first_block=1), r"freeze_layers \(1\).*1 blocks.*text"),
        ("clip4clip", {}, replace(FULL, rank=33), r"rank \(33\) is larger than.*text tower \(32\)"),
    ],
)
def test_what_cannot_be_adapted_is_refused(family, options, lora, said):
    config = ModelConfig(family=family, options=options, max_words=MAX_WORDS, max_frames=FRAMES)
    with pytest.raises(OptionsError, match=said):
        check_lora(build_sized(config, sizes=TINY), lora)


def test_a_model_without_clip_towers_is_refused():
    with pytest.raises(OptionsError, match=r"a Linear has no CLIP towers.*train\.lora=null"):
        check_lora(torch.nn.Linear(2, 2), FULL)
