"""Resizing as torch does it on uint8, to the last bit, without torch: its import takes seconds.

ATen's antialiased kernel (UpSampleKernel.cpp, after Pillow's): weights are rounded to 16-bit whole
numbers with a common power of two, the sides are resized one after the other, columns first, and
each is rounded to uint8. Products of whole numbers below 2^53 are exact in float64 whatever their
order, so matrices of BLAS give the same bits. It takes some six times as long as torch.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import numpy as np
import numpy.typing as npt

__all__ = ["resample"]

Floats = npt.NDArray[np.float64]
_COLUMNS = 16
"""Outputs of a matrix: their inputs overlap, so few of its numbers are zero."""
_MAX_BITS = 22
_MAX_WEIGHT = 2**15


@dataclass(frozen=True)
class _Block:
    """Neighbouring outputs, [first, end), from neighbouring inputs."""

    inputs: slice
    outputs: slice
    weights: Floats
    """[inputs, outputs], whole numbers."""


def resample(
    picture: npt.NDArray[np.uint8],
    height: int,
    width: int,
    interpolation: Literal["bicubic", "bilinear"],
) -> npt.NDArray[np.uint8]:
    """A picture [H, W, 3] as [height, width, 3]: `interpolate(antialias=True)` of torch."""
    planes = np.ascontiguousarray(picture.transpose(2, 0, 1)).astype(np.float64)  # [3, H, W]
    if width != planes.shape[2]:
        bits, blocks = _blocks(planes.shape[2], width, interpolation)
        out = np.empty((*planes.shape[:2], width))
        for block in blocks:
            np.matmul(planes[:, :, block.inputs], block.weights, out=out[:, :, block.outputs])
        planes = _rounded(out, bits)
    if height != planes.shape[1]:
        bits, blocks = _blocks(planes.shape[1], height, interpolation)
        out = np.empty((3, height, planes.shape[2]))
        for block in blocks:
            np.matmul(block.weights.T, planes[:, block.inputs], out=out[:, block.outputs])
        planes = _rounded(out, bits)
    return np.ascontiguousarray(planes.astype(np.uint8).transpose(1, 2, 0))


def _rounded(sums: Floats, bits: int) -> Floats:
    """As uint8 is, in place, still float64."""
    sums += 2.0 ** (bits - 1)
    sums *= 2.0**-bits
    np.floor(sums, out=sums)
    return np.clip(sums, 0, 255, out=sums)


@lru_cache(maxsize=16)
def _blocks(inputs: int, outputs: int, interpolation: str) -> tuple[int, tuple[_Block, ...]]:
    """Bits behind the point of the weights, and the matrices of one side."""
    filter_of, reach = _FILTERS[interpolation]
    scale = inputs / outputs
    shrunk = max(scale, 1.0)
    centres = scale * (np.arange(outputs) + 0.5)
    first = np.maximum((centres - reach * shrunk + 0.5).astype(np.int64), 0)
    end = np.minimum((centres + reach * shrunk + 0.5).astype(np.int64), inputs)
    weights = np.zeros((inputs, outputs))
    for at in range(outputs):
        taps = np.arange(first[at], end[at])
        values = filter_of((taps - centres[at] + 0.5) * (1 / shrunk))
        weights[taps, at] = values / values.sum()
    bits = 0
    while bits < _MAX_BITS and int(0.5 + weights.max() * 2 ** (bits + 1)) < _MAX_WEIGHT:
        bits += 1
    whole = np.trunc(weights * 2**bits + np.where(weights < 0, -0.5, 0.5))
    blocks = []
    for start in range(0, outputs, _COLUMNS):
        stop = min(start + _COLUMNS, outputs)
        seen = slice(int(first[start]), int(end[stop - 1]))
        part = np.ascontiguousarray(whole[seen, start:stop])
        blocks.append(_Block(seen, slice(start, stop), part))
    return bits, tuple(blocks)


def _cubic(x: Floats) -> Floats:
    """Keys' filter with a = -0.5."""
    x = np.abs(x)
    near = (1.5 * x - 2.5) * x * x + 1
    far = (((x - 5) * x + 8) * x - 4) * -0.5
    weights: Floats = np.where(x < 1, near, np.where(x < 2, far, 0.0))
    return weights


def _triangle(x: Floats) -> Floats:
    weights: Floats = np.maximum(1 - np.abs(x), 0.0)
    return weights


_FILTERS: dict[str, tuple[Callable[[Floats], Floats], float]] = {
    "bicubic": (_cubic, 2.0),
    "bilinear": (_triangle, 1.0),
}
"""Filter, and how far it reaches from its centre, in inputs where nothing is made smaller."""
