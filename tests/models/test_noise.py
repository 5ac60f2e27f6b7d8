"""Noise by row: what its numbers follow from, and that they are random."""

import math
from itertools import pairwise

import pytest
import torch

from reelvec.models.noise import Noise, StepNoise, _mixed

MASK = (1 << 64) - 1
ROWS = torch.arange(2048)


def hashed(x):
    """SplitMix64's hash in Python's own integers."""
    x &= MASK
    x = ((x ^ (x >> 30)) * 0xBF58476D1CE4E5B9) & MASK
    x = ((x ^ (x >> 27)) * 0x94D049BB133111EB) & MASK
    return x ^ (x >> 31)


def bits(*, seed=1, step=2, rows=ROWS, site="a", numbers=16):
    return StepNoise(seed, step).of_rows(rows)._bits(numbers, site=site)


def test_the_hash_is_splitmix64s():
    numbers = [0, 1, -1, 12345, -(2**63), 2**63 - 1]
    found = _mixed(torch.tensor(numbers)).tolist()
    assert [x & MASK for x in found] == [hashed(x) for x in numbers]
    # the first outputs of its authors' code from state 1234567
    steps = [1234567 + 0x9E3779B97F4A7C15 * i for i in (1, 2)]
    assert [hashed(x) for x in steps] == [6457827717110365317, 3203168211198807973]


def test_a_row_draws_the_same_in_any_company():
    noise = StepNoise(42, 7)
    whole = noise.of_rows(ROWS).gumbel(5, site="a")
    chosen = torch.tensor([2000, 3, 17])
    assert torch.equal(noise.of_rows(chosen).gumbel(5, site="a"), whole[chosen])
    assert torch.equal(noise.of_rows(ROWS)[3:9].gumbel(5, site="a"), whole[3:9])
    x = torch.ones(4, 6, 3, 5, dtype=torch.float64)
    pairs = noise.of_pairs(ROWS[:4], ROWS[:6])
    dropped = pairs.dropout(x, share=0.4, site="a")
    some = noise.of_pairs(ROWS[2:3], ROWS[1:4]).dropout(x[2:3, 1:4], share=0.4, site="a")
    assert torch.equal(some, dropped[2:3, 1:4])
    assert torch.equal(pairs[2:3, 1:4].dropout(x[2:3, 1:4], share=0.4, site="a"), some)
    flat = pairs.flat().dropout(x.flatten(0, 1), share=0.4, site="a")
    assert torch.equal(flat.view_as(x), dropped)


def test_nothing_is_taken_from_torchs_generator():
    state = torch.get_rng_state()
    bits()
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("change", [{"seed": 2}, {"step": 3}, {"site": "b"}, {"rows": ROWS + 1}])
def test_each_neighbour_draws_apart(change):
    """Half of the bits differ, and the numbers do not go together."""
    one, other = bits(), bits(**change)
    assert share_of_ones(one ^ other) == pytest.approx(0.5, abs=0.005)
    pair = torch.stack([normal(one), normal(other)])
    assert abs(torch.corrcoef(pair)[0, 1].item()) < 0.02
    if "rows" in change:
        assert torch.equal(one[1:], other[:-1])


def test_pairs_are_not_symmetric_nor_rows():
    noise = StepNoise(1, 2)
    pairs = noise.of_pairs(ROWS[:64], ROWS[:64])
    assert len(pairs.keys.unique()) == 64 * 64
    assert not (pairs.keys == pairs.keys.T).triu(1).any()
    assert not torch.isin(noise.of_rows(ROWS).keys, pairs.keys).any()


@pytest.mark.parametrize("seed", [0, 42, -5, 2**63 + 11, 2**64 - 1])
def test_bits_are_even_and_numbers_uniform(seed):
    found = bits(seed=seed)
    for bit in range(64):
        assert ((found >> bit) & 1).double().mean().item() == pytest.approx(0.5, abs=0.015), bit
    assert len(found.unique()) == found.numel()
    counts = torch.bincount(((found >> 56) & 255).flatten(), minlength=256).double()
    expected = found.numel() / 256
    chi = ((counts - expected) ** 2 / expected).sum().item()
    assert abs(chi - 255) < 5 * math.sqrt(2 * 255)
    for one, other in pairwise(normal(found).view(-1, 16).T):
        assert abs(torch.corrcoef(torch.stack([one, other]))[0, 1].item()) < 0.12


def share_of_ones(x):
    return torch.stack([(x >> bit) & 1 for bit in range(64)]).double().mean().item()


def normal(x):
    return x.double().flatten() / 2**63


def test_gumbel_noise_has_its_distribution():
    found = StepNoise(3, 1).of_rows(ROWS).gumbel(32, site="a").flatten()
    assert found.mean().item() == pytest.approx(0.5772, abs=0.02)
    assert found.var().item() == pytest.approx(math.pi**2 / 6, abs=0.05)
    below = torch.exp(-torch.exp(-found)).sort().values  # its distribution function: uniform
    places = (torch.arange(len(found)) + 0.5) / len(found)
    assert (below - places).abs().max().item() < 1.95 / math.sqrt(len(found))  # Kolmogorov, 0.1 %


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5])
def test_dropout_drops_its_share_and_keeps_the_mean(share):
    x = torch.ones(len(ROWS), 3, 7)  # an odd number, two of a word
    found = StepNoise(3, 1).of_rows(ROWS).dropout(x, share=share, site="a")
    assert (found == 0).double().mean().item() == pytest.approx(share, abs=0.01)
    assert found.mean().item() == pytest.approx(1.0, abs=0.01)
    assert set(found.unique().tolist()) <= {0.0, torch.tensor(1 / (1 - share)).item()}
    by_place = (found == 0).double().mean(0)
    assert (by_place - share).abs().max().item() < 0.05


def test_no_rows_draw_nothing():
    none = Noise(torch.empty(0, dtype=torch.int64))
    assert none.gumbel(4, site="a").shape == (0, 4)
    assert none.dropout(torch.empty(0, 2, 3), share=0.1, site="a").shape == (0, 2, 3)
