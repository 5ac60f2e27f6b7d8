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
"Scaling Deep Contrastive Learning Batch Size under Memory Limited Setup"). Noise is drawn by a
row's place in that batch (`models.noise`), so it too is the same for any cut.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Literal, Protocol

import torch
from torch import Tensor
from torch.nn.utils import clip_grad_norm_, get_total_norm

from reelvec.configs.schema import TrainConfig
from reelvec.models.family import RetrievalModel
from reelvec.models.features import TextFeatures, VideoFeatures
from reelvec.models.noise import Noise, StepNoise
from reelvec.models.training.losses import Terms, weighted_rows_loss, weighted_symmetric_loss
from reelvec.models.training.running_statistics import moved_once
from reelvec.tasks.training.data import ClipBatch
from reelvec.tasks.training.leaves import Leaves, Seen, tensors_of
from reelvec.tasks.training.lesson import Lesson
from reelvec.tasks.training.order import pieces, step_seed
from reelvec.tasks.training.processes import Group

__all__ = ["Batch", "PairBatch", "StepOptions", "contrastive_backward", "limited_norm"]


class Batch(Protocol):
    """This process's rows of a global batch."""

    @property
    def pairs(self) -> int:
        """Rows of the global batch, over all processes."""

    def __len__(self) -> int: ...

    def rows(self, chosen: slice) -> Batch:
        """Some of the rows."""

    def encoded(
        self, model: RetrievalModel, noise: Mapping[str, Tensor], *, device: torch.device
    ) -> tuple[TextFeatures, VideoFeatures]:
        """Their features."""


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

    def __len__(self) -> int:
        return len(self.tokens)

    def rows(self, chosen: slice) -> PairBatch:
        """Some of the rows."""
        return PairBatch(self.tokens[chosen], self.clips.rows(chosen), self.pairs)

    def encoded(
        self, model: RetrievalModel, noise: Mapping[str, Tensor], *, device: torch.device
    ) -> tuple[TextFeatures, VideoFeatures]:
        """Their features."""
        clips, tokens = self.clips.to(device), self.tokens.to(device, non_blocking=True)
        text = model.encode_text(tokens)
        return text, model.encode_video(**model.prepare(clips.frames, clips.mask), **noise)


@dataclass(frozen=True)
class StepOptions:
    """How a step is computed.

    Attributes:
        parts: pieces in which the rows of a process are encoded.
        bf16: encode under bfloat16 autocast.
        legacy_scaling: divide the encoders' gradients by the number of processes, as the
            originals' gather does (specs/clip4clip-clip2video.md 3.2).
        negatives: whom a pair is compared with: the rest of the batch, or of its process alone
            (then nothing is gathered, and nothing divided).
        seed: of the run; what is random in a step follows from it and the step alone.
    """

    parts: int = 1
    bf16: bool = False
    legacy_scaling: bool = False
    negatives: Literal["batch", "process"] = "batch"
    seed: int = 0

    @classmethod
    def of(cls, options: TrainConfig) -> StepOptions:
        """Those of a run."""
        return cls(
            parts=options.accumulation,
            bf16=options.precision == "bf16",
            legacy_scaling=options.gradient_scaling == "legacy",
            negatives=options.negatives,
            seed=options.seed,
        )


@dataclass(frozen=True)
class _Part:
    """A piece of this process's rows.

    Attributes:
        batch: the rows.
        first: place of the first one in the global batch.
        noise: of the step.
        seed: of torch's own generator, for a family that draws from it; our own do not.
    """

    batch: Batch
    first: int
    noise: StepNoise
    seed: int


def contrastive_backward(
    model: RetrievalModel,
    batch: Batch,
    *,
    group: Group,
    step: int,
    options: StepOptions,
    lesson: Lesson | None = None,
) -> float:
    """Add the gradient of the symmetric loss of the global batch to the parameters' `grad`.

    Args:
        model: in training mode, on the group's device.
        batch: this process's rows.
        group: the processes; all of them call this together.
        step: number of the step, for its randomness.
        options: how.
        lesson: what teachers say of this process's rows; the loss is then theirs too.

    Returns:
        The loss of the global batch, the same on every process.
    """
    own = pieces(batch.pairs, processes=group.world)
    mine = own[group.rank]
    parts = list(_cut(batch, first=mine.start, step=step, options=options))
    at_once = len(parts) == 1
    with moved_once(model) as statistics:
        with torch.set_grad_enabled(at_once):
            encoded = [_encode(model, part, bf16=options.bf16) for part in parts]
        statistics.close_pass()
        text = TextFeatures.cat([t for t, _ in encoded])
        video = VideoFeatures.cat([v for _, v in encoded])
        seen = Seen.by(options.negatives, own, group=group)
        leaves = Leaves(text, video, seen)
        lesson = lesson and lesson.gathered(seen.group, sizes=seen.sizes)
        loss = _loss_part(model, leaves, StepNoise(options.seed, step), lesson=lesson)
        loss.backward()  # type: ignore[no-untyped-call]
        scale = 1.0 / seen.group.world if options.legacy_scaling else 1.0
        gradients = leaves.gradients(scale=scale)
        if at_once:
            _send_back([*tensors_of(text, video)], gradients)
        else:
            _send_back_in_parts(model, parts, gradients, bf16=options.bf16)
    group.share(statistics.tensors)
    group.sum(p.grad for p in model.parameters() if p.grad is not None)
    _restore_after_gather(model, scale=scale)
    total = loss.detach().double().reshape(1)
    group.sum([total])
    return float(total.item())


