"""Strict loading: what does not fit is named, and nothing is half loaded."""

import pytest
import torch

from reelvec.models.clip.towers import ClipTowers
from reelvec.models.clip.weights import ARCHIVE_SCALARS, load_strictly
from reelvec.models.errors import WeightsError
from tests.models.contracts_family import SIZES


def archive():
    torch.manual_seed(7)
    state = {k: v.clone() for k, v in ClipTowers(SIZES).state_dict().items()}
    return state | {name: torch.tensor(1) for name in ARCHIVE_SCALARS}


def test_scalars_are_known_and_types_are_cast():
    towers = ClipTowers(SIZES).double()
    state = {k: v.half() if v.is_floating_point() else v for k, v in archive().items()}
    load_strictly(towers, state)
    for key, tensor in towers.state_dict().items():
        assert tensor.dtype == torch.float64 and torch.equal(tensor, state[key].double())


def test_everything_wrong_is_named_and_nothing_is_loaded():
    towers = ClipTowers(SIZES)
    before = {k: v.clone() for k, v in towers.state_dict().items()}
    state = archive()
    state["ln_finale.weight"] = state.pop("ln_final.weight")
    state["visual.proj"] = state["visual.proj"][:, :16]
    with pytest.raises(WeightsError) as error:
        load_strictly(towers, state)
    for part in (
        "3 tensors",
        "missing ln_final.weight (32,)",
        "unexpected ln_finale.weight (32,)",
        "visual.proj is (32, 16) but the model's is (32, 32)",
    ):
        assert part in str(error.value)
    assert all(torch.equal(before[k], v) for k, v in towers.state_dict().items())


def test_long_lists_are_cut():
    with pytest.raises(WeightsError, match=r"and \d+ more"):
        load_strictly(ClipTowers(SIZES), {})


def test_old_names_of_norms():
    state = archive()
    state["ln_final.gamma"] = state.pop("ln_final.weight")
    state["ln_final.beta"] = state.pop("ln_final.bias")
    load_strictly(ClipTowers(SIZES), state)


def test_conv2_is_derived_only_when_asked():
    towers = ClipTowers(SIZES, linear_patch="3d")
    with pytest.raises(WeightsError, match=r"missing visual\.conv2\.weight"):
        load_strictly(towers, archive())
    load_strictly(towers, archive(), derive_conv2=True)
    conv1, conv2 = towers.visual.conv1.weight, towers.visual.conv2.weight
    assert torch.equal(conv2[:, :, 1], conv1) and not conv2[:, :, [0, 2]].any()
