"""Re-ranking that uses all queries at once; reported apart, never mixed with plain scores."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Literal

import torch
from torch import Tensor

from reelvec.models.ranking.metrics import Blocks

__all__ = ["RERANKINGS", "RERANKING_NAMES", "SK_NORM", "Parts", "dual_softmax", "sinkhorn_bias"]

SK_NORM = "sk_norm"
"""The re-ranking that also asks the training split; see `sinkhorn_bias`."""
Parts = Callable[[], Iterable[Tensor]]
"""Blocks [c, t, V] of the c parts whose mean a score is: of all queries, from the start anew."""
_ROUNDS = 4


def dual_softmax(
    blocks: Blocks,
    *,
    direction: Literal["t2v", "v2t"] = "t2v",
    temperature: float = 1.0,
) -> Blocks:
    """Logits re-scored by how much each candidate prefers this query over all other queries.

    score = z + log_softmax(z / temperature) over the queries, where queries are the texts (t2v:
    over the rows) or the videos (v2t: over the columns). Among one query's candidates this orders
    as the product of both softmaxes. It is kept in logarithms because the product underflows in
    float32 for logits 100 apart, which would tie hundreds of candidates at zero.

    Args:
        blocks: As for `metrics.evaluate_similarity`; logits [t, V]. For t2v each pass over
            the result makes two passes over these.
        direction: Which side is asking.
        temperature: Divides logits in the softmax.

    Returns:
        Blocks of re-scored logits, same shapes; memory O(V) beside one block.
    """
    if temperature <= 0:
        raise ValueError(f"temperature={temperature}; it must be above 0")
    if direction not in {"t2v", "v2t"}:
        raise ValueError(f"direction={direction!r}; it must be t2v or v2t")

    def rows() -> Iterator[Tensor]:
        total = None if direction == "v2t" else _log_sum_over_rows(blocks, temperature)
        for raw in blocks():
            logits = torch.as_tensor(raw)
            z = logits / temperature
            yield logits + z - (torch.logsumexp(z, dim=1, keepdim=True) if total is None else total)

    return rows


def sinkhorn_bias(parts: Parts) -> Tensor:
    """UCoFiA's SK-norm: what is added to every score of a candidate, float64 [V].

    Training queries are scored against the candidates, each part by itself. Two vectors are
    scaled in turn until each query and each candidate has the same share of exp(scores); the
    candidate's is its bias, so that one which every query likes loses what it has too much. Kept
    in logarithms, where a maximum that is taken off first changes nothing.

    Args:
        parts: scores of training queries; V candidates.

    Returns:
        The mean over parts, as scores are a mean of them. Memory O(c V) beside one block.

    Source: specs/more-heads.md 6.4.
    """
    taken = -_summed(parts, lambda z: torch.logsumexp(z, dim=1))
    for _ in range(_ROUNDS):

        def given(z: Tensor, taken: Tensor = taken) -> Tensor:
            of_query = -torch.logsumexp(z + taken[:, None], dim=2, keepdim=True)
            return torch.logsumexp(z + of_query, dim=1)

        taken = -_summed(parts, given)
    return torch.log_softmax(taken, dim=1).mean(dim=0)


def _summed(parts: Parts, summed: Callable[[Tensor], Tensor]) -> Tensor:
    """The logarithm of a sum over all queries, [c, V]."""
    total: Tensor | None = None
    for raw in parts():
        part = summed(torch.as_tensor(raw).double())
        total = part if total is None else torch.logaddexp(total, part)
    if total is None:
        raise ValueError("no blocks: there is no training query to score")
    return total


RERANKINGS = {"dual_softmax": dual_softmax}
"""By name, those that need no other rows."""
RERANKING_NAMES = (*RERANKINGS, SK_NORM)
"""What `evaluate.rerank` takes."""


def _log_sum_over_rows(blocks: Blocks, temperature: float) -> Tensor:
    """Log of the sum over all texts of exp(logits / temperature), [V]."""
    total: Tensor | None = None
    for raw in blocks():
        part = torch.logsumexp(torch.as_tensor(raw) / temperature, dim=0)
        total = part if total is None else torch.logaddexp(total, part)
    if total is None:
        raise ValueError("no blocks: there is no text to score")
    return total
