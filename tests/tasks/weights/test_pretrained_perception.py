"""PE-core in OpenCLIP's layout: whole runs from a folder without transformers, and the layout."""

import copy
import fnmatch
import json
import sys
import types

import pytest
import torch
from safetensors.torch import save_file

from reelvec.storage.errors import WeightsError
from reelvec.storage.weights.paths import existing_file
from reelvec.storage.weights.pretrained import read_pretrained
from tests.models.frozen.perception_checkpoints import golden, save_checkpoint, tensors_of
from tests.tasks.weights.contracts_pretrained import PretrainedContract

LABEL = "class-token"


@pytest.fixture(autouse=True)
def alone(monkeypatch):
    """Nothing of the extra `[hf]`."""
    for package in ("transformers", "huggingface_hub"):
        monkeypatch.setitem(sys.modules, package, None)


@pytest.fixture
def folder(tmp_path):
    """A random checkpoint of 32-pixel frames."""
    config = copy.deepcopy(golden(LABEL)[1]["config"])
    config["model_cfg"]["vision_cfg"]["image_size"] = 32
    tensors = dict(tensors_of(LABEL))
    generator = torch.Generator().manual_seed(3)
    tensors["visual.trunk.pos_embed"] = torch.randn(1, 8 * 8 + 1, 24, generator=generator)
    place = tmp_path / "pe-core"
    place.mkdir()
    return save_checkpoint(place, LABEL, tensors=tensors, config=config)


class TestOpenClipFolder(PretrainedContract):
    def width(self, folder):
        return 20

    def form(self, folder):
        del folder
        return {"fit": "squash", "interpolation": "bilinear", "resize": "pillow"}

    def reprocess(self, folder):
        path = folder / "open_clip_config.json"
        config = json.loads(path.read_text())
        config["preprocess_cfg"]["mean"] = [0.1, 0.1, 0.1]
        path.write_text(json.dumps(config))


def test_a_folder_of_both_layouts_is_read_as_transformers(folder):
    save_file({"x": torch.ones(1)}, folder / "model.safetensors")
    (folder / "config.json").write_text("{}")
    state = read_pretrained(f"hf:{folder}")
    assert set(state) == {"encoder.x", "files"}
    assert b"open_clip" not in state["files"].numpy().tobytes()


def test_only_the_configuration_is_kept_beside_the_tensors(folder):
    before = read_pretrained(f"hf:{folder}")["files"]
    (folder / "tokenizer.json").write_text("{}")
    assert torch.equal(read_pretrained(f"hf:{folder}")["files"], before)


def test_tensors_without_their_configuration_are_refused(folder):
    with pytest.raises(WeightsError, match=f"is named hf:{folder}"):
        existing_file(folder)
    (folder / "open_clip_config.json").unlink()
    with pytest.raises(WeightsError, match=r"without open_clip_config\.json.*put the checkpoint's"):
        read_pretrained(f"hf:{folder}")


def test_the_hub_is_asked_for_what_is_read(folder, monkeypatch):
    asked = {}

    def snapshot_download(name, *, revision, allow_patterns):
        wanted = [path.name for path in folder.iterdir()]
        found = [n for n in wanted if any(fnmatch.fnmatch(n, p) for p in allow_patterns)]
        asked.update(name=name, revision=revision, found=sorted(found))
        return str(folder)

    hub = types.SimpleNamespace(snapshot_download=snapshot_download)
    monkeypatch.setitem(sys.modules, "huggingface_hub", hub)
    (folder / "open_clip_pytorch_model.bin").touch()
    assert read_pretrained("hf:timm/PE-Core-B-16@main").keys() == (
        read_pretrained(f"hf:{folder}").keys()
    )
    files = ["open_clip_config.json", "open_clip_model.safetensors"]
    assert asked == {"name": "timm/PE-Core-B-16", "revision": "main", "found": files}


def test_the_hub_needs_its_package():
    with pytest.raises(WeightsError, match=r'huggingface_hub.*pip install "reelvec\[hf\]"'):
        read_pretrained("hf:timm/PE-Core-B-16")
