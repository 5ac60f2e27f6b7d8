"""Products of vectors rounded to a byte a number, and how far they are from the real ones.

A video's vectors are whole numbers times a step, a query's too. Products of whole numbers are exact
in float32, whatever their order (127 * 64 * D is below 2^24 for D up to 2,064), so that all that is
lost was lost in rounding, and that is measured when it is done: for q = q' + e and x = x' + f the
products q.x and q'.x' differ by at most |e| |x'| + |q| |f|.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

__all__ = ["Near", "RoundedRows", "WholeRows", "coarse"]

_PACKED = 1024
"""Videos of a block that is laid out at once."""
_EXACT = 2064
"""Numbers of a vector whose products are exact."""
_MOST = 127
"""Of a video's whole numbers, and least -127."""
_MOST_ASKED = 63
"""Of a query's: with 64 added they are 7 bits, which no processor's sum of pairs overflows."""
_LIMB = 128.0
"""A query of few rows has a second byte, of 1/128 steps."""
_FEW = 4
"""Rows of a query for which that costs little."""
_UP = 1.0 + 2.0**-20
"""Makes up for the roundings of what is noted in float32."""
_ROUNDING = 2.0**-21
"""Of the few float32 steps from whole products to a score, as a part of the vectors' lengths."""


class Coarse(NamedTuple):
    """V videos of n vectors each, rounded. Float32 but for the whole numbers."""

    whole: Tensor  # int8 [V, n, D]
    step: Tensor  # [V]: a vector is near step * whole
    error: Tensor  # [V]: the longest of what rounding took from its vectors
    length: Tensor  # [V]: its longest vector, at most


class Near(NamedTuple):
    """Products of the R rows of a query with n vectors of V videos: step * whole, up to error."""

    whole: Tensor  # float32 [R, V, n]
    step: Tensor  # float64 [V]
    error: Tensor  # float64 [V]
    length: Tensor  # float64 [V]: the longest vector, at most
    size: Tensor  # float64 [V]: the longest row times that; no product is larger

    def highest(self) -> Tensor:
        """No less than the highest product of each video, float64 [V]."""
        return self._over_rows(torch.amax).amax(dim=1).double() * self.step + self.error

    def lowest(self) -> Tensor:
        """No more than the lowest product of each video, float64 [V]."""
        return self._over_rows(torch.amin).amin(dim=1).double() * self.step - self.error

    def _over_rows(self, reduce: Callable[..., Tensor]) -> Tensor:
        """[V, n]; reduced first, and alone: both axes at once take twenty times as long."""
        found: Tensor = self.whole[0] if len(self.whole) == 1 else reduce(self.whole, dim=0)
        return found


class RoundedRows(NamedTuple):
    """The R rows of a query, rounded: near step * whole numbers."""

    limbs: Tensor  # float32 [R or 2 R, D], whole: with few rows 1/128 steps follow the steps
    rows: int
    step: float
    off: float  # the longest of what rounding took from the rows
    longest: float  # the longest row

    @classmethod
    def of(cls, rows: Tensor) -> RoundedRows:
        """Of rows float64 [R, D]."""
        step = float(rows.abs().max()) / _MOST_ASKED or 1.0
        whole = (rows / step).round_()
        second = ((rows / step - whole) * _LIMB).round_().clamp_(-_MOST_ASKED, _MOST_ASKED)
        limbs = [whole] if len(rows) > _FEW else [whole, second]
        shown = step * (whole if len(limbs) == 1 else whole + second / _LIMB)
        off = float(torch.linalg.vector_norm(rows - shown, dim=1).max())
        longest = float(torch.linalg.vector_norm(rows, dim=1).max())
        return cls(torch.cat(limbs).float(), len(rows), step, off, longest)


def coarse(vectors: Tensor) -> Coarse:
    """Vectors [V, n, D], finite, to a byte a number."""
    exact = vectors.double()
    step = (exact.abs().amax(dim=(1, 2)) / _MOST).float()
    by = step.double()[:, None, None]
    whole = torch.where(by > 0, exact / by, 0.0).round_().clamp_(-_MOST, _MOST)
    error = torch.linalg.vector_norm(exact - by * whole, dim=2).amax(dim=1)
    length = torch.linalg.vector_norm(exact, dim=2).amax(dim=1)
    return Coarse(whole.to(torch.int8), step, _up(error), _up(length))


def _up(x: Tensor) -> Tensor:
    """No less than x [n] >= 0, as float32."""
    return (x * _UP).float().clamp(min=torch.finfo(torch.float32).tiny)


