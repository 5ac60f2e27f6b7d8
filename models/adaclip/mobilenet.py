"""MobileNetV3-Large as a feature extractor, under torchvision's key names.

AdaCLIP's policy looks at frames with it (specs/xclip-adaclip.md B1.4). torchvision is not a
dependency: its wheel does not import beside a CPU-only torch.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

__all__ = ["FEATURES", "IMAGENET_MEAN", "IMAGENET_STD", "MobileNetV3Large"]

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


class MobileNetV3Large(nn.Module):
    """Images [B, 3, H, W], normalised with ImageNet's mean and std, to features [B, 1280]."""

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
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out")
                if module.bias is not None:
                    nn.init.zeros_(module.bias)

    def forward(self, images: Tensor) -> Tensor:
        """Features [B, 1280]."""
        out: Tensor = self.classifier(self.features(images).mean((2, 3)))
        return out


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
