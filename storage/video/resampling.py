"""Resizing as torch does it on uint8, to the last bit, without torch: its import takes seconds.

ATen's antialiased kernel (UpSampleKernel.cpp, after Pillow's): weights are rounded to 16-bit whole
numbers with a common power of two, the sides are resized one after the other, columns first, and
each is rounded to uint8. Whole numbers whose sums stay below 2^24 are exact in float32 whatever
their order, so matrices of BLAS give the same bits: bytes are taken less 128, and where a sum could
grow larger, sums of every second input (or third, …) are made apart. It takes some three times as
long as torch. Channels go one by one, so that what lies between stays in the processor's caches.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import numpy as np
import numpy.typing as npt

__all__ = ["resample"]

Bytes = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float64]
Singles = npt.NDArray[np.float32]
Sums = npt.NDArray[np.int32]
_MIDDLE = 128
"""Taken from bytes, so that they are small both ways."""
_EXACT = 2**24
"""Whole numbers up to it are float32's."""
_MAX_BITS = 22
_MAX_WEIGHT = 2**15


@dataclass(frozen=True)
class _Block:
    """Neighbouring outputs, from neighbouring inputs."""

    inputs: slice
    outputs: slice
    weights: Singles
    """[inputs, outputs], whole numbers whose sums with bytes are exact."""


@dataclass(frozen=True)
class _Side:
    """How the wanted outputs of one side are made."""

    inputs: slice
    """What they need of the picture."""
    layers: tuple[tuple[_Block, ...], ...]
    """Of every input, or of every second (third, …) and of those between them: their sums make up
    the outputs. Blocks count inputs of their layer."""
    bits: int
    """Behind the point of the weights."""
    added: Sums
    """[outputs], to each sum: what `_MIDDLE` took of it, and the half that rounds."""


def resample(
    picture: Bytes,
    height: int,
    width: int,
    interpolation: Literal["bicubic", "bilinear"],
    *,
    window: tuple[slice, slice] = (slice(None), slice(None)),
) -> Bytes:
    """A picture [H, W, 3] as [height, width, 3]: `interpolate(antialias=True)` of torch.

    Args:
        picture: upright, RGB.
        height: of the whole result.
        width: of the same.
        interpolation: the filter.
        window: rows and columns of the result that are wanted; no others are made.
    """
    rows = _side(picture.shape[0], height, interpolation, window[0].indices(height)[:2])
    columns = _side(picture.shape[1], width, interpolation, window[1].indices(width)[:2])
    seen = picture[rows.inputs, columns.inputs]
    out = np.empty((len(rows.added), len(columns.added), 3), np.uint8)
    for channel in range(3):
        plane = _along(seen[:, :, channel], columns)
        out[:, :, channel] = _along(plane.T, rows).T
    return out


def _along(plane: Bytes, side: _Side) -> Bytes:
    """A plane [N, inputs], of any order in memory, as [N, outputs]."""
    if not side.layers:
        return plane
    out = np.empty((len(plane), len(side.added)), np.float32)
    sums = np.full(out.shape, side.added)
    for number, blocks in enumerate(side.layers):
        layer = plane[:, number :: len(side.layers)].copy("K")
        layer ^= np.uint8(_MIDDLE)  # as signed bytes they are less `_MIDDLE` then
        centred = layer.view(np.int8).astype(np.float32)
        for block in blocks:
            np.matmul(centred[:, block.inputs], block.weights, out=out[:, block.outputs])
        sums += out.astype(np.int32)
    sums >>= side.bits
    return np.clip(sums, 0, 255, out=sums).astype(np.uint8)


@lru_cache(maxsize=32)
def _side(inputs: int, outputs: int, interpolation: str, wanted: tuple[int, int]) -> _Side:
    """The outputs [first, end) of a side; one that stays as it is needs what it gives."""
    if inputs == outputs:
        return _Side(slice(*wanted), (), 0, np.zeros(wanted[1] - wanted[0], np.int32))
    whole, bits = _weights(inputs, outputs, interpolation)
    seen, whole = _used(whole[:, slice(*wanted)])
    apart = 1
    while any(_largest(whole[number::apart]) >= _EXACT for number in range(apart)):
        apart += 1
    many = 16 if inputs < 16 * outputs else 8  # most numbers of a larger matrix would be zero
    layers = (tuple(_blocks(whole[number::apart], many)) for number in range(apart))
    added = _MIDDLE * whole.sum(axis=0) + 2.0 ** (bits - 1)
    return _Side(seen, tuple(layers), bits, added.astype(np.int32))


def _largest(weights: Floats) -> float:
    """That a sum of an output may come to, in any order."""
    return float(np.abs(weights).sum(axis=0).max()) * _MIDDLE


def _used(weights: Floats) -> tuple[slice, Floats]:
    """Inputs that count at all, one at least, and their weights."""
    rows = np.flatnonzero(weights.any(axis=1))
    used = slice(int(rows[0]), int(rows[-1]) + 1) if len(rows) else slice(0, 1)
    return used, weights[used]


def _blocks(weights: Floats, many: int) -> Iterator[_Block]:
    for start in range(0, weights.shape[1], many):
        outputs = slice(start, min(start + many, weights.shape[1]))
        inputs, part = _used(weights[:, outputs])
        yield _Block(inputs, outputs, np.ascontiguousarray(part, np.float32))


def _weights(inputs: int, outputs: int, interpolation: str) -> tuple[Floats, int]:
    """Whole numbers [inputs, outputs], and their bits behind the point."""
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
    return np.trunc(weights * 2**bits + np.where(weights < 0, -0.5, 0.5)), bits


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
