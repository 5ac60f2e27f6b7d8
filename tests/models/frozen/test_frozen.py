"""The frozen dual encoder: zero-shot, nothing to train."""

import pytest
import torch

from reelvec.models.errors import OptionsError
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


@pytest.mark.parametrize("options", [{"dimensions": 8}, {"wrapper": "bare"}, {"hears": True}])
def test_an_option_of_other_encoders_is_refused_not_left_aside(options):
    with pytest.raises(OptionsError, match=f"{next(iter(options))}: a CLIP as it is has no such"):
        make("frozen", options=options)
