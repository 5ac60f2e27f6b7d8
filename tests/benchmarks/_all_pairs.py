"""The best of every query with every video, by brute force: what exact search is held to.

Batches of queries are scored with blocks of videos in float32. Such a score differs from the one
that search gives in the order of its sums alone, so by no more than twice what float32 can lose
(`lost_of`, proven below). Every video within twice that of the tenth best is then scored as search
does it, so that ids, their order and the bits of the scores can be compared.

Notation of the proofs: u = 2^-24, gamma(n) = n u; a product of two vectors is off by gamma(D) times
their lengths at most. Softmax weights of logits that are off by d, none larger than m, are off by
the factor 1 + rho, rho = exp(2 d + 4 u m) (1 + gamma(F + 16)) - 1.
"""

import math
import sys
import time
from dataclasses import dataclass

import torch

from reelvec.models.bounding import gamma
from reelvec.models.features import TextFeatures, VideoFeatures
from reelvec.models.xpool.pooling import Asked, Folded
from reelvec.storage.tables import iter_tables
from reelvec.tasks.scoring.logits import one_thread
from reelvec.tasks.scoring.split_rows import tensors_of
from reelvec.tasks.searching.search import Ranking

QUERIES, VIDEOS = 64, 128
"""Scored at once: what is computed on the way stays in a core's cache."""
U = 2.0**-24
MORE = 1.01
"""For products of two errors, where none is larger than a hundredth."""
LEAST = 0.05
"""TS2-Net divides by the length of a query's products; videos with less are no answers."""


@dataclass
class Seen:
    """Ranges over all pairs, of what the proofs need."""

    asked: float = 0.0  # longest row of a query for logits
    wanted: float = 0.0  # likewise for what is weighed
    longest: float = 0.0  # longest frame
    least: float = math.inf  # of a Gram matrix's numbers
    most: float = 0.0


def softmax_off(logits_off, *, largest, count):
    return math.exp(2 * logits_off + 4 * U * largest) * (1 + gamma(count + 16)) - 1


def lost_of_a_direction(seen, *, width, count, logits_off, largest, gram_off):
    """Of (w.r) / sqrt(w'Gw), w a softmax over frames, r their products, all G > 0.

    w'Gw >= min G since weights sum to 1, and w'Gw with all signs positive is at most max |G|.
    """
    if not seen.least > 0:
        raise ValueError("frames of a video have no common direction; nothing is proven of them")
    rho = softmax_off(logits_off, largest=largest, count=count)
    reach = seen.wanted * seen.longest
    above = gamma(width) * reach + (rho + gamma(count + 8)) * reach * MORE
    below = (((1 + rho) ** 2 * (1 + gamma(2 * count + 8)) - 1) * seen.most + gram_off) / seen.least
    grown = (1 - below) ** -0.5
    return (above * grown + reach * (grown - 1 + 16 * U)) / math.sqrt(seen.least) * MORE


def lost_xpool(model, seen, *, width, count):
    """Where no map has a bias, both norms divide numerator and length by the same number."""
    off = gamma(width) * seen.asked * seen.longest
    largest = seen.asked * seen.longest
    return lost_of_a_direction(
        seen, width=width, count=count, logits_off=off, largest=largest, gram_off=0.0
    )


def lost_qscore(model, seen, *, width, count):
    """Logits are cosines over the temperature; the Gram matrix is computed with the score."""
    sharp = seen.wanted / model.options.frame_agg_temp
    off = gamma(2 * width + 8) * sharp * MORE
    lost = gamma(width) * seen.longest**2
    return lost_of_a_direction(
        seen, width=width, count=count, logits_off=off, largest=sharp, gram_off=lost
    )


def lost_ts2net(model, seen, *, width, count):
    """Of w.x, w = softmax(4 x / |x|), where |x| >= LEAST.

    x / |x| is off by (e / |x| + sqrt(F) e / |x| + gamma(F + 4)) and 2 u, with e that of a product;
    logits by 4 times that; the weights by a factor of at most exp(c / |x| + c0), and no x is larger
    than |x|, so that |x| cancels: exp(y) - 1 <= y (1 + y).
    """
    reach = seen.wanted * seen.longest
    e = gamma(width) * reach
    longer = math.sqrt(count) * e / LEAST + gamma(count + 4)
    c = 8 * (1 + math.sqrt(count)) * e / (1 - longer)
    c0 = 8 * (gamma(count + 4) / (1 - longer) + 2 * U)
    weights = (c + c0 * math.sqrt(count) * reach) * (1 + c / LEAST + c0)
    return (e + weights + gamma(2 * count + 64) * reach) * MORE


def lost_drl(model, seen, *, width, count):
    """Weighed sums of highest products, weights of sum 1."""
    words = model.max_words
    return gamma(width + words + count + 32) * seen.wanted * seen.longest * MORE


LOST = {"X-Pool": lost_xpool, "qscore": lost_qscore, "TS2-Net": lost_ts2net, "DRL": lost_drl}
"""How far a cosine-like score may be from the one without rounding."""


