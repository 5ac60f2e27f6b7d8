"""Weights as people have them: behind wrappers, nested, beside other things, under other names."""

import json
from collections import OrderedDict, defaultdict
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from reelvec.models.clip.architecture import Architecture
from reelvec.models.registry import build
from reelvec.storage.errors import WeightsError
from reelvec.storage.weights.checkpoints import open_weights, read_weights, weights_hash
from reelvec.tasks.training.opening import open_any, read_start
from reelvec.tasks.weights.files import import_file, inspect_file, name_model
from tests.drills.hostile_weights import SIZES, good
from tests.models.contracts_family import captions, clips, inputs_of

WRAPPERS = [
    "module.",
    "_orig_mod.",
    "module._orig_mod.",
    "_orig_mod.module.",
    "module.module.",
    "_fsdp_wrapped_module.",
    "model.",
    "net.model.",
    "student.",
]


@pytest.fixture(scope="module")
def state():
    return good()


def assert_is(path, state):
    """The file is read, inspected and imported as these very tensors."""
    facts = inspect_file(str(path))
    assert facts["hash"] == weights_hash(state) and "problem" not in facts, facts.get("problem")
    assert facts["families"][0]["family"] == "clip4clip"
    done = import_file(str(path), Path(f"{path}.out"), force=True)
    assert done["hash"] == facts["hash"]
    assert weights_hash(read_start(str(path))) == facts["hash"]


@pytest.mark.parametrize("prefix", WRAPPERS)
@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
def test_what_every_name_carries_is_taken_off(prefix, suffix, tmp_path, state):
    path = tmp_path / f"w{suffix}"
    wrapped = {prefix + key: tensor for key, tensor in state.items()}
    (torch.save if suffix == ".pt" else save_file)(wrapped, path)
    assert_is(path, state)


def test_compiled_parts_and_averaged_models(tmp_path, state):
    inner = {key.replace("transformer.", "transformer._orig_mod."): x for key, x in state.items()}
    torch.save(inner, tmp_path / "part.pt")
    assert_is(tmp_path / "part.pt", state)
    averaged = {f"module.{key}": tensor for key, tensor in state.items()}
    torch.save({"n_averaged": torch.tensor(3)} | averaged, tmp_path / "mean.pt")
    assert_is(tmp_path / "mean.pt", state)


def test_names_of_ours_stay_as_they_are(tmp_path, state):
    """All of a mean-pooled CLIP4Clip begin with `clip.`, and no prefix but a wrapper's is one."""
    torch.save(state, tmp_path / "w.pt")
    assert set(open_any(str(tmp_path / "w.pt")).tensors) == set(state)
    odd = {"conv1.weight": torch.ones(1), "conv1.bias": torch.ones(1)}
    torch.save(odd, tmp_path / "odd.pt")
    assert set(read_weights(tmp_path / "odd.pt")) == set(odd)
    archive = {key.removeprefix("clip."): tensor for key, tensor in state.items()}
    save_file(archive, tmp_path / "a.safetensors")
    assert set(open_any(str(tmp_path / "a.safetensors")).tensors) == set(archive)


@pytest.mark.parametrize(
    "names",
    [("state_dict",), ("model",), ("weights",), ("net",), ("checkpoint", "model", "params")],
)
@pytest.mark.parametrize("zipped", [True, False])
def test_state_dicts_are_found_under_whatever_name(names, zipped, tmp_path, state):
    nested = OrderedDict(state)
    for name in reversed(names):
        nested = {name: nested, "epoch": 3}
    beside = {
        "best": np.float64(44.5),
        "step": np.int64(7),
        "curve": np.arange(4.0),
        "settings": SimpleNamespace(rate=1e-4, path=Path("x")),
        "counts": defaultdict(int, a=1),
        "optimizer": {"state": {0: {"exp_avg": torch.ones(2)}}, "param_groups": [{"lr": 0.1}]},
        ("a", "tuple"): 1,
    }
    torch.save(beside | nested, tmp_path / "w.pt", _use_new_zipfile_serialization=zipped)
    assert_is(tmp_path / "w.pt", state)
    assert open_weights(tmp_path / "w.pt").facts == {"epoch": 3}


def test_numbers_of_numpy_are_numbers(tmp_path, state):
    torch.save({"state_dict": state, "epoch": np.int64(7), "arch": np.float32(0.5)}, tmp_path / "w")
    assert open_weights(tmp_path / "w").facts == {"epoch": 7, "arch": 0.5}


def test_of_two_state_dicts_none_is_guessed(tmp_path, state):
    torch.save({"student": state, "teacher": state | {"x": torch.ones(1)}}, tmp_path / "w.pt")
    with pytest.raises(WeightsError, match=r"2 state dicts \(student, teacher\); save the one"):
        read_weights(tmp_path / "w.pt")


