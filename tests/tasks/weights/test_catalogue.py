"""What `reelvec models` says of each model, held to the models and presets themselves."""

import dataclasses

import pytest
import torch

from reelvec.configs.loader import load
from reelvec.models.catalogue import CATALOGUE
from reelvec.models.clip.architecture import architecture
from reelvec.models.costs import costs_of
from reelvec.models.features import VideoFeatures
from reelvec.models.registry import build, family_names
from reelvec.tasks.embedding.encoding import with_vectors

HEADS = [one for one in CATALOGUE if one.preset]


def built(model):
    with torch.device("meta"):
        return build(
            model.family,
            options=model.options,
            architecture=architecture("ViT-B/32"),
            max_words=model.max_words,
            max_frames=model.max_frames,
        )


def features_of(made):
    """Of one video, as its row in a table has them, without numbers."""
    given = {
        name: torch.empty(1, *column.shape, device="meta", dtype=kind)
        for name, column in made.video_columns.items()
        for kind in [torch.int64 if column.kind == "integer" else torch.float32]
    }
    return with_vectors(made, VideoFeatures(given)).tensors


def test_every_family_is_in_it():
    assert {one.family for one in CATALOGUE} == set(family_names())


@pytest.mark.parametrize("one", CATALOGUE, ids=lambda one: one.name)
def test_a_number_says_what_it_is_of(one):
    assert bool(one.published) == bool(one.protocol)
    assert all(x for x in dataclasses.astuple(one)[:7])
    if one.row_kb is not None and one.vector.split()[-1].isdigit() and not one.preset:
        assert one.row_kb == round(int(one.vector.split()[-1]) * 4 / 1000, 1)


@pytest.mark.parametrize("one", HEADS, ids=lambda one: one.name)
def test_a_head_costs_what_its_preset_makes(one):
    config = load(one.preset)
    made = built(config.model)
    costs, features = costs_of(made), features_of(made)
    assert one.family == config.model.family
    assert one.parameters == round(costs.parameters / 1e6, 1)
    assert one.text_gmacs == round(costs.macs.text / 1e9, 2)
    assert one.video_gmacs == round(costs.macs.video / 1e9, 1)
    assert one.row_kb == round(sum(x.nbytes for x in features.values()) / 1000, 1)
    vector = str(features["embedding"].shape[1]) if made.is_dot_product else "none"
    assert one.vector == vector
    published = config.evaluate.published.get("t2v/R@1")
    assert one.published == (f"R@1 {published}" if published else "")
    assert ("SK-norm" in one.protocol) == ("sk_norm" in config.evaluate.rerank)
