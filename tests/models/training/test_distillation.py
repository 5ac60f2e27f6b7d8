"""What a student learns from teachers, in plain formulas, cut over processes, and at its edges."""

import math

import numpy as np
import pytest
import torch

from reelvec.configs.training import DistillationConfig
from reelvec.models.training.distillation import Scores, distilled_loss
from tests.models.contracts_family import captions, clips, inputs_of, make

B, F = 5, 4
METHODS = ("pear", "ce", "l1")


def numbers(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed)).double() * 2


def scores(logits, weights=None, rows=slice(None)):
    chosen = None if weights is None else weights[rows]
    return Scores([(1.0, logits[rows])], [(1.0, logits.T[rows])], chosen)


def softmax(x):
    return np.exp(x) / np.exp(x).sum()


def naive(student, teacher, method):
    """Mean over rows of distributions, in plain formulas."""
    if method == "pear":
        return np.mean([1 - np.corrcoef(s, t)[0, 1] for s, t in zip(student, teacher, strict=True)])
    if method == "ce":
        return -np.mean(teacher * np.log(student))
    apart = np.abs(student - teacher)
    return np.mean(np.where(apart < 1, apart**2 / 2, apart - 0.5))


@pytest.mark.parametrize("frames", METHODS)
@pytest.mark.parametrize("method", METHODS)
def test_the_loss_is_the_formulas(method, frames):
    s, p = numbers(B, B), torch.softmax(numbers(B, F, seed=1), 1)
    teachers = [
        (numbers(B, B, seed=i), torch.softmax(numbers(B, F, seed=9 + i), 1)) for i in (2, 3)
    ]
    options = DistillationConfig(scores=method, frames=frames, temperature=1.5)
    found = distilled_loss(scores(s, p), [scores(*t) for t in teachers], options=options)
    cold = (s / 1.5).numpy()
    own = [np.apply_along_axis(softmax, 1, x) for x in (cold, cold.T)]
    gt = -np.mean([np.log(x.diagonal()).mean() for x in own])
    of_scores, of_frames = [], []
    for q, weights in teachers:
        warm = (q / 1.5).numpy()
        theirs = [np.apply_along_axis(softmax, 1, x) for x in (warm, warm.T)]
        both = [naive(a, b, method) for a, b in zip(own, theirs, strict=True)]
        of_scores.append(naive(cold, warm, "l1") if method == "l1" else sum(both))
        of_frames.append(naive(p.numpy(), weights.numpy(), frames))
    parts = (gt, np.mean(of_scores), np.mean(of_frames))
    ours = (found.pairs, found.scores, found.frames)
    np.testing.assert_allclose([x.item() for x in ours], parts, atol=1e-12)
    weights = (1, 10, 1) if method == "ce" else (0.2, 1, 2)
    assert found.total.item() == pytest.approx(np.dot(weights, parts))
    given = options.model_copy(update={"weights": (3.0, 0.0, 5.0)})
    again = distilled_loss(scores(s, p), [scores(*t) for t in teachers], options=given)
    assert again.total.item() == pytest.approx(np.dot((3, 0, 5), parts))


@pytest.mark.parametrize("method", METHODS)
def test_parts_of_the_rows_add_up_to_the_whole(method):
    s, p = numbers(B, B), torch.softmax(numbers(B, F, seed=1), 1)
    q, weights = numbers(B, B, seed=2), torch.softmax(numbers(B, F, seed=3), 1)
    options = DistillationConfig(scores=method, frames=method)
    whole = distilled_loss(scores(s, p), [scores(q, weights)], options=options).total
    total = 0.0
    for rows in (slice(0, 2), slice(2, 5)):
        part = distilled_loss(
            scores(s, p, rows), [scores(q, weights, rows)], first=rows.start, options=options
        )
        total += part.total * (rows.stop - rows.start) / B
    assert total.item() == pytest.approx(whole.item(), abs=1e-12)


@pytest.mark.parametrize("method", METHODS)
def test_padded_frames_are_not_taught(method):
    """A teacher that weighs padding teaches as if it had seen the real frames alone."""
    logits, theirs = numbers(B, F), numbers(B, F, seed=1)
    padded = torch.softmax(logits.masked_fill(torch.arange(F) > 2, -torch.inf), 1)
    options = DistillationConfig(frames=method)
    square = numbers(B, B)
    long = distilled_loss(
        scores(square, padded), [scores(square, torch.softmax(theirs, 1))], options=options
    ).frames
    short = distilled_loss(
        scores(square, torch.softmax(logits[:, :3], 1)),
        [scores(square, torch.softmax(theirs[:, :3], 1))],
        options=options,
    ).frames
    share = 1 if method == "pear" else 3 / F  # the others are means over all places
    assert long.item() == pytest.approx(short.item() * share)


def test_rows_without_a_spread_and_weights_of_zero_give_numbers_and_gradients():
    for logits, frame_scores in (
        (torch.zeros(1, 1), torch.zeros(1, 1)),
        (torch.zeros(3, 3), torch.tensor([[0.0, 500.0]] * 3)),
    ):
        s, w = logits.clone().requires_grad_(), frame_scores.clone().requires_grad_()
        teacher = scores(logits * 2, torch.full_like(frame_scores, 0.5))
        student = Scores([(1.0, s)], [(1.0, s.T)], torch.softmax(w, 1))
        loss = distilled_loss(student, [teacher], options=DistillationConfig(frames="pear"))
        again = distilled_loss(student, [teacher], options=DistillationConfig())
        (loss.total + again.total).backward()
        assert all(map(math.isfinite, (loss.total.item(), again.total.item())))
        assert torch.isfinite(s.grad).all() and torch.isfinite(w.grad).all()


@torch.no_grad()
@pytest.mark.parametrize(
    ("family", "header"),
    [("xclip", "seqTransf"), ("xclip", "tightTransf"), ("clip4clip", "tightTransf")],
)
def test_a_teacher_weighs_frames_by_their_plain_cosine(family, header):
    model = make(family, {"sim_header": header, "cross_num_hidden_layers": 1})
    text = model.encode_text(captions(4))
    given = inputs_of(model, *clips(4))
    video = model.encode_video(**given)
    weights = model.pair_frame_weights(text, video)
    sentence, _ = model.encode_words(captions(4))
    encoded = model.encode_frames(given["frames"])
    for i in range(4):
        cosines = torch.cosine_similarity(sentence[i][None], encoded[i], dim=1)
        torch.testing.assert_close(weights[i], torch.softmax(cosines, 0))


def test_most_families_weigh_no_frames():
    for family in ("clip4clip", "clip2video", "adaclip", "teachclip"):
        model = make(family)
        text, video = (
            model.encode_text(captions(2)),
            model.encode_video(**inputs_of(model, *clips(2))),
        )
        assert model.pair_frame_weights(text, video) is None
