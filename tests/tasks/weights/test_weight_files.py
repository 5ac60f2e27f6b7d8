"""Files of the four systems: told apart, loaded strictly, same scores, and given back."""

import contextlib
import json
import os
import sys
import types
from collections import OrderedDict

import pytest
import torch

from reelvec.configs.schema import ModelConfig
from reelvec.flows.cli import main
from reelvec.models.clip.architecture import Architecture, architecture
from reelvec.models.clip.towers import ClipTowers
from reelvec.models.clip.weights import legacy_fp16
from reelvec.models.conversion.exports import export_as
from reelvec.models.conversion.weights import build_for, load_checkpoint, start
from reelvec.models.registry import build
from reelvec.storage.errors import WeightsError
from reelvec.storage.weights.checkpoints import load_checkpoint as read_ours
from reelvec.storage.weights.checkpoints import read_weights, weights_hash
from reelvec.tasks.training.starting import starting_model
from reelvec.tasks.weights.choice import choose_weights
from reelvec.tasks.weights.files import (
    ExportOptions,
    export_file,
    import_file,
    inspect_file,
    name_model,
)
from tests.models.contracts_family import captions, clips, inputs_of

WORDS, FRAMES, SIDE = 32, 12, 32
SIZES = Architecture(
    embed_dim=64,
    image_size=SIDE,
    vision_layers=1,
    vision_width=64,
    patch_size=16,
    text_width=64,
    text_layers=5,
    vocab_size=96,
)
POLICY = {"policy": "mobilenet_v3_large", "hidden_dim": 64, "mlp_hidden_dim": 16, "top_k": 3}
SYSTEMS = {
    "clip4clip": {"sim_header": "seqLSTM", "linear_patch": "3d"},
    "clip2video": {"cross_num_hidden_layers": 2},
    "xclip": {"sim_header": "seqTransf", "cross_num_hidden_layers": 2},
    "adaclip": {**POLICY, "frame_agg": "mlp", "frame_agg_temp": 0.5, "reuse_scores": True},
}
"""A variant of each whose options its file tells."""


def random_model(family, *, seed=0):
    torch.manual_seed(seed)
    model = build(
        family,
        options=SYSTEMS.get(family, {}),
        architecture=SIZES,
        max_words=WORDS,
        max_frames=FRAMES,
    )
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if not name.startswith("clip."):
                parameter.add_(torch.randn_like(parameter) * 0.02)
    return model.eval()


@torch.no_grad()
def scores(model):
    model = model.double().eval()
    text = model.encode_text(captions(5, words=WORDS))
    inputs = inputs_of(model, *clips(4, frames=FRAMES, side=SIDE))
    return model.similarity(text, model.encode_video(**inputs))


def originals_file(family, folder):
    """A file as the system writes it: towers partly fp16, the rest fp32; and its scores."""
    model = random_model(family)
    legacy_fp16(model.clip)
    state = OrderedDict(model.state_dict())
    path = folder / "pytorch_model.bin.3"
    if family != "adaclip":
        torch.save(state, path)
        return path, state, scores(model)
    path = folder / "trained_model.pth"
    with easydict() as make:
        config = export_as(model, "pth")["config"] | {"dataset": "msrvtt", "nested": {"a": [1]}}
        optimizer = {"state": {0: {"step": 1, "next_m": torch.zeros(2)}}, "param_groups": []}
        document = {"arch": "AdaCLIP", "epoch": 7, "state_dict": state}
        torch.save(document | {"config": make(config), "optimizer": optimizer}, path)
    return path, state, scores(model)


class easydict:
    """The package's class, there while a file is written and gone when it is read."""

    def __enter__(self):
        fake = types.ModuleType("easydict")

        class EasyDict(dict):
            def __init__(self, values=None):
                for key, value in (values or {}).items():
                    setattr(self, key, EasyDict(value) if isinstance(value, dict) else value)

            def __setattr__(self, key, value):
                super().__setattr__(key, value)
                super().__setitem__(key, value)

        EasyDict.__module__, EasyDict.__qualname__ = "easydict", "EasyDict"
        fake.EasyDict = EasyDict
        sys.modules["easydict"] = fake
        return EasyDict

    def __exit__(self, *_):
        del sys.modules["easydict"]


def assert_same(found, state):
    assert set(found) == set(state)
    for key, tensor in state.items():
        assert found[key].dtype == tensor.dtype and torch.equal(found[key], tensor), key


@pytest.mark.parametrize("family", SYSTEMS)
def test_a_trained_checkpoint_of_each_system_scores_the_same_here(family, tmp_path):
    path, state, expected = originals_file(family, tmp_path)
    assert_same(read_weights(path), state)
    named = name_model(str(path), family=family)
    options = SYSTEMS[family]
    assert {key: named.settings.options[key] for key in options} == options
    torch.testing.assert_close(scores(named.build()), expected, rtol=0, atol=1e-9)
    chosen = choose_weights(path, store="unused")
    assert chosen.model["family"] == family and chosen.extract == {"size": SIDE}
    model = starting_model(ModelConfig.model_validate(chosen.model), seed=3)
    torch.testing.assert_close(scores(model), expected, rtol=0, atol=1e-9)


