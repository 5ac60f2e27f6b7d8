"""UCoFiA: the family contract, its score pair by pair, both codes told apart."""

import pytest
import torch

from reelvec.models.conversion.recognition import recognise
from reelvec.models.conversion.weights import load_checkpoint
from reelvec.models.errors import InputError, WeightsError
from reelvec.models.pairs import HELD
from tests.models.contracts_family import FamilyContract, captions, clips, inputs_of, make

SHIFT = {"shift_layers": [0], "n_div": 2, "cross_num_hidden_layers": 1, "num_samples": 20}
VARIANTS = [SHIFT, SHIFT | {"code": "eval_t2v", "topk": 2}, SHIFT | {"sim_header": "meanP"}]


@pytest.fixture(params=VARIANTS, ids=["train", "eval_t2v", "meanP"])
def options(request):
    return request.param


class TestUcofia(FamilyContract):
    family = "ucofia"


def weighed(x, matrix):
    """Sum of x, weighed by softmax(softmax(x / tau) matrix / tau)."""
    return torch.softmax(torch.softmax(x / 0.01, 0) @ matrix / 0.01, 0) @ x


@torch.no_grad()
def test_scores_equal_the_specification_pair_by_pair(options):
    model = make("ucofia", options)
    text, video = model.encode_text(captions(3)), model.encode_video(**inputs_of(model, *clips(4)))
    found = model.components(text, video)
    scale, m = model.logit_scale.exp(), model.get_parameter
    for t in range(3):
        for v in range(4):
            coarse = (text["sentence"][t] @ m("global_mat_weight")) @ (
                video["video"][v] @ m("global_mat_weight_1")
            )
            near = video["frames"][v] @ text["sentence"][t]
            x = text["words"][t] @ video["pixels"][v].T
            a = torch.stack([weighed(row, m("word_mat_weight")) for row in x.T])
            b = torch.stack([weighed(row, m("pixel_mat_weight")) for row in x])
            fine = weighed(a, m("pixel_mat_weight2")) + weighed(b, m("word_mat_weight2"))
            wanted = (scale * coarse, scale * weighed(near, m("frame_logit_weight")), fine / 2)
            for one, other in zip(found, wanted, strict=True):
                torch.testing.assert_close(one[t, v], other, rtol=0, atol=1e-10)


@pytest.mark.parametrize("held", [1, 700, 10**6])
def test_blocks_of_any_size_give_what_training_sees(held, monkeypatch):
    model = make("ucofia", SHIFT)
    text, video = model.encode_text(captions(5)), model.encode_video(**inputs_of(model, *clips(7)))
    trained = model.similarity(text, video)
    assert trained.requires_grad
    monkeypatch.setitem(HELD, "cpu", held)
    with torch.no_grad():
        torch.testing.assert_close(model.similarity(text, video), trained, rtol=0, atol=1e-9)


def test_a_checkpoint_tells_which_code_it_is_of():
    for options in (SHIFT, SHIFT | {"code": "eval_t2v", "topk": 2}):
        model = make("ucofia", options)
        ((family, settings),) = recognise(model.state_dict())
        assert family == "ucofia"
        assert (settings.max_words, settings.max_frames) == (9, 4)
        told = settings.options
        assert told["code"] == options.get("code", "train")
        assert (told["topk"], told["shift_layers"]) == (options.get("topk", 3), [0])
        load_checkpoint(make("ucofia", options | told, seed=3), model.state_dict())
    with pytest.raises(WeightsError, match="in_conv"):
        load_checkpoint(
            make("ucofia", SHIFT | {"code": "eval_t2v"}), make("ucofia", SHIFT).state_dict()
        )


def test_other_lengths_than_the_matrices_are_refused():
    model = make("ucofia", SHIFT)
    with pytest.raises(InputError, match="3 frames a video"):
        model.encode_video(**inputs_of(model, *clips(2, frames=3)))