def batches(texts, size=QUERIES):
    return [texts[start : start + size] for start in range(0, len(texts), size)]


def longest_of(rows):
    return float(torch.linalg.vector_norm(rows, dim=-1).max())


@torch.no_grad()
def xpool_scorers(model, texts, seen):
    """What queries bring is computed for each alone, as search does, so it has the same bits."""
    head, scale = model.pool_frames, model.logit_scale.exp()
    alone = [head.asked(text["sentence"].float()) for text in texts]
    if head.heads > 1 or any(x.any() for one in alone for x in (one.offset, one.along, one.beside)):
        raise ValueError("the proof is of one head without biases")
    seen.asked = max(longest_of(one.queries[:, 0]) for one in alone)
    seen.wanted = max(longest_of(one.queries[:, 1]) for one in alone)

    def scorer(some):
        parts = [torch.cat(x) for x in zip(*(one[:4] for one in some), strict=True)]
        asked = Asked(*parts, *some[0][4:])
        return lambda v: scale * head.cosines(asked, Folded(*(v[n] for n in Folded._fields)))

    return [scorer(some) for some in batches(alone)]


@torch.no_grad()
def plain_scorers(model, texts, seen):
    """By `similarity`: nothing is computed of a query before."""
    names = list(model.text_columns)
    compared = next(name for name in ("words", "sentence", "embedding") if name in names)
    seen.wanted = max(longest_of(text[compared]) for text in texts)
    joined = [
        TextFeatures({name: torch.cat([text[name] for text in some]) for name in names})
        for some in batches(texts)
    ]
    return [lambda v, text=text: model.similarity(text, v) for text in joined]


def columns_of(table, scoring):
    """Columns of the videos as the table has them, piece by piece, with their ids."""
    for piece in iter_tables(table, "videos", columns=["video_id", *scoring.video_columns]):
        yield piece.column("video_id").to_pylist(), tensors_of(piece, scoring.video_columns)


def widened(columns):
    return {n: x.float() if x.is_floating_point() else x for n, x in columns.items()}


def watch(seen, video):
    frames = video["frames"]
    if "grams" in video.tensors:
        if video["vectors"].any():
            raise ValueError("the proof is of maps without biases")
        grams = video["grams"][:, 2]
    else:
        grams = torch.bmm(frames, frames.transpose(1, 2))
    seen.longest = max(seen.longest, longest_of(frames))
    seen.least = min(seen.least, float(grams.min()))
    seen.most = max(seen.most, float(grams.max()))


def scores_of_all(model, table, scorers, seen, *, queries, scoring):
    """Scores [Q, V], near to search's; the columns, and the ids."""
    scores = torch.empty(queries, table.rows_of("videos"))
    names, kept, started = [], [], time.process_time()
    for ids, columns in columns_of(table, scoring):
        piece = VideoFeatures.from_columns(widened(columns), columns=model.video_columns)
        watch(seen, piece)
        for first in range(0, len(ids), VIDEOS):
            some = piece.index(slice(first, first + VIDEOS))
            at = slice(len(names) + first, len(names) + first + len(some))
            for number, score in enumerate(scorers):
                rows = slice(number * QUERIES, min((number + 1) * QUERIES, queries))
                scores[rows, at] = score(some)
        names += ids
        kept.append(columns)
        spent = time.process_time() - started
        print(f"  all pairs: {len(names):,} videos, {spent:.0f} s", file=sys.stderr, flush=True)
    return scores, {n: torch.cat([one[n] for one in kept]) for n in kept[0]}, names


@torch.inference_mode()
def best_of_all(name, model, table, texts, *, scoring, top):
    """The answers of each text, as search gives them, and how many were scored again for each."""
    seen = Seen()
    scorers = (xpool_scorers if name == "X-Pool" else plain_scorers)(model, texts, seen)
    with one_thread():
        scores, columns, names = scores_of_all(
            model, table, scorers, seen, queries=len(texts), scoring=scoring
        )
        count, width = model.video_columns["frames"].shape
        scale = float(model.logit_scale.exp())
        apart = 2 * scale * LOST[name](model, seen, width=width, count=count)
        floor = scale * 2 * LEAST if name == "TS2-Net" else -math.inf
        rankings, again = [], 0
        for text, near in zip(texts, scores, strict=True):
            least = float(near.topk(min(top, len(near))).values[-1]) - 2 * apart
            if least <= floor:
                raise ValueError(f"scores of {least:.2f} are too low for the proof")
            rows = (near >= least).nonzero().flatten()
            found = scoring.of(text.columns())(widened({n: x[rows] for n, x in columns.items()}))[0]
            off = float((found - near[rows]).abs().max())
            if not off <= apart:
                raise AssertionError(f"scores are {off} apart, proven were {apart}")
            pairs = zip([names[row] for row in rows.tolist()], found.tolist(), strict=True)
            best = sorted(pairs, key=lambda pair: (-pair[1], pair[0]))[:top]
            rankings.append(Ranking(best, videos=len(names), scored=len(rows)))
            again += len(rows)
    return rankings, again / len(texts), apart
