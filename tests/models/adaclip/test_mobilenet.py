"""MobileNetV3-Large: torchvision's keys and shapes, and a naive twin of one block."""

import pytest
import torch
import torch.nn.functional as F

from reelvec.models.adaclip.mobilenet import FEATURES, MobileNetV3Large


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
