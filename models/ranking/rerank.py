"""Re-ranking that uses all queries at once; reported apart, never mixed with plain scores."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

import torch
from torch import Tensor

from reelvec.models.ranking.metrics import Blocks

__all__ = ["RERANKINGS", "dual_softmax"]


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


RERANKINGS = {"dual_softmax": dual_softmax}
"""By the names `evaluate.rerank` takes."""


def _log_sum_over_rows(blocks: Blocks, temperature: float) -> Tensor:
    """Log of the sum over all texts of exp(logits / temperature), [V]."""
    total: Tensor | None = None
    for raw in blocks():
        part = torch.logsumexp(torch.as_tensor(raw) / temperature, dim=0)
        total = part if total is None else torch.logaddexp(total, part)
    if total is None:
        raise ValueError("no blocks: there is no text to score")
    return total
