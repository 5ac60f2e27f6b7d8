"""PE-core against the published implementation, and what is refused."""

import copy
import json
import math
import re

import pytest
import torch

from reelvec.models.conversion.weights import build_for, input_of, start
from reelvec.models.costs import costs_of
from reelvec.models.errors import InputError, OptionsError, WeightsError
from reelvec.models.frozen.perception import image_sizes, text_sizes
from reelvec.models.frozen.perception_towers import PerceptionTowers, rotary_turns
from reelvec.storage.weights.pretrained import read_pretrained
from tests.models.contracts_family import FamilyContract
from tests.models.frozen.perception_checkpoints import (
    LABELS,
    golden,
    save_checkpoint,
    tensors_of,
)
from tests.models.test_costs import seen
from tests.resources import RESOURCES

PUBLISHED = json.loads((RESOURCES / "perception-keys.json").read_text())


def build(state, *, family="frozen", max_frames=4):
    return build_for(state, family=family, options={}, max_words=9, max_frames=max_frames)


def loaded(state):
    model = build(state).eval()
    start(model, state)
    return model


@pytest.fixture(scope="module", params=LABELS)
def label(request):
    return request.param


@pytest.fixture
def state(label, tmp_path):
    return read_pretrained(f"hf:{save_checkpoint(tmp_path, label)}")


def changed(state, tmp_path, label, *path, value):
    """The state with another value in its configuration."""
    config = copy.deepcopy(golden(label)[1]["config"])
    section = config
    for name in path[:-1]:
        section = section[name]
    section[path[-1]] = value
    folder = tmp_path / "changed"
    folder.mkdir(exist_ok=True)
    tensors = {"x": torch.ones(1)}
    found = read_pretrained(f"hf:{save_checkpoint(folder, label, tensors=tensors, config=config)}")
    return state | {"files": found["files"]}


