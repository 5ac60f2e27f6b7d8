"""SigLIP 2 NaFlex from a folder, against transformers' own model and image processor."""

import numpy as np
import pytest
import torch

from reelvec.models.costs import costs_of
from reelvec.models.errors import InputError, OptionsError, WeightsError
from reelvec.models.frozen.clip import FrozenOptions
from reelvec.models.frozen.clips import Clip
from reelvec.models.frozen.kinds import build_frozen, own_input_of
from reelvec.models.frozen.naflex import NaFlex, grid_of
from reelvec.storage.weights.pretrained import read_pretrained
from tests.support import native_models

transformers = pytest.importorskip("transformers", minversion="5.0", reason="it is newer")
SHAPES = [(48, 64), (100, 37), (20, 300), (16, 16), (5, 7)]


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    folder = tmp_path_factory.mktemp("naflex")
    twin = native_models.naflex(folder)
    state = read_pretrained(f"hf:{folder}")
    model = build_frozen(state, options=FrozenOptions(), max_frames=4).eval()
    model.load_state_dict(state, strict=True)
    return folder, state, model, twin


def clip_of(height, width, *, frames=3):
    levels = np.random.default_rng(height).integers(0, 256, (frames, height, width, 3), np.uint8)
    seconds = torch.arange(frames, dtype=torch.float64)
    return Clip(frames=torch.from_numpy(levels), seconds=seconds, size=(height, width))


@torch.no_grad()
@pytest.mark.parametrize("shape", SHAPES)
def test_pixels_and_vectors_are_those_of_transformers(saved, shape, monkeypatch):
    """0 levels from the library's image processor; vectors of padded patches, by its own mask."""
    folder, _, model, twin = saved
    clip, shown = clip_of(*shape), []
    images = transformers.Siglip2ImageProcessorPil.from_pretrained(folder)
    wanted = images(list(clip.frames.numpy()), return_tensors="pt")
    real = type(model.encoder).get_image_features

    def watched(encoder, **given):
        shown.append(given)
        return real(encoder, **given)

    monkeypatch.setattr(type(model.encoder), "get_image_features", watched)
    found = model.encode_clip(clip)["embedding"]
    (given,) = shown
    rows, columns = wanted["spatial_shapes"][0].tolist()
    assert given["spatial_shapes"].tolist() == wanted["spatial_shapes"].tolist()
    assert rows * columns <= 12 and bool(wanted["pixel_attention_mask"][:, : rows * columns].all())
    std = torch.tensor([0.5, 0.4, 0.6]).repeat(256)
    both = given["pixel_values"], wanted["pixel_values"][:, : rows * columns]
    levels = [((x * std + 0.5) * 255).round() for x in both]
    assert torch.equal(*levels)
    torch.testing.assert_close(*both, rtol=0, atol=1e-6)
    vectors = torch.nn.functional.normalize(twin.get_image_features(**wanted).pooler_output, dim=-1)
    mean = torch.nn.functional.normalize(vectors.mean(dim=0), dim=-1)
    torch.testing.assert_close(found[0], mean, rtol=0, atol=1e-6)


@torch.no_grad()
def test_texts_are_those_of_transformers(saved):
    folder, _, model, twin = saved
    texts = ["a man runs", ""]
    its_own = transformers.AutoTokenizer.from_pretrained(folder)
    ids = its_own(texts, padding="max_length", max_length=24, return_tensors="pt")["input_ids"]
    assert torch.equal(model.tokenize(texts), ids)
    wanted = torch.nn.functional.normalize(twin.get_text_features(ids).pooler_output, dim=-1)
    found = model.encode_text(model.tokenize(texts))["embedding"]
    torch.testing.assert_close(found, wanted, rtol=0, atol=1e-6)
    assert model.logit_scale == twin.logit_scale.reshape(())


def test_the_grid_is_that_of_the_library():
    from transformers.models.siglip2 import image_processing_pil_siglip2 as its_own

    for height, width in [*SHAPES, (480, 640), (1080, 1920), (1920, 1080), (1, 4000)]:
        for patches in (1, 12, 256):
            sides = its_own.get_image_size_for_max_num_patches(height, width, 16, patches)
            rows, columns = grid_of(height, width, patches=patches, patch=16)
            assert (rows * 16, columns * 16) == tuple(sides)
    assert grid_of(480, 640, patches=256, patch=16) == (14, 18)


@torch.no_grad()
def test_a_smaller_stored_form_keeps_the_grid_of_the_original(saved):
    model = saved[2]
    clip = clip_of(96, 128)
    small = torch.nn.functional.interpolate(
        clip.frames.permute(0, 3, 1, 2).float(), size=(72, 96), mode="bilinear", antialias=True
    )
    small = small.round().to(torch.uint8).permute(0, 2, 3, 1)
    stored = Clip(frames=small, seconds=clip.seconds, size=clip.size)
    both = [model.encode_clip(one)["embedding"][0] for one in (clip, stored)]
    assert 0 < (both[0] - both[1]).abs().max() < 0.1 and both[0] @ both[1] > 0.99


def test_what_it_says_costs_and_refuses(saved):
    _, state, model, _ = saved
    form = own_input_of(state["files"]).form
    assert (form.fit, form.interpolation, form.resize) == ("native", "bilinear", "pillow")
    assert costs_of(model).macs.video % 4 == 0
    with pytest.raises(InputError, match="1 to 4"):
        model.encode_clip(clip_of(20, 20, frames=5))
    with pytest.raises(OptionsError, match="dimensions: SigLIP 2 NaFlex has no such option"):
        build_frozen(state, options=FrozenOptions(dimensions=8), max_frames=4)
    with pytest.raises(WeightsError, match="num_hidden_layers"):
        NaFlex.own_input({"config.json": b'{"text_config": {"num_hidden_layers": 100000}}'})