# -- transformers' names ---------------------------------------------------------------------


def theirs():
    transformers = pytest.importorskip("transformers")
    tower = {"hidden_size": 64, "intermediate_size": 256, "num_attention_heads": 1}
    text = {"vocab_size": 96, "max_position_embeddings": 77, "eos_token_id": 95}
    config = transformers.CLIPConfig(
        text_config=tower | text | {"num_hidden_layers": 2, "bos_token_id": 94},
        vision_config=tower | {"num_hidden_layers": 1, "image_size": 32, "patch_size": 16},
        projection_dim=64,
    )
    torch.manual_seed(1)
    return transformers.CLIPModel(config).eval()


@torch.no_grad()
@pytest.mark.parametrize("prefix", ["", "model."])
def test_transformers_names_give_transformers_vectors(prefix, tmp_path):
    model, path = theirs(), tmp_path / "w.pt"
    for parameter in model.parameters():
        parameter.add_(torch.randn_like(parameter) * 0.05)
    torch.save({prefix + key: tensor for key, tensor in model.state_dict().items()}, path)
    named = name_model(str(path))
    assert named.family == "frozen" and "quick GELU" in named.file.container
    ours = named.build().eval()
    frames = torch.randn(3, 3, 32, 32)
    tokens = torch.randint(1, 90, (2, 32))
    tokens[:, 9] = 95  # the end token is the largest
    tokens[:, 10:] = 0
    expected = model.get_image_features(pixel_values=frames)
    expected = getattr(expected, "pooler_output", expected)
    torch.testing.assert_close(ours.encode_frames(frames[None])[0], expected, atol=1e-5, rtol=0)
    words = model.get_text_features(input_ids=tokens)
    words = torch.nn.functional.normalize(getattr(words, "pooler_output", words), dim=-1)
    found = ours.encode_text(tokens).tensors["embedding"]
    torch.testing.assert_close(found, words, atol=1e-5, rtol=0)


def test_another_activation_beside_it_is_refused(tmp_path):
    torch.save(theirs().state_dict(), tmp_path / "w.pt")
    (tmp_path / "config.json").write_text(json.dumps({"text_config": {"hidden_act": "gelu"}}))
    with pytest.raises(WeightsError, match=rf"activation is gelu, quick_gelu.*hf:{tmp_path}"):
        open_any(str(tmp_path / "w.pt"))
    (tmp_path / "config.json").write_text("[]")
    assert "visual.proj" in open_any(str(tmp_path / "w.pt")).tensors


def test_transformers_names_of_another_model_are_said(tmp_path):
    torch.save(
        {"vision_model.head.probe": torch.ones(1), "text_model.x": torch.ones(1)}, tmp_path / "s"
    )
    assert "give the folder" in inspect_file(str(tmp_path / "s"))["problem"]


# -- modules that idle -----------------------------------------------------------------------

WIDE = Architecture(**{**vars(SIZES), "text_layers": 4})


@torch.no_grad()
@pytest.mark.parametrize(
    ("options", "idle"),
    [
        ({"temporal_type": "", "temporal_proj": "", "center_type": "", "center_proj": ""},
         {"frame2t_attention": 1, "actionClip": 1}),
        ({"temporal_type": "", "temporal_proj": "", "center_type": "TAB", "center_proj": ""},
         {"frame2t_projection": 0}),
    ],
)  # fmt: skip
def test_a_clip2video_with_idle_modules_loads(options, idle, tmp_path):
    torch.manual_seed(0)
    sizes = {"architecture": WIDE, "max_words": 32, "max_frames": 12}
    whole = build("clip2video", options={}, **sizes).state_dict()
    model = build("clip2video", options=options | {"cross_num_hidden_layers": 2}, **sizes).eval()
    state = model.state_dict()
    for module, blocks in idle.items():
        if blocks:
            state |= {key: x for key, x in whole.items() if key.startswith(f"{module}.")}
        else:
            state[module] = torch.ones(64, 64)
    torch.save(state, tmp_path / "w.bin")
    named = name_model(str(tmp_path / "w.bin"), family="clip2video")
    found = named.build().eval()
    inputs = inputs_of(model, *clips(2, frames=12, side=32))
    text = captions(3, words=32)
    torch.testing.assert_close(
        found.similarity(found.encode_text(text), found.encode_video(**inputs)),
        model.similarity(model.encode_text(text), model.encode_video(**inputs)),
        atol=1e-5,
        rtol=0,
    )
    torch.save(state | {"type_position_embeddings.weight": torch.ones(3, 64)}, tmp_path / "x.bin")
    with pytest.raises(WeightsError):
        name_model(str(tmp_path / "x.bin"), family="clip2video")
