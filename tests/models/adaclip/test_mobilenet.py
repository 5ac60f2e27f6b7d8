"""The MobileNets: torchvision's keys and shapes, its weights taken, and a naive twin of a block."""

import pytest
import torch
import torch.nn.functional as F

from reelvec.models.adaclip.mobilenet import FEATURES, NETWORKS, MobileNetV2, MobileNetV3Large
from reelvec.models.errors import WeightsError


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    model = MobileNetV3Large()
    with torch.no_grad():
        for name, tensor in model.state_dict().items():
            if "running" in name:
                tensor.add_(torch.rand_like(tensor))
    return model.double().eval()


def test_keys_are_torchvisions():
    with torch.device("meta"):
        state = MobileNetV3Large().state_dict()
    # specs/xclip-adaclip.md B1.4: 312 without the emptied classifier's last two
    assert len(state) == 310
    shapes = {
        "features.0.0.weight": (16, 3, 3, 3),
        "features.0.1.num_batches_tracked": (),
        "features.1.block.0.0.weight": (16, 1, 3, 3),  # no expansion in the first block
        "features.1.block.1.0.weight": (16, 16, 1, 1),
        "features.4.block.1.0.weight": (72, 1, 5, 5),
        "features.4.block.2.fc1.weight": (24, 72, 1, 1),
        "features.4.block.2.fc2.bias": (72,),
        "features.4.block.3.0.weight": (40, 72, 1, 1),
        "features.8.block.2.0.weight": (80, 200, 1, 1),  # no squeeze: project is third
        "features.15.block.3.1.running_var": (160,),
        "features.16.0.weight": (960, 160, 1, 1),
        "classifier.0.weight": (1280, 960),
    }
    assert {key: tuple(state[key].shape) for key in shapes} == shapes
    learned = sum(x.numel() for k, x in state.items() if "running" not in k and "num_b" not in k)
    assert learned == 5_483_032 - (1280 * 1000 + 1000)  # torchvision's count, less its last layer


@torch.no_grad()
def test_features(network):
    images = torch.randn(2, 3, 64, 64, dtype=torch.float64)
    found = network(images)
    assert found.shape == (2, FEATURES)
    torch.testing.assert_close(found[:1], network(images[:1]))


def norm(x, part):
    mean, var = part.running_mean[:, None, None], part.running_var[:, None, None]
    scaled = (x - mean) / (var + 1e-3).sqrt()
    return scaled * part.weight[:, None, None] + part.bias[:, None, None]


@torch.no_grad()
def test_a_block_with_squeeze_equals_the_formulas(network):
    """features.5: kernel 5, 120 channels, squeeze 32, ReLU, stride 1, residual."""
    block = network.features[5].block
    x = torch.randn(1, 40, 6, 6, dtype=torch.float64)
    y = norm(F.conv2d(x, block[0][0].weight), block[0][1]).clamp(min=0)
    y = norm(F.conv2d(y, block[1][0].weight, padding=2, groups=120), block[1][1]).clamp(min=0)
    s = block[2].fc1(y.mean((2, 3), keepdim=True)).clamp(min=0)
    y = y * ((block[2].fc2(s) + 3).clamp(0, 6) / 6)
    y = norm(F.conv2d(y, block[3][0].weight), block[3][1]) + x
    torch.testing.assert_close(network.features[5](x), y)


def test_strides_and_activations(network):
    x = torch.randn(1, 3, 64, 64, dtype=torch.float64)
    sides = []
    for layer in network.features:
        x = layer(x)
        sides.append(x.shape[-1])
    assert sides == [32, 32, 16, 16, 8, 8, 8, 4, 4, 4, 4, 4, 4, 2, 2, 2, 2]
    kinds = [isinstance(b.block[0][2], torch.nn.Hardswish) for b in network.features[1:16]]
    assert kinds == [False] * 6 + [True] * 9


