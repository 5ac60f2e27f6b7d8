"""Weights of the four systems: told apart, loaded strictly, started from CLIP, given back."""

import pytest
import torch

from reelvec.models.clip.weights import is_half
from reelvec.models.conversion.recognition import recognise
from reelvec.models.conversion.weights import (
    architecture_of,
    export_checkpoint,
    export_clip,
    layout_of,
    load_checkpoint,
    start,
    to_legacy_fp16,
)
from reelvec.models.errors import OptionsError, WeightsError
from reelvec.models.family import RetrievalModel
from tests.models.contracts_family import SIZES, captions, clips, inputs_of, make
from tests.parity.init import clip_archive

HEADERS = ("meanP", "seqLSTM", "seqTransf", "tightTransf")


def variant(header, *, patch="2d", seed=0):
    options = {"sim_header": header, "linear_patch": patch, "cross_num_hidden_layers": 2}
    return make("clip4clip", options, seed=seed)


@torch.no_grad()
def scores(model):
    return model.similarity(
        model.encode_text(captions(4)), model.encode_video(**inputs_of(model, *clips(4)))
    )


@pytest.mark.parametrize("header", HEADERS)
@pytest.mark.parametrize("patch", ["2d", "3d"])
def test_a_checkpoint_there_and_back(header, patch):
    model, other = variant(header, patch=patch), variant(header, patch=patch, seed=9)
    load_checkpoint(other, export_checkpoint(model, half=False))
    assert torch.equal(scores(model), scores(other))
    shared = export_checkpoint(model, half=False)
    own = {parameter.data_ptr() for parameter in model.parameters()}
    assert not {tensor.data_ptr() for tensor in shared.values()} & own
    state = export_checkpoint(model)
    for key, tensor in state.items():
        half = key.startswith("clip.") and is_half(key)
        assert tensor.dtype == (torch.float16 if half else torch.float32), key
    ((family, settings),) = [found for found in recognise(state) if found[0] == "clip4clip"]
    wanted = {"sim_header": header, "linear_patch": patch}
    if header in ("seqTransf", "tightTransf"):
        wanted["cross_num_hidden_layers"] = 2
    assert family == "clip4clip" and settings.options == wanted
    assert architecture_of(state, head_dim=16) == SIZES


def test_another_variants_checkpoint_is_refused():
    with pytest.raises(WeightsError, match="unexpected frame_position_embeddings"):
        load_checkpoint(variant("meanP"), export_checkpoint(variant("seqTransf")))
    with pytest.raises(WeightsError, match=r"missing frame_position_embeddings\.weight"):
        load_checkpoint(variant("seqTransf"), export_checkpoint(variant("meanP")))
    with pytest.raises(WeightsError, match=r"missing lstm_visual"):
        start(variant("seqLSTM"), export_checkpoint(variant("seqTransf")))


def test_start_from_a_mean_pooled_checkpoint_takes_headers_from_its_clip():
    """Headers are filled only where no key of them exists (specs/clip4clip-clip2video.md 7.2)."""
    trained = export_checkpoint(variant("meanP"), half=False)
    model = variant("seqTransf", patch="3d", seed=5)
    start(model, trained)
    state = model.state_dict()
    assert torch.equal(
        state["frame_position_embeddings.weight"], trained["clip.positional_embedding"]
    )
    for i in range(2):
        for part in ("attn.in_proj_weight", "mlp.c_proj.bias", "ln_2.weight"):
            source = trained[f"clip.transformer.resblocks.{i}.{part}"]
            assert torch.equal(state[f"transformerClip.resblocks.{i}.{part}"], source)
    middle = state["clip.visual.conv2.weight"][:, :, 1]
    assert torch.equal(middle, trained["clip.visual.conv1.weight"])


def test_start_from_a_whole_checkpoint_keeps_its_header():
    trained = variant("seqTransf")
    model = variant("seqTransf", seed=5)
    start(model, export_checkpoint(trained, half=False))
    assert torch.equal(scores(model), scores(trained))


def test_archives_are_told_from_checkpoints():
    archive = clip_archive()
    assert layout_of(archive) == "archive"
    assert recognise(archive)[0][0] == "frozen"
    assert architecture_of(archive, head_dim=16).text_layers == 6
    with pytest.raises(WeightsError, match=r"neither `visual\.proj`"):
        layout_of({"model.weight": torch.zeros(1)})
    assert not [
        f
        for f, _ in recognise(export_checkpoint(variant("meanP")) | {"odd": torch.ones(1)})
        if f == "clip4clip"
    ]


def test_towers_back_to_an_archive():
    archive = clip_archive()
    model = make("frozen", sizes=architecture_of(archive, head_dim=16)).float()
    start(model, archive)
    exported = export_clip(model)
    assert {
        k: int(exported.pop(k)) for k in ("input_resolution", "context_length", "vocab_size")
    } == {
        "input_resolution": 8,
        "context_length": 77,
        "vocab_size": 96,
    }
    assert set(exported) == set(archive)
    assert all(
        torch.equal(exported[k], archive[k]) and exported[k].dtype == archive[k].dtype
        for k in archive
    )
    with pytest.raises(WeightsError, match="no 3d patch"):
        export_clip(variant("meanP", patch="3d"))


def test_legacy_precision_keeps_headers_in_fp32():
    model = variant("seqTransf").float()
    to_legacy_fp16(model)
    assert model.transformerClip.resblocks[0].attn.in_proj_weight.dtype == torch.float32
    assert model.clip.visual.proj.dtype == torch.float16


def test_only_clip_families_start_from_clip():
    with pytest.raises(OptionsError, match="does not start from a CLIP archive"):
        RetrievalModel.init_from_clip(make("frozen"), {})
