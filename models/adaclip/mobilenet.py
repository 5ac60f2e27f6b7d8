"""MobileNetV3-Large and MobileNetV2 as feature extractors, under torchvision's key names.

AdaCLIP's policy looks at frames with one of them (specs/xclip-adaclip.md B1.4). torchvision is not
a dependency: its wheel does not import beside a CPU-only torch.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor, nn

from reelvec.models.clip.weights import load_strictly
from reelvec.models.temporal import init_as_originals

__all__ = [
    "FEATURES",
    "IMAGENET_MEAN",
    "IMAGENET_STD",
    "NETWORKS",
    "MobileNetV2",
    "MobileNetV3Large",
    "PolicyNetwork",
]

FEATURES = 1280
"""Numbers an image."""
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


class _Row(NamedTuple):
    kernel: int
    expanded: int
    out: int
    squeeze: int  # 0: no squeeze and excitation
    hardswish: bool  # else ReLU
    stride: int


_ROWS = (
    _Row(3, 16, 16, 0, hardswish=False, stride=1),
    _Row(3, 64, 24, 0, hardswish=False, stride=2),
    _Row(3, 72, 24, 0, hardswish=False, stride=1),
    _Row(5, 72, 40, 24, hardswish=False, stride=2),
    _Row(5, 120, 40, 32, hardswish=False, stride=1),
    _Row(5, 120, 40, 32, hardswish=False, stride=1),
    _Row(3, 240, 80, 0, hardswish=True, stride=2),
    _Row(3, 200, 80, 0, hardswish=True, stride=1),
    _Row(3, 184, 80, 0, hardswish=True, stride=1),
    _Row(3, 184, 80, 0, hardswish=True, stride=1),
    _Row(3, 480, 112, 120, hardswish=True, stride=1),
    _Row(3, 672, 112, 168, hardswish=True, stride=1),
    _Row(5, 672, 160, 168, hardswish=True, stride=2),
    _Row(5, 960, 160, 240, hardswish=True, stride=1),
    _Row(5, 960, 160, 240, hardswish=True, stride=1),
)
_STEM, _LAST = 16, 960


_V2_ROWS = (  # expansion, channels out, blocks, stride of the first
    (1, 16, 1, 1),
    (6, 24, 2, 2),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
)
_V2_STEM = 32


class PolicyNetwork(nn.Module):
    """Images [B, 3, H, W], normalised with ImageNet's mean and std, to features [B, 1280].

    Attributes:
        published: name of torchvision's file of ImageNet weights.
        classes: how the names of its last layer begin, which has no use here.
    """

    published: ClassVar[str]
    classes: ClassVar[str]

    def init_convolutions(self) -> None:
        """As torchvision starts them."""
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out")
                if module.bias is not None:
                    nn.init.zeros_(module.bias)

    @torch.no_grad()
    def load_published(self, state: Mapping[str, Tensor]) -> None:
        """Start from torchvision's ImageNet weights; linear layers then anew, N(0, 0.02), bias 0.

        Source: specs/xclip-adaclip.md B1.5 (the original re-initialises after it has loaded).

        Raises:
            WeightsError: missing, unexpected or misshaped tensors, named.
        """
        given = {key: x for key, x in state.items() if not key.startswith(self.classes)}
        for key, tensor in self.state_dict().items():
            if key.endswith("num_batches_tracked"):  # files older than this counter lack it
                given.setdefault(key, torch.zeros_like(tensor))
        remedy = f"Give torchvision's {self.published} as model.policy_weights"
        load_strictly(self, given, remedy=remedy)
        init_as_originals(self)


class _Squeeze(nn.Module):
    """Squeeze-and-excitation: scale each channel by a gate computed from the channels' means."""

    def __init__(self, channels: int, squeezed: int) -> None:
        super().__init__()
        self.fc1 = nn.Conv2d(channels, squeezed, 1)
        self.fc2 = nn.Conv2d(squeezed, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, H, W] -> the same."""
        weights = self.fc2(torch.relu(self.fc1(x.mean((2, 3), keepdim=True))))
        return x * nn.functional.hardsigmoid(weights)


class _Inverted(nn.Module):
    """Inverted residual: expand, depthwise, squeeze, project; a sum where the shape stays."""

    def __init__(self, channels: int, row: _Row) -> None:
        super().__init__()
        wide, act = row.expanded, row.hardswish
        layers: list[nn.Module] = []
        if wide != channels:
            layers.append(_conv(channels, wide, kernel=1, hardswish=act))
        layers.append(
            _conv(wide, wide, kernel=row.kernel, stride=row.stride, groups=wide, hardswish=act)
        )
        if row.squeeze:
            layers.append(_Squeeze(wide, row.squeeze))
        layers.append(_conv(wide, row.out, kernel=1, hardswish=None))
        self.block = nn.Sequential(*layers)
        self.residual = row.stride == 1 and channels == row.out

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, H, W] -> [B, out, H / stride, W / stride]."""
        out: Tensor = self.block(x)
        return x + out if self.residual else out


