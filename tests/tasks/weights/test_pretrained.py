"""Dual encoders of transformers: their features, whole runs from a folder, and what is refused."""

import json

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from reelvec.models.conversion.weights import start
from reelvec.models.costs import costs_of
from reelvec.models.errors import OptionsError, WeightsError
from reelvec.storage.errors import WeightsError as UnreadableError
from reelvec.storage.weights.pretrained import read_pretrained
from reelvec.tasks.training.opening import open_any
from reelvec.tasks.training.starting import build_like, rehearse_start, starting_model
from tests.models.test_costs import seen
from tests.tasks.weights.contracts_pretrained import PretrainedContract, config_of

transformers = pytest.importorskip("transformers", reason="the extra [hf] is not installed")

TOWER = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
}
MEAN, STD = [0.5, 0.4, 0.3], [0.5, 0.25, 0.2]
WORDS = ("a", "the", "red", "blue", "circle", "square", "moves", "left", "right")


def tokenizer():
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel
    from tokenizers.normalizers import Lowercase
    from tokenizers.pre_tokenizers import Whitespace
    from tokenizers.processors import TemplateProcessing

    vocabulary = {w: i for i, w in enumerate(["<pad>", "<unk>", "<s>", *WORDS, "</s>"])}
    inner = Tokenizer(WordLevel(vocabulary, unk_token="<unk>"))
    inner.normalizer, inner.pre_tokenizer = Lowercase(), Whitespace()
    ends = [("<s>", 2), ("</s>", len(vocabulary) - 1)]
    inner.post_processor = TemplateProcessing(single="<s> $A </s>", special_tokens=ends)
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=inner, pad_token="<pad>", unk_token="<unk>", eos_token="</s>"
    )


def clip_model():
    text = TOWER | {"vocab_size": 13, "max_position_embeddings": 10, "bos_token_id": 2}
    text |= {"eos_token_id": 12, "pad_token_id": 0}
    vision = TOWER | {"image_size": 32, "patch_size": 16}
    config = transformers.CLIPConfig(text_config=text, vision_config=vision, projection_dim=24)
    return transformers.CLIPModel(config)


def siglip_model():
    text = TOWER | {"vocab_size": 13, "max_position_embeddings": 10, "projection_size": 32}
    vision = TOWER | {"image_size": 32, "patch_size": 16}
    return transformers.SiglipModel(
        transformers.SiglipConfig(text_config=text, vision_config=vision)
    )


@pytest.fixture(
    scope="module",
    params=[clip_model, siglip_model],
    ids=["clip", "siglip"],
)
def saved(request, tmp_path_factory):
    """A random checkpoint in a folder, as save_pretrained leaves it, and the model."""
    folder = tmp_path_factory.mktemp("hf")
    torch.manual_seed(3)
    model = request.param().eval()
    model.save_pretrained(folder)
    tokenizer().save_pretrained(folder)
    images = {"image_mean": MEAN, "image_std": STD, "size": {"shortest_edge": 32}}
    (folder / "preprocessor_config.json").write_text(json.dumps(images))
    return folder, model


def vectors(found):
    """What transformers gives, as unit vectors."""
    features = found if isinstance(found, torch.Tensor) else found.pooler_output
    return torch.nn.functional.normalize(features, dim=-1)