@torch.no_grad()
def test_features_are_those_of_the_published_implementation(state, label):
    """timm's and OpenCLIP's own features of the same weights, images and texts."""
    expected, facts = golden(label)
    model = loaded(state)
    pixels = expected["pixels"]
    assert model.image_size == input_of(state).form.size == pixels.shape[1]
    shown = model.prepare(pixels[None], torch.ones(1, len(pixels), dtype=torch.int64))
    images = model.encoder.encode_frames(shown["frames"][0])
    torch.testing.assert_close(images, expected["image_features"], atol=1e-5, rtol=1e-5)
    tokens = model.tokenize(facts["texts"])
    assert torch.equal(tokens, expected["tokens"]) and model.max_words == tokens.shape[1]
    texts = model.encoder.encode_text(tokens)
    torch.testing.assert_close(texts, expected["text_features"], atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_a_video_is_the_unit_mean_of_unit_frames(state, label):
    expected, facts = golden(label)
    model = loaded(state)
    normalize = torch.nn.functional.normalize
    pixels = torch.stack([expected["pixels"], expected["pixels"].flip(0)])
    mask = torch.tensor([[1, 1, 1, 1], [1, 1, 0, 0]])
    video = model.encode_video(**model.prepare(pixels, mask))
    frames = normalize(expected["image_features"], dim=-1)
    means = torch.stack([frames.mean(0), frames[2:].mean(0)])
    torch.testing.assert_close(video["embedding"], normalize(means, dim=-1), atol=1e-5, rtol=1e-5)
    text = model.encode_text(model.tokenize(facts["texts"]))
    torch.testing.assert_close(
        text["embedding"], normalize(expected["text_features"], dim=-1), atol=1e-5, rtol=1e-5
    )
    scores = text["embedding"] @ video["embedding"].T * torch.tensor(2.5).exp()
    torch.testing.assert_close(model.similarity(text, video), scores)


@pytest.mark.parametrize("name", PUBLISHED)
def test_towers_of_published_sizes_have_the_published_tensors(name):
    """Keys and shapes of OpenCLIP's models, on the meta device."""
    config, tensors = {"model_cfg": PUBLISHED[name]["config"]}, {}
    for pattern, shape, count in PUBLISHED[name]["tensors"]:
        for i in range(count):
            tensors[pattern.replace("*", str(i))] = torch.empty(shape, device="meta")
    held = {f"encoder.{key}": tensor for key, tensor in tensors.items()}
    with torch.device("meta"):
        towers = PerceptionTowers(
            image_sizes(config, held),
            text_sizes(config),
            embed_dim=config["model_cfg"]["embed_dim"],
        )
    ours = {key: tuple(tensor.shape) for key, tensor in towers.state_dict().items()}
    assert ours == {key: tuple(tensor.shape) for key, tensor in tensors.items()}


def test_turns_are_counted_in_the_grid_the_tower_was_made_for():
    """The naive twin: each token's angle, one by one, at the published grid and at half of it."""
    config = {"model_cfg": PUBLISHED["PE-Core-B-16"]["config"]}
    state = {
        "encoder.visual.trunk.patch_embed.proj.weight": torch.empty(768, 3, 16, 16, device="meta"),
        "encoder.visual.trunk.blocks.0.mlp.fc1.weight": torch.empty(3072, 768, device="meta"),
    }
    for side in (224, 112):
        said = copy.deepcopy(config)
        said["model_cfg"]["vision_cfg"]["image_size"] = side
        grid = side // 16
        cos, sin = rotary_turns(image_sizes(said, state))
        assert cos.shape == (grid**2 + 1, 32) and bool((cos[0] == 1).all())
        for row, column in ((0, 0), (0, grid - 1), (grid - 1, 3)):
            for number in range(32):
                place = (column if number < 16 else row) + 1
                angle = place * 14 / grid * 10_000 ** (-(number % 16) / 16)
                token = 1 + row * grid + column
                assert cos[token, number] == pytest.approx(math.cos(angle), abs=1e-5)
                assert sin[token, number] == pytest.approx(math.sin(angle), abs=1e-5)


class TestPerceptionEncoder(FamilyContract):
    """In double precision, at the family contract's sizes."""

    @pytest.fixture
    def model(self, tmp_path):
        config = copy.deepcopy(golden("class-token")[1]["config"])
        config["model_cfg"]["vision_cfg"]["image_size"] = 8
        config["model_cfg"]["text_cfg"]["context_length"] = 9
        whole = dict(tensors_of("class-token"))
        whole["visual.trunk.pos_embed"] = whole["visual.trunk.pos_embed"][:, :5].clone()
        whole["text.positional_embedding"] = whole["text.positional_embedding"][:9].clone()
        folder = save_checkpoint(tmp_path, "class-token", tensors=whole, config=config)
        return loaded(read_pretrained(f"hf:{folder}")).double()

    def test_every_trainable_parameter_learns(self, model):
        assert not any(p.requires_grad for p in model.parameters())


def test_tensors_that_do_not_fit_are_named(state):
    key = "encoder.visual.trunk.blocks.1.attn.qkv.bias"
    without = {k: v for k, v in state.items() if k != key}
    with pytest.raises(WeightsError, match=f"missing {re.escape(key)}"):
        start(build(without), without)
    extra = state | {"encoder.visual.trunk.reg_token": torch.ones(1, 2, 24)}
    with pytest.raises(WeightsError, match=r"unexpected encoder\.visual\.trunk\.reg_token"):
        start(build(extra), extra)
    other = state | {"encoder.text.text_projection": torch.ones(3, 3)}
    with pytest.raises(WeightsError, match=r"text_projection is \(3, 3\) but the model's is"):
        start(build(other), other)
    patches = "encoder.visual.trunk.patch_embed.proj.weight"
    with pytest.raises(WeightsError, match=r"patch_embed\.proj\.weight is missing"):
        build({k: v for k, v in state.items() if k != patches})
    with pytest.raises(WeightsError, match=r"patch_embed\.proj\.weight is \(2,\)"):
        build(state | {patches: torch.ones(2)})


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("vision_cfg.timm_model_name", "vit_base_patch16_224", r"vit_base.*not supported.*vit_pe"),
        ("vision_cfg.timm_model_name", None, r"\(None\) is not supported"),
        ("vision_cfg.timm_model_name", "vit_pe_core_large_patch14_336", "do not fit 16 heads"),
        ("vision_cfg.timm_pool", "avg", r"timm_pool \(avg\)"),
        ("vision_cfg.timm_proj", "linear", r"timm_proj \(linear\)"),
        ("vision_cfg.image_size", 21, "21 is no multiple of the patches' 4"),
        ("vision_cfg.image_size", "20", r"image_size as \(20\).*whole number"),
        ("vision_cfg", None, "says no vision_cfg"),
        ("text_cfg.pool_type", "last", r"pool_type \(last\).*argmax"),
        ("text_cfg.hf_tokenizer_name", "t5", r"hf_tokenizer_name \(t5\).*nothing there"),
        ("text_cfg.no_causal_mask", True, "no_causal_mask"),
        ("text_cfg.mlp_ratio", 3, r"mlp_ratio \(3\)"),
        ("text_cfg.vocab_size", 100, "49408"),
        ("text_cfg.heads", 3, "16 is no multiple of text_cfg.heads 3"),
        ("text_cfg.layers", 0, r"layers as \(0\)"),
        ("text_cfg.width", None, r"width as \(None\)"),
        ("quick_gelu", True, "quick_gelu"),
        ("embed_dim", None, r"embed_dim as \(None\)"),
    ],
)
def test_other_configurations_are_refused(path, value, message, tmp_path):
    label = "class-token"
    state = read_pretrained(f"hf:{save_checkpoint(tmp_path, label)}")
    other = changed(state, tmp_path, label, "model_cfg", *path.split("."), value=value)
    with pytest.raises(WeightsError, match=message):
        build(other)


def test_what_changes_nothing_is_let_through(state, label, tmp_path):
    for name, value in (
        ("pool_type", "argmax"),
        ("eos_id", 2),
        ("mlp_ratio", 4),
        ("ls_init_value", None),
    ):
        build(changed(state, tmp_path, label, "model_cfg", "text_cfg", name, value=value))
    tagged = golden(label)[1]["config"]["model_cfg"]["vision_cfg"]["timm_model_name"] + ".fb"
    path = ("model_cfg", "vision_cfg", "timm_model_name")
    build(changed(state, tmp_path, label, *path, value=tagged))


def test_preprocessing_must_be_said(state, label, tmp_path):
    for value in (None, [0.5], 0.5):
        other = changed(state, tmp_path, label, "preprocess_cfg", "mean", value=value)
        with pytest.raises(WeightsError, match=r"preprocess_cfg\.mean is .*three numbers"):
            build(other)


def test_it_counts_what_it_costs(state):
    model = build(state, max_frames=3).eval()
    assert costs_of(model).macs == seen(model, words=model.max_words, frames=3)


def test_captions_of_another_length_are_refused(state):
    model = build(state)
    with pytest.raises(InputError, match=rf"takes \[T, {model.max_words}\]"):
        model.encode_text(torch.zeros(2, 77, dtype=torch.int64))


def test_other_families_are_refused(state):
    with pytest.raises(OptionsError, match=r"model\.family to frozen, not clip4clip"):
        build(state, family="clip4clip")