def test_keys_of_v2_are_torchvisions():
    with torch.device("meta"):
        state = MobileNetV2().state_dict()
    assert len(state) == 312  # 314 less its last layer
    shapes = {
        "features.0.0.weight": (32, 3, 3, 3),
        "features.1.conv.0.0.weight": (32, 1, 3, 3),  # no expansion in the first block
        "features.1.conv.1.weight": (16, 32, 1, 1),
        "features.1.conv.2.running_var": (16,),
        "features.2.conv.0.0.weight": (96, 16, 1, 1),
        "features.2.conv.1.0.weight": (96, 1, 3, 3),
        "features.2.conv.2.weight": (24, 96, 1, 1),
        "features.17.conv.3.num_batches_tracked": (),
        "features.18.0.weight": (1280, 320, 1, 1),
        "features.18.1.running_mean": (1280,),
    }
    assert {key: tuple(state[key].shape) for key in shapes} == shapes
    learned = sum(x.numel() for k, x in state.items() if "running" not in k and "num_b" not in k)
    assert learned == 3_504_872 - (1280 * 1000 + 1000)  # torchvision's count, less its last layer


@torch.no_grad()
def test_a_block_of_v2_equals_the_formulas():
    """features.3: expansion 6 of 24 channels, ReLU6, stride 1, residual."""
    torch.manual_seed(0)
    network = MobileNetV2().double().eval()
    block = network.features[3].conv
    for part in (block[0][1], block[1][1], block[3]):
        part.running_mean.add_(torch.rand_like(part.running_mean))
        part.running_var.add_(torch.rand_like(part.running_var))
    x = torch.randn(1, 24, 6, 6, dtype=torch.float64) * 9

    def normed(x, part):
        mean, var = part.running_mean[:, None, None], part.running_var[:, None, None]
        return (x - mean) / (var + 1e-5).sqrt()

    y = normed(F.conv2d(x, block[0][0].weight), block[0][1]).clamp(0, 6)
    y = normed(F.conv2d(y, block[1][0].weight, padding=1, groups=144), block[1][1]).clamp(0, 6)
    y = normed(F.conv2d(y, block[2].weight), block[3]) + x
    torch.testing.assert_close(network.features[3](x), y)
    sides, x = [], torch.randn(1, 3, 64, 64, dtype=torch.float64)
    for layer in network.features:
        x = layer(x)
        sides.append(x.shape[-1])
    assert sides == [32, 32, 16, 16, 8, 8, 8, *[4] * 7, *[2] * 5]
    assert network(torch.randn(2, 3, 32, 32).double()).shape == (2, FEATURES)


def published(name):
    """A file as torchvision publishes it: with its last layer, for 1,000 classes."""
    torch.manual_seed(1)
    network = NETWORKS[name]()
    rest = {"weight": torch.randn(1000, FEATURES), "bias": torch.randn(1000)}
    return network.state_dict() | {network.classes + key: x for key, x in rest.items()}


@pytest.mark.parametrize("name", sorted(NETWORKS))
def test_published_weights_are_taken_and_the_linear_layer_is_drawn_anew(name):
    state = published(name)
    state["features.0.1.running_mean"] += 1
    old = {key: x for key, x in state.items() if not key.endswith("num_batches_tracked")}
    for given in (state, old):  # files older than that counter lack it
        torch.manual_seed(2)
        network = NETWORKS[name]()
        network.load_published(given)
        found = network.state_dict()
        assert all(torch.equal(x, state[key]) for key, x in found.items() if "features" in key)
    if name == "mobilenet_v3_large":  # specs/xclip-adaclip.md B1.5
        weight, bias = found["classifier.0.weight"], found["classifier.0.bias"]
        assert weight.std().item() == pytest.approx(0.02, rel=0.01) and not bias.any()
        assert not torch.equal(weight, state["classifier.0.weight"])


def test_weights_that_do_not_fit_are_named():
    with torch.device("meta"):
        network, other = MobileNetV3Large(), MobileNetV2()
        state = dict(network.state_dict())
    last = {"classifier.3.weight": torch.empty(1000, 1280, device="meta")}
    wrong = {
        "missing features.0.0.weight": {
            k: x for k, x in state.items() if k != "features.0.0.weight"
        },
        "classifier.0.weight is \\(1280, 960, 1\\)": state
        | {"classifier.0.weight": state["classifier.0.weight"][..., None]},
        "unexpected fc.weight": state | {"fc.weight": torch.empty(3, device="meta")},
        "missing features.1.block.0.0.weight": dict(other.state_dict()),
        "missing features": {"visual.proj": torch.empty(3, device="meta")},
    }
    for problem, given in wrong.items():
        with pytest.raises(WeightsError, match=problem) as caught:
            network.load_published(given | last)
        assert "torchvision's mobilenet_v3_large-8738ca79.pth" in str(caught.value)