@pytest.mark.parametrize("family", SYSTEMS)
def test_a_checkpoint_that_is_not_whole_is_refused(family, tmp_path):
    path, state, _ = originals_file(family, tmp_path)
    key = "clip.visual.ln_post.bias"
    torch.save({k: v for k, v in state.items() if k != key}, path)
    with pytest.raises(WeightsError, match=rf"missing {key}"):
        import_file(str(path), tmp_path / "out.safetensors", family=family)
    torch.save(state | {"clip.visual.odd": torch.ones(1)}, path)
    with pytest.raises(WeightsError, match=r"unexpected clip\.visual\.odd"):
        import_file(str(path), tmp_path / "out.safetensors", family=family)
    assert not (tmp_path / "out.safetensors").exists()


@pytest.mark.parametrize("family", SYSTEMS)
def test_export_inspect_import(family, tmp_path):
    """There and back: the same tensors, a model that is named, and a start for training."""
    path, state, expected = originals_file(family, tmp_path)
    layout = "pth" if family == "adaclip" else "state-dict"
    exported, ours = tmp_path / "again", tmp_path / "ours.safetensors"
    options = ExportOptions(layout=layout, family=family)
    export_file(str(path), exported, store="unused", options=options)
    assert_same(read_weights(exported), state)
    plain = torch.load(exported, weights_only=True)  # as the original does, and torch's default
    if family == "adaclip":
        assert (plain["arch"], plain["epoch"], type(plain["config"])) == ("AdaCLIP", 7, dict)
        assert plain["config"]["num_frm"] == FRAMES and plain["config"]["word_agg"] is None
        plain = plain["state_dict"]
    assert list(plain) == list(state)

    facts = inspect_file(str(exported))
    assert facts["keys"] == len(state) and facts["hash"] == weights_hash(state)
    assert family in [fit["family"] for fit in facts["families"]]
    assert facts["sizes"]["image_size"] == SIDE and set(facts["dtypes"]) >= {"float16", "float32"}

    done = import_file(str(exported), ours, family=family)
    assert_same(read_weights(ours), state)
    assert done["hash"] == facts["hash"] and read_ours(ours).metadata["model"]["family"] == family
    assert [fit["family"] for fit in inspect_file(str(ours))["families"]] == [family]

    model = starting_model(ModelConfig.model_validate(choose_weights(ours, store="").model), seed=9)
    torch.testing.assert_close(scores(model), expected, rtol=0, atol=1e-9)
    model.train()
    logits = model.similarity(
        model.encode_text(captions(4, words=WORDS)),
        model.encode_video(**inputs_of(model, *clips(4, frames=FRAMES, side=SIDE))),
    )
    torch.log_softmax(logits, 1).diagonal().mean().backward()
    assert model.clip.visual.proj.grad.abs().sum() > 0


def test_full_precision_is_kept_when_asked(tmp_path):
    path, ours = tmp_path / "in.bin", tmp_path / "out.bin"
    state = random_model("clip4clip").state_dict()
    torch.save(state, path)
    export_file(str(path), ours, store="unused", options=ExportOptions(full=True))
    assert_same(read_weights(ours), state)
    export_file(str(path), ours, store="unused", options=ExportOptions(force=True))
    assert read_weights(ours)["clip.visual.proj"].dtype == torch.float16


def test_towers_leave_as_an_archive(tmp_path):
    path, out = tmp_path / "in.bin", tmp_path / "clip.pt"
    torch.save(random_model("xclip").state_dict(), path)
    archive = {"store": "unused", "options": ExportOptions("archive")}
    export_file(str(path), out, **archive)
    facts = inspect_file(str(out))
    assert (facts["layout"], facts["families"][0]["family"]) == ("archive", "frozen")
    assert int(read_weights(out)["input_resolution"]) == SIDE
    with pytest.raises(WeightsError, match="AdaCLIP's configuration, which a XClip has not"):
        export_file(str(path), tmp_path / "x.pth", store="unused", options=ExportOptions("pth"))
    assert not (tmp_path / "x.pth").exists()


def test_another_family_is_refused_by_name(tmp_path):
    path, _, _ = originals_file("xclip", tmp_path)
    with pytest.raises(WeightsError, match=r"not of the family \(adaclip\): it fits xclip"):
        name_model(str(path), family="adaclip")
    with pytest.raises(WeightsError, match="did you mean 'xclip'"):
        name_model(str(path), family="xclp")
    torch.save({"conv1.weight": torch.zeros(3)}, path)
    facts = inspect_file(str(path))
    assert facts["families"] == [] and "neither" in facts["problem"]


