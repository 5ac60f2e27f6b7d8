"""How rows of the two embedding tables are scored, whatever the family: columns in, logits out."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

import torch
from torch import Tensor

from reelvec.models.bounding import Bounded, ScoreBound
from reelvec.models.family import RetrievalModel
from reelvec.models.features import EMBEDDING, Features, TextFeatures, VideoFeatures
from reelvec.models.ranking.exact import exact_product
from reelvec.models.whole_vectors import whole_vectors

__all__ = ["PAIRS_OF", "Columns", "Scoring", "dot_product", "one_thread", "scoring_of"]

F = TypeVar("F", bound=Features)
PAIRS_OF = 64
"""Texts, and videos, scored at once by a model's own score."""

_ALIGNED = 64
"""Bytes, as torch lays out what it allocates."""

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
    bound: ScoreBound | None = None
    """Never below the score, and cheap; None: there is none."""
    cosine_scale: float | None = None
    """Of the exact cosine of `embedding`, where that is the score; None: it is another one."""
    text_vectors: Callable[[Columns], Tensor | None] | None = None
    """One unit vector a text [T, D] whose product with `video_vectors` is near to a score that is
    no product; None: a product needs none."""
    video_vectors: Callable[[Columns], Tensor | None] | None = None
    scorer: Callable[[Columns], Callable[[Columns], Tensor]] | None = None
    """`similarity` in two steps, where texts have something to compute once; None: nothing."""
    components: Callable[[Columns, Columns], Tensor] | None = None
    """(texts [T], videos [V]) -> [c, T, V] whose mean is `similarity`; None: that alone."""

    def of(self, texts: Columns) -> Callable[[Columns], Tensor]:
        """`similarity` of these texts with any videos."""
        return partial(self.similarity, texts) if self.scorer is None else self.scorer(texts)

    def parts(self, texts: Columns, videos: Columns) -> Tensor:
        """What the score is the mean of, [c, T, V]."""
        if self.components is None:
            return self.similarity(texts, videos)[None]
        return self.components(texts, videos)


def dot_product(*, scale: float = 1.0) -> Scoring:
    """`scale` times the product of the unit vectors; a scale changes re-rankings, never ranks."""

    def similarity(texts: Columns, videos: Columns) -> Tensor:
        return scale * exact_product(texts[EMBEDDING], videos[EMBEDDING])

    unit = "cosine" if scale == 1.0 else "logit"
    return Scoring(similarity, unit=unit, cosine_scale=scale)


@torch.inference_mode()
def scoring_of(model: RetrievalModel) -> Scoring:
    """The score of `model`: a plain product where it says so, else its own `similarity`.

    The model's parameters stay on their device; blocks are moved there and logits back. They have
    one size, whatever is scored, so that a logit is rounded alike beside any others.
    """
    if model.is_dot_product:
        return dot_product(scale=float(model.logit_scale.exp()))
    device = model.logit_scale.device

    @torch.inference_mode()
    def scorer(texts: Columns) -> Callable[[Columns], Tensor]:
        text = TextFeatures.from_columns(texts, columns=model.text_columns).to(device=device)
        tall = 1 if len(text) == 1 else PAIRS_OF
        scores = [model.scorer(some) for some in _blocks(text, size=tall)]

        @torch.inference_mode()
        def score(videos: Columns) -> Tensor:
            video = VideoFeatures.from_columns(videos, columns=model.video_columns)
            video = video.to(device=device)
            rows = [
                torch.cat([one(v).cpu() for v in _blocks(video, size=PAIRS_OF)], dim=1)
                for one in scores
            ]
            return torch.cat(rows)[: len(text), : len(video)]

        return score

    def text_vectors(texts: Columns) -> Tensor | None:
        return whole_vectors(TextFeatures.from_columns(texts, columns=model.text_columns))

    def video_vectors(videos: Columns) -> Tensor | None:
        return whole_vectors(VideoFeatures.from_columns(videos, columns=model.video_columns))

    return Scoring(
        lambda texts, videos: scorer(texts)(videos),
        tuple(model.text_columns),
        tuple(model.video_columns),
        bound=model.score_bound() if isinstance(model, Bounded) else None,
        scorer=scorer,
        components=partial(_components, model),
        text_vectors=text_vectors,
        video_vectors=video_vectors,
    )


@torch.inference_mode()
def _components(model: RetrievalModel, texts: Columns, videos: Columns) -> Tensor:
    """See `Scoring.components`."""
    device = model.logit_scale.device
    text = TextFeatures.from_columns(texts, columns=model.text_columns).to(device=device)
    video = VideoFeatures.from_columns(videos, columns=model.video_columns).to(device=device)
    return torch.stack(model.components(text, video)).cpu()


def _blocks(features: F, *, size: int) -> Iterator[F]:
    """All rows, `size` at once; the last one fills up the last block.

    A product's last bit may hang on where in memory its numbers begin, so what lies askew is
    copied.
    """
    for start in range(0, len(features), size):
        some = features.index(slice(start, start + size))
        laid_out = all(x.data_ptr() % _ALIGNED == 0 for x in some.tensors.values())
        if len(some) < size or not laid_out:
            rows = torch.arange(start, start + size).clamp_(max=len(features) - 1)
            some = features.index(rows)
        yield some


@contextmanager
def one_thread() -> Iterator[None]:
    """One CPU thread while the block runs: equal tables give equal bits on any number of cores."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
