"""X-CLIP's score of texts with videos: four comparisons of coarse and fine features.

Source: specs/xclip-adaclip.md A1.4. `plain_scores` is the text of the specification, for training;
`fast_scores` gives the same numbers blockwise and in place, for evaluation and search. The costly
part is G = words x frames of every pair: both of its softmaxes (over words, over frames) are sums
of one shared exponential, exp(G / tau - shift), whose normalisers divide out
(notes/decoding-and-stores.md 5).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from reelvec.models.xclip.rooms import TAU, Rooms

__all__ = ["Matrices", "Sides", "fast_scores", "plain_scores"]

_SMALLEST = 1e-30
"""A sum of exponentials below this (all cosines under about -0.19) has lost digits."""
_FEW = 3
"""Below so many texts, laying the videos out costs more than it saves."""
_PRODUCT = {"cpu": 1 << 22, "cuda": 1 << 25}
"""Numbers of G from one matrix product: few texts or few videos would make it a slow one."""
_HELD = {"cpu": 1 << 17, "cuda": 1 << 25}
"""Numbers of G worked on at once: on a CPU twice as many stay in the second-level cache of a core,
and what the product left behind is read through them."""
_LONGER = 4
"""Threads wait for each other after every operation: several hold this many times more each."""
_WIDE = {"cpu": 128, "cuda": 256}
"""Videos of a block, or fewer where one text's G with them is more than is held."""
_TALL = 128
"""Texts of a block at most: the small steps, over G's sums, are done once for all of them."""


class Sides(NamedTuple):
    """Unit features of texts and videos."""

    sentence: Tensor  # [T, D]
    words: Tensor  # [T, L, D]
    video: Tensor  # [V, D]
    frames: Tensor  # [V, F, D]


@dataclass(frozen=True)
class Matrices:
    """The eight learned matrices under their checkpoint names; the identity at first."""

    global_mat_weight: Tensor  # [D, D]
    local_mat_weight: Tensor  # [D, D]
    word_logit_weight: Tensor  # [L, L]
    word_mat_weight: Tensor  # [L, L]
    word_mat_weight2: Tensor  # [L, L]
    frame_logit_weight: Tensor  # [F, F]
    frame_mat_weight: Tensor  # [F, F]
    frame_mat_weight2: Tensor  # [F, F]


def plain_scores(sides: Sides, matrices: Matrices) -> Tensor:
    """Mean of the four cosine-like scores [T, V]; everything at once, differentiable.

    Holds several tensors of T * V * L * F numbers.
    """
    s, w, v, f = sides
    video_sentence = s @ matrices.global_mat_weight @ v.T
    video_word = _weighed(torch.einsum("tld,vd->tvl", w, v), matrices.word_logit_weight)
    sentence_frame = _weighed(torch.einsum("td,vfd->tvf", s, f), matrices.frame_logit_weight)
    g = torch.einsum("tld,vfd->tvlf", w @ matrices.local_mat_weight, f)
    by_frame = _weighed(g.transpose(2, 3), matrices.word_mat_weight)  # [T, V, F]
    by_word = _weighed(g, matrices.frame_mat_weight)  # [T, V, L]
    frame_word = (
        _weighed(by_frame, matrices.frame_mat_weight2)
        + _weighed(by_word, matrices.word_mat_weight2)
    ) / 2
    return (video_sentence + video_word + sentence_frame + frame_word) / 4


