"""What a student learns from teachers: their scores of a batch, and their weights of frames.

Written from specs/more-heads.md 4.4 alone (TeachCLIP's code has no licence). All parts are means
over rows, so that processes which hold some rows each come to the same number.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import torch
from torch import Tensor
from torch.nn.functional import smooth_l1_loss

from reelvec.configs.training import DistillationConfig
from reelvec.models.training.losses import Terms, combine_terms, weighted_rows_loss

__all__ = ["Distilled", "Scores", "distilled_loss"]


@dataclass(frozen=True)
class Scores:
    """What a model says of some rows of a batch of B pairs.

    Attributes:
        rows: (weight, logits [n, B]) of n texts with all videos.
        columns: (weight, logits [n, B]) of the same pairs' videos with all texts.
        frame_weights: [n, F] how much each frame counts, sums 1, 0 where there is no frame; None:
            the model weighs no frames.
    """

    rows: Terms
    columns: Terms
    frame_weights: Tensor | None = None


@dataclass(frozen=True)
class Distilled:
    """The parts of a loss, unweighted, and their weighted sum."""

    pairs: Tensor
    scores: Tensor
    frames: Tensor
    total: Tensor


def distilled_loss(
    student: Scores, teachers: Sequence[Scores], *, first: int = 0, options: DistillationConfig
) -> Distilled:
    """The loss of a student's rows.

    Args:
        student: its scores.
        teachers: theirs of the same rows; the parts are means over teachers, that of frames over
            those who weigh frames.
        first: column of the first row's match.
        options: how scores and frames are compared.
    """
    rows, columns = (_cooled(terms, options) for terms in (student.rows, student.columns))
    pairs = (weighted_rows_loss(rows, first=first) + weighted_rows_loss(columns, first=first)) / 2
    of_scores, of_frames = [], []
    compare, compare_frames = _OF_SCORES[options.scores], _OF_FRAMES[options.frames]
    for teacher in teachers:
        theirs = [combine_terms(_cooled(x, options)) for x in (teacher.rows, teacher.columns)]
        by_text = compare(combine_terms(rows), theirs[0])
        if options.scores == "l1":  # one matrix, not two distributions
            of_scores.append(by_text)
        else:
            of_scores.append(by_text + compare(combine_terms(columns), theirs[1]))
        if student.frame_weights is not None and teacher.frame_weights is not None:
            of_frames.append(compare_frames(student.frame_weights, teacher.frame_weights))
    parts = (pairs, _mean(of_scores, like=pairs), _mean(of_frames, like=pairs))
    total = combine_terms(list(zip(options.resolved_weights, parts, strict=True)))
    return Distilled(*parts, total)


def _cooled(terms: Terms, options: DistillationConfig) -> Terms:
    return [(weight, logits / options.temperature) for weight, logits in terms]


def _mean(values: Sequence[Tensor], *, like: Tensor) -> Tensor:
    return torch.stack(list(values)).mean() if values else torch.zeros_like(like)


def _correlated(student: Tensor, teacher: Tensor) -> Tensor:
    return _uncorrelation(torch.softmax(student, dim=1), torch.softmax(teacher, dim=1))


def _crossed(student: Tensor, teacher: Tensor) -> Tensor:
    """Over all B numbers of a row: 1 / B of its cross entropy."""
    return -(torch.softmax(teacher, dim=1) * torch.log_softmax(student, dim=1)).mean()


def _frames_correlated(student: Tensor, teacher: Tensor) -> Tensor:
    real = student > 0
    return _uncorrelation(student, _on(teacher, real), real=real)


def _frames_crossed(student: Tensor, teacher: Tensor) -> Tensor:
    """Over all F places, as published, padded ones too."""
    real = student > 0
    logarithms = torch.log(student.masked_fill(~real, 1.0))
    return -(_on(teacher, real) * logarithms).mean()


def _frames_near(student: Tensor, teacher: Tensor) -> Tensor:
    return smooth_l1_loss(student, _on(teacher, student > 0))


def _on(weights: Tensor, real: Tensor) -> Tensor:
    """A teacher's weights, which know of no padding, on the frames that are there."""
    if bool(real.all()):
        return weights
    kept = weights.masked_fill(~real, 0.0)
    total = kept.sum(dim=1, keepdim=True)
    return kept / total.masked_fill(total == 0, 1.0)


def _uncorrelation(a: Tensor, b: Tensor, *, real: Tensor | None = None) -> Tensor:
    """Mean over rows of 1 - Pearson's correlation; 1 for a row whose numbers are all the same."""
    x, y = _centred(a, real), _centred(b, real)
    squares = (x * x).sum(dim=1) * (y * y).sum(dim=1)
    defined = squares > 0
    length = torch.where(defined, squares, torch.ones_like(squares)).sqrt()
    return (1 - torch.where(defined, (x * y).sum(dim=1) / length, 0.0)).mean()


def _centred(x: Tensor, real: Tensor | None) -> Tensor:
    if real is None or bool(real.all()):
        return x - x.mean(dim=1, keepdim=True)
    count = real.sum(dim=1, keepdim=True).clamp(min=1)
    return (x - x.sum(dim=1, keepdim=True) / count).masked_fill(~real, 0.0)


Compared = Callable[[Tensor, Tensor], Tensor]
_OF_SCORES: Mapping[str, Compared] = MappingProxyType(
    {"pear": _correlated, "ce": _crossed, "l1": smooth_l1_loss}
)
_OF_FRAMES: Mapping[str, Compared] = MappingProxyType(
    {"pear": _frames_correlated, "ce": _frames_crossed, "l1": _frames_near}
)
