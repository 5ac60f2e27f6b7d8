"""Running statistics of batch norm: moved once a step, whatever the parts and passes."""

import copy

import pytest
import torch
from torch import nn

from reelvec.models.training.running_statistics import moved_once


def layers(momentum=0.1):
    torch.manual_seed(0)
    model = nn.Sequential(nn.BatchNorm2d(3, momentum=momentum), nn.Conv2d(3, 2, 1))
    model[0].running_mean.normal_()
    return model.double().train()


IMAGES = torch.randn(7, 3, 4, 5, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


@pytest.mark.parametrize("momentum", [0.1, None])
@pytest.mark.parametrize("cuts", [[7], [3, 4], [1, 5, 1]])
def test_parts_and_a_second_pass_move_them_as_one_batch(momentum, cuts):
    plain, model = layers(momentum), layers(momentum)
    plain(IMAGES)
    with moved_once(model) as statistics:
        for part in IMAGES.split(cuts):
            model(part)
        statistics.close_pass()
        for part in IMAGES.split(cuts):
            model(part)
    for name, tensor in plain.state_dict().items():
        torch.testing.assert_close(model.state_dict()[name], tensor, rtol=1e-12, atol=1e-12)
    again = copy.deepcopy(model)
    plain(IMAGES), again(IMAGES)  # from here on as torch moves them
    torch.testing.assert_close(again[0].running_var, plain[0].running_var)
    assert int(again[0].num_batches_tracked) == 2


@pytest.mark.parametrize("still", ["evaluation", "never used", "without statistics"])
def test_those_that_do_not_move_stay(still):
    model = layers()
    if still == "evaluation":
        model.eval()
    if still == "without statistics":
        model[0] = nn.BatchNorm2d(3, track_running_stats=False).double()
    before = copy.deepcopy(model.state_dict())
    with moved_once(model) as statistics:
        if still != "never used":
            model(IMAGES)
        statistics.close_pass()
    assert all(torch.equal(model.state_dict()[name], x) for name, x in before.items())


def test_an_error_leaves_the_layer_as_it_was_set():
    model = layers()
    with pytest.raises(ZeroDivisionError), moved_once(model):
        raise ZeroDivisionError
    assert model[0].momentum == 0.1
    assert not model[0]._forward_hooks
