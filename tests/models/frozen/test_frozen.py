"""The frozen dual encoder: zero-shot, nothing to train."""

import pytest
import torch

from tests.models.contracts_family import FamilyContract, captions, clips, inputs_of, make


@pytest.fixture
def options():
    return {}


class TestFrozen(FamilyContract):
    family = "frozen"

    def test_every_trainable_parameter_learns(self, model):
        assert not any(p.requires_grad for p in model.parameters())


@torch.no_grad()
def test_frozen_is_clip4clip_without_training():
    frozen, trained = make("frozen"), make("clip4clip")
    trained.load_state_dict(frozen.state_dict())
    pixels, mask = clips(5)

    def sim(model):
        return model.similarity(
            model.encode_text(captions(4)), model.encode_video(**inputs_of(model, pixels, mask))
        )

    assert torch.equal(sim(frozen), sim(trained))
