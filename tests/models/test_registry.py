"""Families by name, and options that say what is wrong with them."""

import sys

import pytest
import torch

from reelvec.models.clip.architecture import ARCHITECTURES, architecture
from reelvec.models.conversion.exports import FORMATS, export_as
from reelvec.models.errors import OptionsError, WeightsError
from reelvec.models.registry import FAMILIES, build, family_class, family_names, validate_options
from tests.models.contracts_family import SIZES


def test_unknown_names_tell_the_nearest():
    with pytest.raises(OptionsError, match="did you mean 'clip4clip'"):
        family_class("clip4clp")
    with pytest.raises(OptionsError, match="did you mean 'ViT-B/32'"):
        architecture("ViT-B32")
    with pytest.raises(OptionsError, match="did you mean 'sim_header'"):
        validate_options("clip4clip", {"sim_heder": "meanP"})


def test_values_out_of_range_are_named():
    with pytest.raises(OptionsError, match=r"clip4clip\.sim_header: it must be 'm.*given 'max'"):
        validate_options("clip4clip", {"sim_header": "max"})
    with pytest.raises(OptionsError, match="cross_num_hidden_layers"):
        validate_options("clip4clip", {"cross_num_hidden_layers": 0})


def test_options_are_frozen():
    options = validate_options("clip4clip", {"sim_header": "seqTransf"})
    with pytest.raises(ValueError, match="frozen"):
        options.sim_header = "meanP"


def test_the_seed_decides_the_weights():
    def weights(seed):
        torch.manual_seed(seed)
        model = build("frozen", options={}, architecture=SIZES, max_words=8, max_frames=2)
        return model.clip.visual.proj

    assert torch.equal(weights(3), weights(3)) and not torch.equal(weights(3), weights(4))


def test_names_are_lazy_and_complete():
    assert family_names() == tuple(FAMILIES)
    assert family_class("frozen").__module__ == FAMILIES["frozen"][0]
    assert "reelvec.models.clip4clip" in sys.modules


def test_named_sizes_load_into_the_originals():
    """64 is a literal in all four systems; what has other heads is not exported to them."""
    others = [name for name, sizes in ARCHITECTURES.items() if sizes.head_dim != 64]
    assert sorted(others) == ["micro", "nano"]
    model = build(
        "clip4clip", options={}, architecture=architecture("micro"), max_words=8, max_frames=2
    )
    for layout in FORMATS:
        with pytest.raises(WeightsError, match=r"heads of 16.*as safetensors"):
            export_as(model, layout)
    assert architecture("ViT-B/16").grid == 14 and architecture("ViT-L/14").vision_heads == 16
