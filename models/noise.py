"""Noise of training, drawn by row: the same whatever batch, part or process a row is computed in.

A number is a hash of the run's seed, the step, the row's place in the global batch (of a pair, its
text's and its video's), what it is drawn for, and its position within the row: a counter-based
generator (Salmon et al. 2011, "Parallel Random Numbers: As Easy as 1, 2, 3") with SplitMix64's hash
(Steele et al. 2014). No state passes from one number to the next, so that processes, parts of a
batch, resumption and recomputed activations give what one pass gives, on a CPU and on a GPU.
"""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import blake2b

import torch
from torch import Tensor

__all__ = ["Noise", "StepNoise"]

_STEP = 0x9E3779B97F4A7C15 - (1 << 64)
"""2^64 divided by the golden ratio, as a signed number: the distance of SplitMix64's states."""
_FIRST, _SECOND = 0xBF58476D1CE4E5B9 - (1 << 64), 0x94D049BB133111EB - (1 << 64)


@dataclass(frozen=True)
class StepNoise:
    """What is random in one step of a run."""

    seed: int
    """Of the run."""
    step: int
    """Steps taken before this one."""

    def of_rows(self, rows: Tensor) -> Noise:
        """Noise of rows, by their places int64 [n] in the global batch."""
        return Noise(_folded(self._key(rows.device), rows))

    def of_pairs(self, texts: Tensor, videos: Tensor) -> Noise:
        """Noise [T, V] of pairs, by the places int64 [T] and [V] of texts and videos."""
        by_text = _folded(self._key(texts.device), texts)
        return Noise(_folded(by_text[:, None], videos[None, :]))

    def _key(self, device: torch.device) -> Tensor:
        seed, step = (torch.tensor(_signed(n), device=device) for n in (self.seed, self.step))
        return _folded(_folded(torch.zeros_like(seed), seed), step)


@dataclass(frozen=True)
class Noise:
    """Noise of rows or pairs.

    Attributes:
        keys: int64 [...], one for each row or pair.
    """

    keys: Tensor

    def __getitem__(self, chosen: slice | tuple[slice, slice]) -> Noise:
        """The noise of some of the rows, or of some texts with some videos."""
        return Noise(self.keys[chosen])

    def flat(self) -> Noise:
        """The noise [T * V] of pairs [T, V] that are computed one after the other."""
        return Noise(self.keys.flatten())

    def gumbel(self, numbers: int, *, site: str) -> Tensor:
        """Gumbel(0, 1) noise, float64 [..., numbers].

        Args:
            numbers: for each row.
            site: what it is drawn for; other sites draw other numbers.
        """
        return -torch.log(-torch.log(self._uniform(numbers, site=site)))

    def normal(self, numbers: int, *, site: str) -> Tensor:
        """Gaussian noise of mean 0 and spread 1, float64 [..., numbers]; as `gumbel`."""
        drawn: Tensor = torch.special.ndtri(self._uniform(numbers, site=site))
        return drawn

    def _uniform(self, numbers: int, *, site: str) -> Tensor:
        """Between 0 and 1, float64 [..., numbers]."""
        return (_shifted(self._bits(numbers, site=site), 11).double() + 0.5) * 2.0**-53

    def dropout(self, x: Tensor, *, share: float, site: str) -> Tensor:
        """`x` [..., A, B] with that share of its numbers at zero, the rest larger by as much.

        Args:
            x: one [A, B] for each row or pair.
            share: of the numbers to drop, 0 <= share < 1.
            site: as for `gumbel`.
        """
        numbers = x.numel() // max(self.keys.numel(), 1)
        words = self._bits((numbers + 1) // 2, site=site)
        drawn = words.view(torch.int32)[..., :numbers]  # each word decides on two numbers
        kept = drawn >= round(share * 2**32) - 2**31
        return x * kept.view(x.shape).to(x.dtype).mul_(1 / (1 - share))

    def _bits(self, numbers: int, *, site: str) -> Tensor:
        """Random 64 bits, int64 [..., numbers]."""
        name = int.from_bytes(blake2b(site.encode(), digest_size=8).digest(), "big", signed=True)
        keys = _folded(self.keys, torch.tensor(name, device=self.keys.device))
        counted = torch.arange(1, numbers + 1, device=keys.device) * _STEP
        return _mixed(keys[..., None] + counted)


def _folded(key: Tensor, number: Tensor) -> Tensor:
    """A key that follows from both; of one key, different numbers give different keys."""
    return _mixed((key ^ number) + _STEP)


def _mixed(x: Tensor) -> Tensor:
    """SplitMix64's hash of int64 numbers, which wrap around; `x` is overwritten."""
    x ^= _shifted(x, 30)
    x *= _FIRST
    x ^= _shifted(x, 27)
    x *= _SECOND
    x ^= _shifted(x, 31)
    return x


def _shifted(x: Tensor, bits: int) -> Tensor:
    """`x` shifted to the right, zeros coming in: torch's own shift copies the sign."""
    return (x >> bits).bitwise_and_((1 << (64 - bits)) - 1)


def _signed(number: int) -> int:
    """The int64 with the last 64 bits of `number`."""
    return (number + (1 << 63)) % (1 << 64) - (1 << 63)
