import pytest
import torch
import torch.nn.functional as F

from reelvec.models.training.losses import (
    combine_terms,
    rows_loss,
    symmetric_loss,
    weighted_rows_loss,
    weighted_symmetric_loss,
)


def logits(seed=0, n=6):
    return torch.randn(n, n, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) * 9


def test_symmetric_loss_is_the_mean_of_both_cross_entropies():
    z, target = logits(), torch.arange(6)
    want = (F.cross_entropy(z, target) + F.cross_entropy(z.T, target)) / 2
    torch.testing.assert_close(symmetric_loss(z), want)


def test_loss_of_chance_is_log_n():
    assert symmetric_loss(torch.zeros(8, 8)).item() == pytest.approx(
        torch.log(torch.tensor(8.0)).item()
    )


@pytest.mark.parametrize("ranks", [1, 2, 3])
def test_rows_of_all_processes_average_to_the_whole(ranks):
    z = logits().requires_grad_()
    whole = symmetric_loss(z)
    (grad,) = torch.autograd.grad(whole, z)
    n = 6 // ranks
    parts = [
        (
            rows_loss(z[r * n : r * n + n], first=r * n)
            + rows_loss(z.T[r * n : r * n + n], first=r * n)
        )
        / 2
        for r in range(ranks)
    ]
    split = sum(parts) / ranks
    torch.testing.assert_close(split, whole)
    torch.testing.assert_close(torch.autograd.grad(split, z)[0], grad)


def test_terms():
    terms = [(0.25, logits(1)), (0.75, logits(2))]
    torch.testing.assert_close(combine_terms(terms), 0.25 * logits(1) + 0.75 * logits(2))
    want = 0.25 * symmetric_loss(logits(1)) + 0.75 * symmetric_loss(logits(2))
    torch.testing.assert_close(weighted_symmetric_loss(terms), want)
    rows = [(w, z[2:4]) for w, z in terms]
    want = 0.25 * rows_loss(logits(1)[2:4], first=2) + 0.75 * rows_loss(logits(2)[2:4], first=2)
    torch.testing.assert_close(weighted_rows_loss(rows, first=2), want)


def test_rows_without_a_match_are_refused():
    with pytest.raises(ValueError, match="needs its match"):
        symmetric_loss(torch.zeros(4, 3))
    with pytest.raises(ValueError, match=r"rows 3\.\.4"):
        rows_loss(torch.zeros(2, 4), first=3)