class MobileNetV3Large(PolicyNetwork):
    """With its first linear layer, which AdaCLIP keeps, and without the last."""

    published = "mobilenet_v3_large-8738ca79.pth"
    classes = "classifier.3."

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = [_conv(3, _STEM, kernel=3, stride=2, hardswish=True)]
        channels = _STEM
        for row in _ROWS:
            layers.append(_Inverted(channels, row))
            channels = row.out
        layers.append(_conv(channels, _LAST, kernel=1, hardswish=True))
        self.features = nn.Sequential(*layers)
        self.classifier = nn.Sequential(nn.Linear(_LAST, FEATURES), nn.Hardswish())
        self.init_convolutions()

    def forward(self, images: Tensor) -> Tensor:
        """Features [B, 1280]."""
        out: Tensor = self.classifier(self.features(images).mean((2, 3)))
        return out


class _V2Block(nn.Module):
    """Inverted residual: expand, depthwise, project; a sum where the shape stays."""

    def __init__(self, channels: int, out: int, *, expansion: int, stride: int) -> None:
        super().__init__()
        wide = channels * expansion
        layers: list[nn.Module] = [_v2_conv(channels, wide, kernel=1)] if expansion > 1 else []
        layers += [
            _v2_conv(wide, wide, kernel=3, stride=stride, groups=wide),
            nn.Conv2d(wide, out, 1, bias=False),
            nn.BatchNorm2d(out),
        ]
        self.conv = nn.Sequential(*layers)
        self.residual = stride == 1 and channels == out

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, H, W] -> [B, out, H / stride, W / stride]."""
        out: Tensor = self.conv(x)
        return x + out if self.residual else out


class MobileNetV2(PolicyNetwork):
    """Without its only linear layer: the mean of the last convolution is what the policy sees."""

    published = "mobilenet_v2-b0353104.pth"
    classes = "classifier.1."

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = [_v2_conv(3, _V2_STEM, kernel=3, stride=2)]
        channels = _V2_STEM
        for expansion, out, blocks, stride in _V2_ROWS:
            for block in range(blocks):
                first = stride if block == 0 else 1
                layers.append(_V2Block(channels, out, expansion=expansion, stride=first))
                channels = out
        layers.append(_v2_conv(channels, FEATURES, kernel=1))
        self.features = nn.Sequential(*layers)
        self.init_convolutions()

    def forward(self, images: Tensor) -> Tensor:
        """Features [B, 1280]."""
        out: Tensor = self.features(images).mean((2, 3))
        return out


NETWORKS: dict[str, type[PolicyNetwork]] = {
    "mobilenet_v2": MobileNetV2,
    "mobilenet_v3_large": MobileNetV3Large,
}
"""By the names of the option `policy`."""


def _v2_conv(
    channels: int, out: int, *, kernel: int, stride: int = 1, groups: int = 1
) -> nn.Sequential:
    """Convolution, batch norm and ReLU6, under the keys 0 and 1."""
    padding = (kernel - 1) // 2
    convolution = nn.Conv2d(channels, out, kernel, stride, padding, groups=groups, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(out), nn.ReLU6())


def _conv(
    channels: int,
    out: int,
    *,
    kernel: int,
    stride: int = 1,
    groups: int = 1,
    hardswish: bool | None,
) -> nn.Sequential:
    """Convolution, batch norm and activation (none for None), under the keys 0 and 1."""
    padding = (kernel - 1) // 2
    layers: list[nn.Module] = [
        nn.Conv2d(channels, out, kernel, stride, padding, groups=groups, bias=False),
        nn.BatchNorm2d(out, eps=1e-3, momentum=0.01),
    ]
    if hardswish is not None:
        layers.append(nn.Hardswish() if hardswish else nn.ReLU())
    return nn.Sequential(*layers)
