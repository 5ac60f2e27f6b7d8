"""X-Pool's folded score and DRL's interaction, each against a naive twin of its formulas."""

import pytest
import torch

from reelvec.models.ranking.rivals import XPoolColumns, XPoolHead, wti_scores, xpool_scores


def pooled_pair(head, text, frames):
    """specs/more-heads.md 2.3, one text and one video [F, D], step by step."""
    x, asked = head.normed(frames, 0), head.mapped(head.normed(text, 0), "q")
    attention = torch.softmax(head.mapped(x, "k") @ asked / len(text) ** 0.5, dim=0)
    out = head.mapped(attention @ head.mapped(x, "v"), "out")
    y = head.normed(out, 1)
    z = head.normed(y + head.mapped(y, "linear"), 2)
    return text @ z / (text.norm() * z.norm())


@pytest.mark.parametrize("spread", [0.02, 0.5])
@pytest.mark.parametrize("count", [1, 5])
def test_folding_changes_no_score(spread, count):
    torch.manual_seed(3)
    head = XPoolHead.near_identity(24, spread=spread, dtype=torch.float64)
    texts = torch.randn(4, 24, dtype=torch.float64)
    frames = 2 * torch.randn(6, count, 24, dtype=torch.float64) + 0.5
    found = xpool_scores(head, texts, XPoolColumns.of(head, frames))
    wanted = torch.stack([torch.stack([pooled_pair(head, t, v) for v in frames]) for t in texts])
    torch.testing.assert_close(found, wanted, rtol=0, atol=1e-12)


def test_folding_holds_in_single_precision():
    torch.manual_seed(4)
    head = XPoolHead.near_identity(64, spread=0.05, dtype=torch.float32)
    texts, frames = torch.randn(3, 64), torch.randn(5, 12, 64)
    found = xpool_scores(head, texts, XPoolColumns.of(head, frames))
    wanted = torch.stack([torch.stack([pooled_pair(head, t, v) for v in frames]) for t in texts])
    torch.testing.assert_close(found, wanted, rtol=0, atol=5e-6)


def test_wti_is_the_weighted_mean_of_best_matches():
    torch.manual_seed(5)
    words = torch.nn.functional.normalize(torch.randn(3, 4, 8, dtype=torch.float64), dim=-1)
    frames = torch.nn.functional.normalize(torch.randn(5, 2, 8, dtype=torch.float64), dim=-1)
    a = torch.softmax(torch.randn(3, 4, dtype=torch.float64), dim=1)
    a[1, 2:] = 0
    a = a / a.sum(1, keepdim=True)
    b = torch.softmax(torch.randn(5, 2, dtype=torch.float64), dim=1)
    found = wti_scores(words, a, frames, b)
    for t in range(3):
        real = [i for i in range(4) if a[t, i] > 0]
        for v in range(5):
            dots = [[float(words[t, i] @ frames[v, j]) for j in range(2)] for i in range(4)]
            one = sum(float(a[t, i]) * max(dots[i]) for i in real)
            two = sum(float(b[v, j]) * max(dots[i][j] for i in real) for j in range(2))
            assert float(found[t, v]) == pytest.approx((one + two) / 2, abs=1e-12)
