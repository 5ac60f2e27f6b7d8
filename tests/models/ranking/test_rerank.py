import numpy as np
import pytest
import torch

from reelvec.models.ranking.metrics import evaluate_similarity
from reelvec.models.ranking.rerank import dual_softmax, sinkhorn_bias


def naive(logits, direction, temperature):
    axis = 0 if direction == "t2v" else 1
    return logits + torch.log_softmax(logits / temperature, dim=axis)


@pytest.mark.parametrize("direction", ["t2v", "v2t"])
@pytest.mark.parametrize("block", [1, 3, 100])
@pytest.mark.parametrize("temperature", [1.0, 20.0])
def test_blocks_equal_the_whole_matrix(direction, block, temperature):
    logits = (
        torch.randn(11, 7, generator=torch.Generator().manual_seed(1), dtype=torch.float64) * 30
    )
    rows = dual_softmax(lambda: logits.split(block), direction=direction, temperature=temperature)
    torch.testing.assert_close(torch.cat(list(rows())), naive(logits, direction, temperature))
    torch.testing.assert_close(torch.cat(list(rows())), naive(logits, direction, temperature))


def test_orders_as_the_product_of_both_softmaxes():
    logits = torch.randn(9, 9, generator=torch.Generator().manual_seed(2), dtype=torch.float64) * 5
    product = torch.softmax(logits, 0) * torch.softmax(logits, 1)
    (scored,) = dual_softmax(lambda: [logits])()
    assert torch.equal(scored.argsort(1), product.argsort(1))
    (scored,) = dual_softmax(lambda: [logits], direction="v2t")()
    assert torch.equal(scored.argsort(0), product.argsort(0))


def test_no_ties_from_underflow():
    """softmax over logits 200 apart is exactly 0 in float32; the scores must still differ."""
    logits = torch.tensor([[200.0, -150.0, -151.0], [0.0, 0.0, 0.0], [-300.0, 10.0, 9.0]])
    (scored,) = dual_softmax(lambda: [logits])()
    assert all(len(set(row)) == 3 for row in scored[[0, 2]].tolist())


def test_a_hub_video_stops_winning_every_query():
    own = np.eye(6) * 2.0
    own[:, 0] += 3.0  # video 0 is liked by all texts
    logits = torch.from_numpy(own)
    plain = evaluate_similarity(lambda: [logits], text_to_video=range(6), n_videos=6)
    ranked = evaluate_similarity(dual_softmax(lambda: [logits]), text_to_video=range(6), n_videos=6)
    assert plain.t2v.recall[1] < ranked.t2v.recall[1] == 100.0


def test_bad_arguments():
    with pytest.raises(ValueError, match="temperature"):
        dual_softmax(lambda: [], temperature=0)
    with pytest.raises(ValueError, match="t2v or v2t"):
        dual_softmax(lambda: [], direction="both")
    with pytest.raises(ValueError, match="no blocks"):
        list(dual_softmax(lambda: [])())


def naive_bias(scores):
    """specs/more-heads.md 6.4 to the letter, of one part [queries, candidates]."""
    kernel = torch.exp(scores - scores.max())
    b = 1 / kernel.sum(0)
    for _ in range(4):
        a = 1 / (kernel @ b)
        b = 1 / (a @ kernel)
    return torch.log_softmax(torch.log(b) - torch.log(b).max(), dim=0)


@pytest.mark.parametrize("block", [1, 4, 100])
def test_sk_norm_is_the_specification(block):
    generator = torch.Generator().manual_seed(3)
    parts = torch.randn(3, 13, 6, generator=generator, dtype=torch.float64) * 5
    wanted = sum(naive_bias(part) for part in parts) / 3
    found = sinkhorn_bias(lambda: parts.split(block, dim=1))
    torch.testing.assert_close(found, wanted, rtol=0, atol=1e-12)
    mean_first = naive_bias(parts.mean(0))
    assert (found - mean_first).abs().max() > 0.1, "each part has its own"
    with pytest.raises(ValueError, match="no training query"):
        sinkhorn_bias(lambda: [])


def test_sk_norm_stays_finite_where_exponentials_are_not():
    parts = torch.tensor([[[900.0, -900.0, 0.0], [0.0, 880.0, -900.0]]])
    assert torch.isfinite(sinkhorn_bias(lambda: [parts])).all()


def test_sk_norm_takes_from_a_hub_video():
    """All training texts like video 0; its bias is the lowest."""
    train = torch.eye(4)[[1, 2, 3, 1]] + torch.tensor([3.0, 0, 0, 0])
    assert sinkhorn_bias(lambda: [train[None]]).argmin() == 0