def limited_norm(model: RetrievalModel, limit: float | None) -> float:
    """The global norm of the gradients, which are then scaled down to `limit`; None: they stay."""
    given = [p for p in model.parameters() if p.grad is not None]
    if limit is not None:
        return float(clip_grad_norm_(given, limit))
    return float(get_total_norm([p.grad for p in given if p.grad is not None]))


def _cut(batch: Batch, *, first: int, step: int, options: StepOptions) -> Iterator[_Part]:
    """Parts of the rows."""
    rows = len(batch)
    noise = StepNoise(options.seed, step)
    for chosen in pieces(rows, processes=min(options.parts, rows)):
        start = first + chosen.start
        yield _Part(batch.rows(chosen), start, noise, step_seed(options.seed, step=step, row=start))


def _encode(
    model: RetrievalModel, part: _Part, *, bf16: bool
) -> tuple[TextFeatures, VideoFeatures]:
    device = next(model.parameters()).device
    torch.manual_seed(part.seed)
    rows = torch.arange(part.first, part.first + len(part.batch), device=device)
    noise = model.video_noise(part.noise.of_rows(rows))
    with _autocast(device, on=bf16):
        return part.batch.encoded(model, noise, device=device)


def _restore_after_gather(model: RetrievalModel, *, scale: float) -> None:
    """Undo the division of gradients for what the original uses after its gather."""
    if scale == 1.0 or not model.after_gather:
        return
    for name, parameter in model.named_parameters():
        if parameter.grad is not None and name.startswith(model.after_gather):
            parameter.grad.div_(scale)


def _autocast(device: torch.device, *, on: bool) -> AbstractContextManager[object]:
    return torch.autocast(device.type, dtype=torch.bfloat16) if on else nullcontext()


def _loss_part(
    model: RetrievalModel, leaves: Leaves, noise: StepNoise, *, lesson: Lesson | None
) -> Tensor:
    """This process's part of the loss; the parts of all processes add up to the whole."""
    text, video, mine = leaves.text, leaves.video, leaves.seen.mine
    device = next(iter(text.tensors.values())).device
    places = torch.arange(leaves.seen.first, leaves.seen.first + len(text), device=device)
    share, pairs = (mine.stop - mine.start) / leaves.seen.pairs, noise.of_pairs(places, places)
    of_pairs = _loss_of_pairs(model, leaves, pairs, lesson=lesson, share=share)
    of_batch = model.batch_loss(text, video, noise=noise.of_rows(places))
    return of_pairs if of_batch is None else of_pairs + share * of_batch


def _loss_of_pairs(
    model: RetrievalModel, leaves: Leaves, pairs: Noise, *, lesson: Lesson | None, share: float
) -> Tensor:
    text, video, mine = leaves.text, leaves.video, leaves.seen.mine
    everything = slice(None)
    if mine.stop - mine.start == len(text):
        terms = model.training_terms(text, video, noise=pairs)
        if lesson is not None:
            return lesson.loss(terms, _transposed(terms), video, mine=mine, share=share)
        whole: Tensor = weighted_symmetric_loss(terms) * share
        return whole
    own_rows = model.training_terms(text.index(mine), video, noise=pairs[mine, everything])
    own_columns = _transposed(
        model.training_terms(text, video.index(mine), noise=pairs[everything, mine])
    )
    if lesson is not None:
        own = video.index(mine)
        return lesson.loss(own_rows, own_columns, own, mine=mine, share=share)
    both = weighted_rows_loss(own_rows, first=mine.start) + weighted_rows_loss(
        own_columns, first=mine.start
    )
    part: Tensor = both * (share / 2)
    return part


def _transposed(terms: Terms) -> Terms:
    return [(weight, logits.T) for weight, logits in terms]


def _send_back(features: Sequence[Tensor], gradients: Sequence[Tensor | None]) -> None:
    """Backward from features through their encoders, for those that have both."""
    pairs = [
        (feature, gradient)
        for feature, gradient in zip(features, gradients, strict=True)
        if gradient is not None and feature.requires_grad
    ]
    if pairs:
        torch.autograd.backward([f for f, _ in pairs], [g for _, g in pairs])


def _send_back_in_parts(
    model: RetrievalModel,
    parts: Sequence[_Part],
    gradients: Sequence[Tensor | None],
    *,
    bf16: bool,
) -> None:
    """Backward part by part, each through a graph built anew."""
    first = 0
    for part in parts:
        last = first + len(part.batch)
        features = tensors_of(*_encode(model, part, bf16=bf16))
        _send_back([*features], [g if g is None else g[first:last] for g in gradients])
        first = last