@torch.no_grad()
def test_features_are_those_of_transformers(saved):
    """The naive twin: the library's own model on one text and on each frame."""
    folder, twin = saved
    model = starting_model(config_of(folder, "unused").model, seed=1).eval()
    texts = ["A red circle moves left", "the square"]
    its_own = transformers.AutoTokenizer.from_pretrained(folder)
    ids = its_own(texts, padding="max_length", max_length=10, return_tensors="pt")["input_ids"]
    tokens = model.tokenize(texts)
    assert torch.equal(tokens, ids) and model.max_words == 10
    text = model.encode_text(tokens)["embedding"]
    torch.testing.assert_close(text, vectors(twin.get_text_features(input_ids=ids)))
    rng = np.random.default_rng(0)
    pixels = torch.from_numpy(rng.integers(0, 256, (1, 2, 32, 32, 3), dtype=np.uint8))
    mask = torch.ones(1, 2, dtype=torch.int64)
    video = model.encode_video(**model.prepare(pixels, mask))["embedding"]
    shown = (pixels[0].permute(0, 3, 1, 2) / 255 - torch.tensor(MEAN)[:, None, None]) / (
        torch.tensor(STD)[:, None, None]
    )
    images = {"pixel_values": shown}
    mean = vectors(twin.get_image_features(**images)).mean(0, keepdim=True)
    torch.testing.assert_close(video[0], vectors(mean)[0], atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(model.logit_scale, twin.logit_scale.reshape(()))


def test_a_clip_without_its_scale_gets_the_first_one(saved):
    """As CLIP4Clip's is saved, in two towers with projections; no other kind may lack it."""
    folder, twin = saved
    state = read_pretrained(f"hf:{folder}")
    without = {key: x for key, x in state.items() if key != "encoder.logit_scale"}
    model = build_like(config_of(folder, "unused").model, state)
    if twin.config.model_type != "clip":
        with pytest.raises(WeightsError, match=r"missing encoder\.logit_scale"):
            start(model, without)
        return
    start(model, without)
    torch.testing.assert_close(model.logit_scale.exp(), torch.tensor(1 / 0.07))
    same = vectors(twin.get_text_features(torch.ones(1, 10, dtype=torch.int64)))
    found = model.encode_text(torch.ones(1, 10, dtype=torch.int64))["embedding"]
    torch.testing.assert_close(found, same)


def test_it_counts_what_it_costs(saved):
    model = starting_model(config_of(saved[0], "unused").model, seed=1).eval()
    frames = model.max_frames
    assert costs_of(model).macs == seen(model, words=10, frames=frames)


class TestTransformersFolder(PretrainedContract):
    @pytest.fixture
    def folder(self, saved):
        return saved[0]

    def width(self, folder):
        kind = json.loads((folder / "config.json").read_text())["model_type"]
        return 24 if kind == "clip" else 32

    def form(self, folder):
        kind = json.loads((folder / "config.json").read_text())["model_type"]
        return {"fit": "squash", "resize": "pillow"} if kind == "siglip" else {}

    def reprocess(self, folder):
        images = {"image_mean": [0.1, 0.1, 0.1], "image_std": STD}
        (folder / "preprocessor_config.json").write_text(json.dumps(images))


def test_shards_are_read_whole(saved, tmp_path):
    folder, _ = saved
    whole = load_file(folder / "model.safetensors")
    names = sorted(whole)
    parts = {"a.safetensors": names[::2], "b.safetensors": names[1::2]}
    for part, keys in parts.items():
        save_file({key: whole[key] for key in keys}, tmp_path / part)
    index = {"weight_map": {key: part for part, keys in parts.items() for key in keys}}
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps(index))
    state = read_pretrained(f"hf:{tmp_path}")
    assert {f"encoder.{name}" for name in names} == set(state) - {"files"}
    index["weight_map"][names[0]] = "../a.safetensors"
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(UnreadableError, match="outside its folder"):
        read_pretrained(f"hf:{tmp_path}")


def test_what_cannot_be_used_says_why(saved, tmp_path, monkeypatch):
    folder, _ = saved
    state = read_pretrained(f"hf:{folder}")
    model = config_of(folder, "unused").model
    with pytest.raises(OptionsError, match=r"model\.family to frozen, not clip4clip"):
        build_like(model.model_copy(update={"family": "clip4clip"}), state)
    key = next(k for k in state if k.endswith("token_embedding.weight"))
    with pytest.raises(WeightsError, match=f"missing {key}"):
        start(build_like(model, state), {k: v for k, v in state.items() if k != key})
    with pytest.raises(UnreadableError, match="pickles are not read"):
        read_pretrained(f"hf:{tmp_path}")
    with pytest.raises(UnreadableError, match="no folder"):
        read_pretrained("hf:./nowhere")
    (tmp_path / "config.json").write_text('{"model_type": "bert"}')
    save_file({"x": torch.ones(1)}, tmp_path / "model.safetensors")
    with pytest.raises(WeightsError, match="'bert' is not supported"):
        build_like(model, read_pretrained(f"hf:{tmp_path}"))
    with pytest.raises(UnreadableError, match=rf"\(hf:{tmp_path}\): .*'bert' is not supported"):
        open_any(f"hf:{tmp_path}")
    (tmp_path / "config.json").unlink()
    lone = rf"\({tmp_path}\) holds no config\.json .*by its own name, as {tmp_path}/model\.safetens"
    with pytest.raises(UnreadableError, match=lone):
        open_any(f"hf:{tmp_path}")
    monkeypatch.setitem(__import__("sys").modules, "transformers", None)
    with pytest.raises(OptionsError, match=r'transformers.*\n?.*pip install "reelvec\[hf\]"'):
        build_like(model, state)
    with pytest.raises(OptionsError, match=r'pip install "reelvec\[hf\]"'):
        rehearse_start(model)  # before any video is decoded
    monkeypatch.setitem(__import__("sys").modules, "huggingface_hub", None)
    with pytest.raises(UnreadableError, match=r'huggingface_hub.*pip install "reelvec\[hf\]"'):
        read_pretrained("hf:org/name")