def fast_scores(sides: Sides, matrices: Matrices) -> Tensor:
    """`plain_scores` without gradients, in blocks: memory beside the result does not grow."""
    texts, videos = len(sides.sentence), len(sides.video)
    n_words, n_frames = sides.words.shape[1], sides.frames.shape[1]
    device = "cpu" if sides.words.device.type == "cpu" else "cuda"
    held, threads = _HELD[device], torch.get_num_threads()
    if device == "cpu" and threads > 1:
        held *= threads * _LONGER
    if texts < _FEW:
        return _scores_of_few(
            sides, matrices, wide=max(held // (max(texts, 1) * n_words * n_frames), 1)
        )
    wide = min(max(held // (n_words * n_frames), 1), _WIDE[device], videos)
    step = min(max(held // (n_words * n_frames * wide), 1), texts)
    at_once = min(_PRODUCT[device] // (n_words * n_frames * wide), _TALL, texts)
    tall = max(at_once // step, 1) * step
    on_words = texts * n_words <= videos * n_frames  # local_mat goes to the smaller side
    localised = sides.words @ matrices.local_mat_weight if on_words else sides.words
    out = sides.sentence.new_empty(texts, videos)
    mixes = matrices.word_mat_weight, matrices.frame_mat_weight
    rooms = Rooms(out, mixes, texts=tall, videos=wide, step=step)
    for left in range(0, videos, wide):
        columns = slice(left, min(left + wide, videos))
        some = sides._replace(video=sides.video[columns], frames=sides.frames[columns])
        block = _VideoBlock(some, matrices, on_words=on_words, rooms=rooms)
        for top in range(0, texts, tall):
            rows = slice(top, min(top + tall, texts))
            out[rows, columns] = block.scores(
                sides.sentence[rows], sides.words[rows], localised[rows]
            )
    return out


def _scores_of_few(sides: Sides, matrices: Matrices, *, wide: int) -> Tensor:
    """`plain_scores` in blocks of `wide` videos."""
    parts = zip(*(torch.split(x, wide) for x in (sides.video, sides.frames)), strict=True)
    return torch.cat(
        [plain_scores(sides._replace(video=v, frames=f), matrices) for v, f in parts], dim=1
    )


def _weighed(x: Tensor, matrix: Tensor) -> Tensor:
    """Sum over the last axis of x, weighed by softmax(x / tau) times the matrix."""
    return (x * (torch.softmax(x / TAU, dim=-1) @ matrix)).sum(-1)


class _VideoBlock:
    """Videos laid out for one matrix product with all their frames: columns (frame, video).

    With videos innermost both sums over a block, over words and over frames, are sums of whole
    contiguous rows.
    """

    def __init__(self, sides: Sides, matrices: Matrices, *, on_words: bool, rooms: Rooms) -> None:
        video, frames = sides.video, sides.frames
        self._matrices = matrices
        self._rooms = rooms
        self._plain = video, frames
        self._video = video.T.contiguous()  # [D, v]
        self._global = matrices.global_mat_weight @ self._video
        self._frames = _columns(frames)  # [D, F v]
        self._local = self._frames if on_words else _columns(frames @ matrices.local_mat_weight.T)
        self._shape = (frames.shape[1], len(frames))

    def scores(self, sentence: Tensor, words: Tensor, localised: Tensor) -> Tensor:
        """Mean of the four scores [t, v].

        Args:
            sentence: [t, D].
            words: [t, L, D].
            localised: The words, times local_mat where it is on their side.
        """
        m = self._matrices
        pair = self._both(localised)
        if pair is None:
            step = self._rooms.step
            parts = zip(*(torch.split(x, step) for x in (sentence, words)), strict=True)
            return torch.cat([plain_scores(Sides(s, w, *self._plain), m) for s, w in parts])
        by_frame, by_word = pair
        fine = _weighed_rows(by_frame, m.frame_mat_weight2)
        fine += _weighed_rows(by_word, m.word_mat_weight2)
        by_sentence = (sentence @ self._frames).view(len(sentence), *self._shape)
        with_video = (words.flatten(0, 1) @ self._video).view(*words.shape[:2], -1)
        coarse = sentence @ self._global
        coarse += _weighed_rows(by_sentence, m.frame_logit_weight)
        coarse += _weighed_rows(with_video, m.word_logit_weight)
        return coarse.add_(fine, alpha=0.5).div_(4)

    def _both(self, words: Tensor) -> tuple[Tensor, Tensor] | None:
        """G of words [t, L, D], weighed over words [t, F, v] and over frames [t, L, v].

        None where the shared exponential has over- or underflowed.
        """
        (texts, length, _), (n_frames, videos) = words.shape, self._shape
        room = self._rooms.room(texts, videos)
        torch.mm(words.flatten(0, 1), self._local, out=room.product)
        room.sum_up()
        low, high = torch.aminmax(room.over_words)
        if not (torch.minimum(low, room.over_frames.amin()) > _SMALLEST and high < torch.inf):
            return None
        return (
            room.by_frame.div_(room.over_words).view(texts, n_frames, videos),
            room.by_word.div_(room.over_frames).view(texts, length, videos),
        )


def _columns(frames: Tensor) -> Tensor:
    """[v, F, D] as [D, F v], columns (frame, video)."""
    return frames.transpose(0, 1).flatten(0, 1).T.contiguous()


def _weighed_rows(x: Tensor, matrix: Tensor) -> Tensor:
    """`_weighed` over the middle axis of x [t, n, v]: sum_l p_l (W x)_l is the same number."""
    return torch.softmax(x / TAU, dim=1).mul_(_left(matrix, x)).sum(1)


def _left(matrix: Tensor, x: Tensor, *, out: Tensor | None = None) -> Tensor:
    """Give matrix @ x[b] for each b, without the copies that a broadcast `matmul` makes."""
    return torch.bmm(matrix.expand(len(x), -1, -1), x, out=out)
