"""How rows of the two embedding tables are scored, whatever the family: columns in, logits out."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor

from reelvec.models.family import RetrievalModel
from reelvec.models.features import EMBEDDING, TextFeatures, VideoFeatures

__all__ = ["Columns", "Scoring", "dot_product", "one_thread", "scoring_of"]

Columns = Mapping[str, Tensor]
"""Table columns as tensors [rows, numbers a row]; floats as float32."""


@dataclass(frozen=True)
class Scoring:
    """A score and the columns it reads."""

    similarity: Callable[[Columns, Columns], Tensor]
    """(texts [T], videos [V]) -> logits [T, V]."""
    text_columns: tuple[str, ...] = (EMBEDDING,)
    video_columns: tuple[str, ...] = (EMBEDDING,)
    unit: str = "logit"
    """What the numbers are: cosine (-1 to 1), or logit, which compares within one text alone."""


def dot_product(*, scale: float = 1.0) -> Scoring:
    """`scale` times the product of the unit vectors; a scale changes re-rankings, never ranks."""

    def similarity(texts: Columns, videos: Columns) -> Tensor:
        return scale * (texts[EMBEDDING] @ videos[EMBEDDING].T)

    return Scoring(similarity, unit="cosine" if scale == 1.0 else "logit")


@torch.inference_mode()
def scoring_of(model: RetrievalModel) -> Scoring:
    """The score of `model`: a plain product where it says so, else its own `similarity`.

    The model's parameters stay on their device; blocks are moved there and logits back.
    """
    if model.is_dot_product:
        return dot_product(scale=float(model.logit_scale.exp()))
    device = model.logit_scale.device

    @torch.inference_mode()
    def similarity(texts: Columns, videos: Columns) -> Tensor:
        text = TextFeatures.from_columns(texts, columns=model.text_columns).to(device=device)
        video = VideoFeatures.from_columns(videos, columns=model.video_columns).to(device=device)
        return model.similarity(text, video).cpu()

    return Scoring(similarity, tuple(model.text_columns), tuple(model.video_columns))


@contextmanager
def one_thread() -> Iterator[None]:
    """One CPU thread while the block runs: equal tables give equal bits on any number of cores."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
