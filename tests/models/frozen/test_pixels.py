"""Frames in the form of a model's own image processor, against that processor: 0 levels."""

import json

import numpy as np
import pytest
import torch

from reelvec.configs.decoding import FrameForm
from reelvec.models.errors import WeightsError
from reelvec.models.frozen.perception import PerceptionEncoder
from reelvec.models.frozen.preprocessing import preprocessing_of
from reelvec.storage.video.transform import fit
from reelvec.tasks.reports.model_facts import pixel_words

transformers = pytest.importorskip("transformers", reason="the extra [hf] is not installed")

SIDE = 48
PLAIN = {"image_mean": [0.5] * 3, "image_std": [0.5] * 3}


def form_of(kind, images):
    config = {"model_type": kind, "vision_config": {"image_size": SIDE}}
    files = {"config.json": config, "preprocessor_config.json": PLAIN | images}
    return preprocessing_of({name: json.dumps(x).encode() for name, x in files.items()}).form


def fitted(picture, form):
    out = np.empty((form.size, form.size, 3), np.uint8)
    fit(
        picture,
        size=form.size,
        out=out,
        how=form.resize,
        fit=form.fit,
        interpolation=form.interpolation,
    )
    return out


@pytest.mark.parametrize("resample", [2, 3], ids=["bilinear", "bicubic"])
@pytest.mark.parametrize("shape", [(70, 130), (131, 60), (30, 41), (SIDE, SIDE)], ids=str)
def test_siglip_squashes_as_its_processor_does(resample, shape):
    from transformers.models.siglip.image_processing_pil_siglip import SiglipImageProcessorPil

    size = {"height": SIDE, "width": SIDE}
    processor = SiglipImageProcessorPil(size=size, resample=resample)
    picture = np.random.default_rng(resample).integers(0, 256, (*shape, 3), np.uint8)
    form = form_of("siglip", {"size": size, "resample": resample})
    own = processor(picture, do_rescale=False, do_normalize=False, return_tensors="np")
    assert np.array_equal(fitted(picture, form), own["pixel_values"][0].transpose(1, 2, 0))
    # torch's resizing of uint8 is that of the processors that torchvision backs
    if shape != (SIDE, SIDE):
        fast = torch.nn.functional.interpolate(
            torch.from_numpy(picture).permute(2, 0, 1)[None].contiguous(),
            size=(SIDE, SIDE),
            mode=form.interpolation,
            antialias=True,
        )
        ours = fitted(picture, form.model_copy(update={"resize": "torch"}))
        assert np.array_equal(ours, fast[0].permute(1, 2, 0).numpy())


def test_a_clip_crops_unless_its_processor_says_otherwise():
    cropped = {"size": {"shortest_edge": SIDE}, "do_center_crop": True, "resample": 3}
    assert form_of("clip", cropped) == FrameForm(size=SIDE) == form_of("clip", {"size": SIDE})
    squashed = {"size": {"height": SIDE, "width": SIDE}, "resample": 2}
    assert form_of("metaclip_2", squashed) == FrameForm(
        size=SIDE, fit="squash", interpolation="bilinear", resize="pillow"
    )


def files_of(preprocessing):
    config = {
        "model_cfg": {"vision_cfg": {"image_size": SIDE}},
        "preprocess_cfg": {"mean": [0.5] * 3, "std": [0.5] * 3} | preprocessing,
    }
    return {"open_clip_config.json": json.dumps(config).encode()}


def test_pe_core_squashes_where_its_configuration_says_so():
    found = PerceptionEncoder.own_input(
        files_of({"resize_mode": "squash", "interpolation": "bilinear"})
    ).form
    assert found == FrameForm(size=SIDE, fit="squash", interpolation="bilinear", resize="pillow")
    assert PerceptionEncoder.own_input(files_of({})).form == FrameForm(size=SIDE, resize="pillow")
    with pytest.raises(WeightsError, match=r"resize_mode \(longest\)"):
        PerceptionEncoder.own_input(files_of({"resize_mode": "longest"}))


def test_a_report_says_whose_pixels_they_are():
    own = FrameForm(size=224, fit="squash", interpolation="bilinear", resize="pillow")
    same = own.model_copy(update={"resize": "torch"})
    assert pixel_words(same, own=own) == "own: squash, 224, bilinear, resized by torch"
    said = pixel_words(FrameForm(size=336, fit="native"), own=own)
    assert said == (
        "derived: native, shorter side at most 336, bicubic, where the model's own are squash,"
        " 224, bilinear"
    )
