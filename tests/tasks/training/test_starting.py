"""What a training starts from: the ImageNet weights of AdaCLIP's policy beside a CLIP."""

import pytest
import torch

from reelvec.configs import ConfigError, PipelineConfig
from reelvec.configs.schema import ModelConfig
from reelvec.models.adaclip.mobilenet import NETWORKS
from reelvec.models.errors import OptionsError, WeightsError
from reelvec.storage.errors import WeightsError as FileError
from reelvec.storage.layout import fingerprint
from reelvec.storage.weights.checkpoints import WEIGHTS, save_checkpoint, weights_hash
from reelvec.tasks.runs.preflight import check_config, checked_config
from reelvec.tasks.training.identity import Start, checkpoint_identity
from reelvec.tasks.training.starting import hashes_of_start, rehearse_start, starting_model
from tests.tasks.training.builders import MAX_WORDS, SIZE, small_model

POLICY = {"policy": "mobilenet_v2", "top_k": 2, "freeze_cnn": True, "hidden_dim": 64}
CNN = "sampler.cnn_model."


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """A CLIP archive, and ImageNet weights as torchvision publishes them: a pickled state dict."""
    folder = tmp_path_factory.mktemp("weights")
    clip = {WEIGHTS + key: x for key, x in small_model().clip.state_dict().items()}
    save_checkpoint(folder / "clip.safetensors", tensors=clip, metadata={})
    torch.manual_seed(4)
    network = NETWORKS["mobilenet_v2"]()
    classes = {"classifier.1.weight": torch.ones(9, 1280), "classifier.1.bias": torch.ones(9)}
    torch.save(network.state_dict() | classes, folder / "mobilenet.pth")
    return folder


def model_of(files, **fields):
    given = {
        "family": "adaclip",
        "options": POLICY,
        "weights": str(files / "clip.safetensors"),
        "policy_weights": str(files / "mobilenet.pth"),
        "max_words": MAX_WORDS,
        "max_frames": 3,
    }
    return ModelConfig.model_validate(given | fields)


def config_of(model):
    return PipelineConfig(extract={"size": SIZE}, model=model, train={"device": "cpu"})


def identity_of(model):
    start = hashes_of_start(model)
    config = config_of(model)
    return checkpoint_identity(config, start=start, corpus="c", frames="f", training_set="t")


def test_the_policy_starts_from_its_file_and_the_rest_as_ever(files):
    published = torch.load(files / "mobilenet.pth")
    before = torch.get_rng_state()
    assert rehearse_start(model_of(files)).size == SIZE
    assert torch.equal(torch.get_rng_state(), before)
    found = starting_model(model_of(files), seed=1).state_dict()
    plain = starting_model(model_of(files, policy_weights=None), seed=1).state_dict()
    assert found.keys() == plain.keys()
    for key, tensor in found.items():
        wanted = published[key.removeprefix(CNN)] if key.startswith(CNN) else plain[key]
        assert torch.equal(tensor, wanted), key
    assert not torch.equal(plain[f"{CNN}features.0.0.weight"], found[f"{CNN}features.0.0.weight"])


def test_the_files_tensors_are_part_of_the_identity_and_its_name_is_not(files, tmp_path):
    model = model_of(files)
    published = torch.load(files / "mobilenet.pth")
    assert hashes_of_start(model).policy == weights_hash(published)
    torch.save(published, tmp_path / "renamed.pth")
    renamed = model_of(files, policy_weights=str(tmp_path / "renamed.pth"))
    assert identity_of(renamed) == identity_of(model)
    published["features.0.0.weight"][0, 0, 0, 0] += 1
    torch.save(published, tmp_path / "other.pth")
    other = model_of(files, policy_weights=str(tmp_path / "other.pth"))
    assert fingerprint(identity_of(other)) != fingerprint(identity_of(model))
    plain = model_of(files, policy_weights=None)
    assert hashes_of_start(plain) == Start(hashes_of_start(model).weights, None)
    assert identity_of(plain) == {
        k: x for k, x in identity_of(model).items() if k != "policy_start"
    }


def test_a_path_means_the_same_from_everywhere(files, monkeypatch):
    monkeypatch.chdir(files)
    here = model_of(files, policy_weights="mobilenet.pth")
    assert checked_config(config_of(here)).model.policy_weights == str(files / "mobilenet.pth")


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"policy_weights": "gone.pth"}, r"\(gone.pth\) is not there; give .*torchvision"),
        ({"policy_weights": "."}, "is a folder; name the file in it"),
        ({"options": {}}, "policy none has no use .*mobilenet_v2, mobilenet_v3_large"),
        ({"options": {"policy": "raw", "top_k": 2}}, "policy raw has no use .*policy_weights out"),
        ({"family": "clip4clip", "options": {}}, "Clip4Clip has no policy"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_said_before_anything_is_decoded(files, fields, message):
    with pytest.raises(ConfigError, match=message):
        check_config(config_of(model_of(files, **fields)))


def test_other_weights_are_refused_by_the_tensors_that_do_not_fit(files):
    options = POLICY | {"policy": "mobilenet_v3_large"}
    for model in (model_of(files, options=options), model_of(files, options=options, weights=None)):
        with pytest.raises(
            WeightsError, match=r"missing features.*mobilenet_v3_large-8738ca79.pth"
        ):
            rehearse_start(model)
    text = files / "page.pth"
    text.write_text("<!DOCTYPE html><html></html>")
    with pytest.raises(FileError, match=r"page\.pth"):
        rehearse_start(model_of(files, policy_weights=str(text)))


def test_a_checkpoint_brings_its_own(files, tmp_path):
    state = starting_model(model_of(files), seed=1).state_dict()
    path = tmp_path / "whole.safetensors"
    save_checkpoint(path, tensors={WEIGHTS + key: x for key, x in state.items()}, metadata={})
    with pytest.raises(OptionsError, match=r"set model.policy_weights=null"):
        rehearse_start(model_of(files, weights=str(path)))
    again = starting_model(model_of(files, weights=str(path), policy_weights=None), seed=2)
    assert all(torch.equal(x, state[key]) for key, x in again.state_dict().items())