class WholeRows:
    """Rounded vectors of many videos, and their products with a query's rows.

    On processors that FBGEMM knows, blocks are laid out for it the first time they are used, up to
    `room` bytes, and cost a quarter of a float32 product a vector; else they are widened each time.
    Both are exact, so both give the same.

    Args:
        whole: int8 [V, n, D], may be mapped.
        measures: float32 [V, 3]: step, error and length of `Coarse`.
        room: bytes that may be held beside `whole`.
    """

    def __init__(self, whole: Tensor, measures: Tensor, *, room: int) -> None:
        self._whole = whole
        self._step, self._error, self._length = measures.double().unbind(dim=1)
        self._room = room if _is_packable(whole.shape[2]) else 0
        self._packed: dict[tuple[int, int], Any] = {}

    def __len__(self) -> int:
        return len(self._whole)

    @property
    def count(self) -> int:
        """Vectors of a video."""
        return self._whole.shape[1]

    def near(self, rows: Tensor, videos: slice) -> Near:
        """Products of a query's rows float64 [R, D] with consecutive videos."""
        return self.near_each([RoundedRows.of(rows)], videos)[0]

    def near_each(self, queries: Sequence[RoundedRows], videos: slice) -> list[Near]:
        """Products of each query's rows with consecutive videos: one product gives them all.

        Slices should begin and end where those of other queries do: every block of them is laid out
        once.
        """
        products = self._products(torch.cat([one.limbs for one in queries]), videos)
        parts = torch.split(products, [len(one.limbs) for one in queries])
        return [self._near(*pair, videos) for pair in zip(queries, parts, strict=True)]

    def _near(self, asked: RoundedRows, products: Tensor, videos: slice) -> Near:
        if len(products) > asked.rows:
            first, rest = torch.split(products, asked.rows)
            products = first.add(rest, alpha=1 / _LIMB)
        length = self._length[videos]
        lost = asked.off * (length + self._error[videos]) + asked.longest * self._error[videos]
        _, count, width = self._whole.shape
        rounding = _ROUNDING if width <= _EXACT else width * _ROUNDING
        size = asked.longest * length
        error = (lost + rounding * size) * _UP
        products = products.view(asked.rows, len(length), count)
        return Near(products, asked.step * self._step[videos], error, length, size)

    def _products(self, rows: Tensor, videos: slice) -> Tensor:
        """Exact products [M, v n] of whole numbers."""
        starts = range(videos.start, videos.stop, _PACKED)
        blocks = [slice(start, min(start + _PACKED, videos.stop)) for start in starts]
        found = [self._block(rows, block) for block in blocks]
        return found[0] if len(found) == 1 else torch.cat(found, dim=1)

    def _block(self, rows: Tensor, videos: slice) -> Tensor:
        key = (videos.start, videos.stop)
        block = self._whole[videos].flatten(0, 1)
        if key not in self._packed and block.numel() <= self._room:
            self._room -= block.numel()
            self._packed[key] = _pack(block)
        if key in self._packed:
            return _packed_product(rows, self._packed[key])
        return rows @ block.float().T


def _is_packable(width: int) -> bool:
    """Whether FBGEMM is there and exact on the largest numbers there can be."""
    if "fbgemm" not in torch.backends.quantized.supported_engines:
        return False
    signs = torch.tensor([1, 1, -1, -1, 1], dtype=torch.int8)[:, None]
    block = (signs * _MOST).expand(-1, width).contiguous()
    block[4, ::2] *= -1
    rows = torch.stack([torch.full((width,), float(x)) for x in (_MOST_ASKED, -_MOST_ASKED)])
    try:
        return bool(torch.equal(_packed_product(rows, _pack(block)), rows @ block.float().T))
    except RuntimeError:
        return False


def _pack(block: Tensor) -> Any:
    """Rows int8 [n, D] as FBGEMM lays out a matrix."""
    before = torch.backends.quantized.engine
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that quantised tensors will leave torch: it is pinned
        try:
            torch.backends.quantized.engine = "fbgemm"
            quantised = torch._make_per_tensor_quantized_tensor(block.contiguous(), 1.0, 0)
            return torch.ops.quantized.linear_prepack(quantised, None)
        finally:
            torch.backends.quantized.engine = before


def _packed_product(rows: Tensor, packed: Any) -> Tensor:
    """Products float32 [M, n] of whole rows [M, D] between -64 and 63."""
    product: Tensor = torch.ops.quantized.linear_with_input_q_dq_qweight_dq_output_fp32(
        rows, 1.0, 64, packed
    )
    return product