class Payload:
    """Runs a command when unpickled the ordinary way."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.system, (f"touch {self.path}",)


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("place", ["beside", "inside"])
def test_a_pickle_that_runs_commands_is_refused(zipped, place, tmp_path, monkeypatch, capsys):
    mark, path = tmp_path / "ran", tmp_path / "pytorch_model.bin.0"
    state = random_model("clip4clip").state_dict()
    document = {"state_dict": state, "config": Payload(mark)}
    if place == "inside":
        document = state | {"clip.extra": Payload(mark)}
    torch.save(document, path, _use_new_zipfile_serialization=zipped)
    for command in (["inspect", path], ["import", path, tmp_path / "o"], ["export", path, "o"]):
        monkeypatch.setattr(sys, "argv", ["reelvec", "weights", *map(str, command)])
        with pytest.raises(SystemExit) as stopped:
            main()
        assert stopped.value.code == 1
        assert "Traceback" not in capsys.readouterr().err
    assert not mark.exists() and not (tmp_path / "o").exists()
    torch.load(path, weights_only=False)  # the payload is alive: this is what must not happen
    assert mark.exists()


def test_the_command_line_prints_one_document(tmp_path, monkeypatch, capsys):
    path, state, _ = originals_file("adaclip", tmp_path)

    def call(*words):
        monkeypatch.setattr(sys, "argv", ["reelvec", "weights", *map(str, words)])
        with contextlib.suppress(SystemExit):  # printed nothing where it was an error
            main()
        return capsys.readouterr().out

    facts = json.loads(call("inspect", path, "--json"))
    assert facts["families"][0]["options"]["frame_agg_temp"] == 0.5
    assert "adaclip" in call("inspect", path)
    done = json.loads(call("import", path, tmp_path / "a.safetensors", "--json"))
    assert done["keys"] == len(state)
    assert "adaclip as pth" in call("export", path, tmp_path / "b.pth", "--format", "pth")


# -- archives of the published size ------------------------------------------------------------


@pytest.fixture(scope="module")
def archives(tmp_path_factory):
    """A random ViT-B/32 with OpenAI's keys and types, as TorchScript and as state dict."""
    folder = tmp_path_factory.mktemp("archives")
    torch.manual_seed(0)
    towers = ClipTowers(architecture("ViT-B/32"))
    legacy_fp16(towers)
    numbers = {"input_resolution": 224, "context_length": 77, "vocab_size": 49408}
    for name, value in numbers.items():
        towers.register_buffer(name, torch.tensor(value))
    state = towers.state_dict()
    torch.save(state, folder / "state.pt")
    example = {"encode_text": torch.tensor([[49406, 49407]])}
    with torch.no_grad():
        torch.jit.trace_module(towers.eval(), example, check_trace=False).save(
            str(folder / "ViT-B-32.pt")
        )
    return folder, dict(state)


PUBLISHED = [
    ("clip4clip", {"sim_header": "meanP"}, 302),
    ("clip4clip", {"sim_header": "meanP", "linear_patch": "3d"}, 303),
    ("clip2video", {}, 380),
    ("xclip", {"sim_header": "seqTransf"}, 359),
    ("adaclip", {"policy": "mobilenet_v3_large", "frame_agg": "mlp"}, 637),
    ("frozen", {}, 302),
]


@pytest.mark.slow
def test_archives_of_both_kinds_hold_the_same(archives):
    folder, state = archives
    assert len(state) == 305
    halves = sum(tensor.dtype == torch.float16 for tensor in state.values())
    assert halves == 195
    for name, container in (
        ("state.pt", "torch.save of a state dict"),
        ("ViT-B-32.pt", "TorchScript archive"),
    ):
        assert_same(read_weights(folder / name), state)
        facts = inspect_file(str(folder / name))
        assert (facts["container"], facts["layout"]) == (container, "archive")
        assert facts["families"][0]["family"] == "frozen"
        assert facts["sizes"] == vars(architecture("ViT-B/32"))


@pytest.mark.slow
@pytest.mark.parametrize(("family", "options", "keys"), PUBLISHED)
def test_an_archive_of_the_published_size_starts_each_family(archives, family, options, keys):
    """Shapes on the meta device; the tower's numbers for one family."""
    state = archives[1]
    real = family == "xclip"
    with torch.device("cpu" if real else "meta"):
        model = build_for(state, family=family, options=options, max_words=32, max_frames=12)
    start(model, state)
    found = model.state_dict()
    assert len(found) == keys
    towers = {k.removeprefix("clip."): v for k, v in found.items() if k.startswith("clip.")}
    assert all(towers[key].shape == tensor.shape for key, tensor in state.items() if tensor.ndim)
    if real:
        assert all(
            torch.equal(towers[key], tensor.float()) for key, tensor in state.items() if tensor.ndim
        )
    if real:
        load_checkpoint(model, export_as(model, "state-dict"))
