"""One training step: the gradient of the contrastive loss over the global batch.

The loss sees features, never encoders, so its gradient is taken in three moves that are the same
for one process and many, one pass and several:

1. Each process encodes its rows; features are gathered over processes, as plain numbers.
2. Each process scores its own rows and its own columns; the gradients with respect to all
   features are summed over processes. What the score itself learns (logit_scale) gets its part.
3. Each process sends the gradient of its own features back through the encoders: through the
   graph of move 1, or, with accumulation, part by part through graphs built anew. The gradients
   of parameters are then summed over processes.

All negatives of the global batch count whatever the number of parts (GradCache: Gao et al. 2021,
"Scaling Deep Contrastive Learning Batch Size under Memory Limited Setup").
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

import torch
from torch import Tensor

from reelvec.models.family import RetrievalModel
from reelvec.models.features import TextFeatures, VideoFeatures
from reelvec.models.training.losses import Terms, weighted_rows_loss, weighted_symmetric_loss
from reelvec.tasks.training.data import ClipBatch
from reelvec.tasks.training.order import pieces, step_seed
from reelvec.tasks.training.processes import Group

__all__ = ["PairBatch", "StepOptions", "contrastive_backward"]


@dataclass(frozen=True)
class PairBatch:
    """This process's rows of a global batch.

    Attributes:
        tokens: int64 [n, L].
        clips: frames and mask of the n clips.
        pairs: rows of the global batch, over all processes.
    """

    tokens: Tensor
    clips: ClipBatch
    pairs: int


@dataclass(frozen=True)
class StepOptions:
    """How a step is computed.

    Attributes:
        parts: pieces in which the rows of a process are encoded.
        bf16: encode under bfloat16 autocast.
        legacy_scaling: divide the encoders' gradients by the number of processes, as the
            originals' gather does (specs/clip4clip-clip2video.md 3.2).
        seed: of the run; what is random in a step follows from it and the step alone.
    """

    parts: int = 1
    bf16: bool = False
    legacy_scaling: bool = False
    seed: int = 0


@dataclass(frozen=True)
class _Part:
    """A piece of this process's rows, and the seed of its randomness."""

    batch: PairBatch
    seed: int


def contrastive_backward(
    model: RetrievalModel, batch: PairBatch, *, group: Group, step: int, options: StepOptions
) -> float:
    """Add the gradient of the symmetric loss of the global batch to the parameters' `grad`.

    Args:
        model: in training mode, on the group's device.
        batch: this process's rows.
        group: the processes; all of them call this together.
        step: number of the step, for its randomness.
        options: how.

    Returns:
        The loss of the global batch, the same on every process.
    """
    own = pieces(batch.pairs, processes=group.world)
    mine = own[group.rank]
    parts = list(_cut(batch, first=mine.start, step=step, options=options))
    at_once = len(parts) == 1
    with torch.set_grad_enabled(at_once):
        encoded = [_encode(model, part, bf16=options.bf16) for part in parts]
    text = TextFeatures.cat([t for t, _ in encoded])
    video = VideoFeatures.cat([v for _, v in encoded])
    sizes = [rows.stop - rows.start for rows in own]
    leaves = _Leaves(text, video, group=group, sizes=sizes)
    loss = _loss_part(model, leaves.text, leaves.video, mine=mine, pairs=batch.pairs)
    loss.backward()  # type: ignore[no-untyped-call]
    scale = 1.0 / group.world if options.legacy_scaling else 1.0
    gradients = leaves.gradients(mine, group=group, scale=scale)
    if at_once:
        _send_back([*_tensors(text, video)], gradients)
    else:
        first = 0
        for part in parts:
            last = first + len(part.batch.tokens)
            part_features = _encode(model, part, bf16=options.bf16)
            _send_back(
                [*_tensors(*part_features)], [g if g is None else g[first:last] for g in gradients]
            )
            first = last
    group.sum(p.grad for p in model.parameters() if p.grad is not None)
    total = loss.detach().double().reshape(1)
    group.sum([total])
    return float(total.item())


def _cut(batch: PairBatch, *, first: int, step: int, options: StepOptions) -> Iterator[_Part]:
    """Parts of the rows, each with a seed that follows from its place in the global batch."""
    rows = len(batch.tokens)
    for chosen in pieces(rows, processes=min(options.parts, rows)):
        part = PairBatch(batch.tokens[chosen], batch.clips.rows(chosen), batch.pairs)
        yield _Part(part, step_seed(options.seed, step=step, row=first + chosen.start))


def _encode(
    model: RetrievalModel, part: _Part, *, bf16: bool
) -> tuple[TextFeatures, VideoFeatures]:
    device = next(model.parameters()).device
    torch.manual_seed(part.seed)
    clips = part.batch.clips.to(device)
    tokens = part.batch.tokens.to(device, non_blocking=True)
    with _autocast(device, on=bf16):
        text = model.encode_text(tokens)
        video = model.encode_video(**model.prepare(clips.frames, clips.mask))
    return text, video


def _autocast(device: torch.device, *, on: bool) -> AbstractContextManager[object]:
    return torch.autocast(device.type, dtype=torch.bfloat16) if on else nullcontext()


def _loss_part(
    model: RetrievalModel, text: TextFeatures, video: VideoFeatures, *, mine: slice, pairs: int
) -> Tensor:
    """This process's part of the loss; the parts of all processes add up to the whole."""
    rows = mine.stop - mine.start
    if rows == pairs:
        return weighted_symmetric_loss(model.score_terms(text, video))
    own_rows = model.score_terms(text.index(mine), video)
    own_columns = _transposed(model.score_terms(text, video.index(mine)))
    both = weighted_rows_loss(own_rows, first=mine.start) + weighted_rows_loss(
        own_columns, first=mine.start
    )
    part: Tensor = both * (rows / (2 * pairs))
    return part


def _transposed(terms: Terms) -> Terms:
    return [(weight, logits.T) for weight, logits in terms]


class _Leaves:
    """Features of the global batch as leaves of the loss's own graph."""

    def __init__(
        self, text: TextFeatures, video: VideoFeatures, *, group: Group, sizes: Sequence[int]
    ) -> None:
        self.text = TextFeatures(
            {
                name: _leaf(group.gather(tensor, sizes=sizes))
                for name, tensor in text.tensors.items()
            }
        )
        self.video = VideoFeatures(
            {
                name: _leaf(group.gather(tensor, sizes=sizes))
                for name, tensor in video.tensors.items()
            }
        )

    def gradients(self, mine: slice, *, group: Group, scale: float) -> list[Tensor | None]:
        """Gradients of this process's features, in the order of `_tensors`; None: not used."""
        leaves = list(_tensors(self.text, self.video))
        group.sum(leaf.grad for leaf in leaves if leaf.grad is not None)
        return [None if leaf.grad is None else scale * leaf.grad[mine] for leaf in leaves]


def _leaf(tensor: Tensor) -> Tensor:
    return tensor.requires_grad_() if tensor.is_floating_point() else tensor


def _tensors(text: TextFeatures, video: VideoFeatures) -> Iterator[Tensor]:
    yield from text.tensors.values()
    yield from video.tensors.values()


def _send_back(features: Sequence[Tensor], gradients: Sequence[Tensor | None]) -> None:
    """Backward from features through their encoders, for those that have both."""
    pairs = [
        (feature, gradient)
        for feature, gradient in zip(features, gradients, strict=True)
        if gradient is not None and feature.requires_grad
    ]
    if pairs:
        torch.autograd.backward([f for f, _ in pairs], [g for _, g in pairs])
