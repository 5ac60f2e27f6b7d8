"""X-CLIP's scores against the originals' way and the bare matrix product.

``python -m tests.benchmarks.similarity [--full]``. Times are CPU time of one thread, so a busy
machine bends the ratios less than clock time would; of the bare product and of ours each the least
of three in turns, once warm. The originals' recipes score blocks of 40 x 40
(16 x 16 for long videos), and run the temporal header, all normalisations and all four terms in
each of them; here features are computed once, when a video is embedded, and scored blockwise from
the tables: both sums are shown. Videos have 1 to all of the frames, and our header does most of its
work for real frames only; without padding it costs more, theirs as much. Without ``--full`` their
way is timed on 12 blocks and scaled up. What one query costs: ``reelvec search-time``.
"""

import argparse
import resource
import time

import torch
from torch.nn import functional

from reelvec.configs.schema import EvaluateConfig
from reelvec.models.clip.architecture import Architecture
from reelvec.models.registry import build
from reelvec.models.temporal import pool, unit
from reelvec.models.xclip.similarity import Sides, plain_scores

WIDTH = 512
TOWERS = Architecture(
    embed_dim=WIDTH,
    image_size=32,
    vision_layers=1,
    vision_width=64,
    patch_size=32,
    text_width=WIDTH,
    text_layers=1,
    vocab_size=64,
)
"""Towers do not matter here: their outputs are drawn at random."""


def cpu_seconds(work, *, rounds=1):
    """Least CPU time of some rounds, and what the last gave."""
    least, result = float("inf"), None
    for _ in range(rounds):
        started = time.process_time()
        result = work()
        least = min(least, time.process_time() - started)
    return least, result


def side_by_side(*works, rounds=3):
    """Least CPU time of each, in turns, and what each gave last."""
    turns = [[cpu_seconds(work) for work in works] for _ in range(rounds)]
    return [(min(s for s, _ in turn), turn[-1][1]) for turn in zip(*turns, strict=True)]


def peak_mb():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def model_of(family, options, *, words, frames):
    torch.manual_seed(0)
    model = build(
        family, options=options, architecture=TOWERS, max_words=words, max_frames=frames
    ).eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith(("mat_weight", "mat_weight2", "logit_weight")):
                parameter.add_(torch.randn_like(parameter) * 0.01)
    return model


def encoded(texts, videos, *, words, frames):
    """What encoders give: a common direction, so that cosines lie where CLIP's do."""
    generator = torch.Generator().manual_seed(1)
    common = torch.randn(WIDTH, generator=generator)

    def draw(*shape):
        return torch.randn(*shape, generator=generator) + 0.6 * common

    lengths = torch.arange(videos) % frames + 1
    mask = (torch.arange(frames)[None] < lengths[:, None]).to(torch.int64)
    return draw(texts, WIDTH), draw(texts, words, WIDTH), draw(videos, frames, WIDTH), mask


def originals_norm(x, part):
    """The LayerNorm of the originals' headers: written out, epsilon inside the root."""
    mean = x.mean(-1, keepdim=True)
    variance = (x - mean).pow(2).mean(-1, keepdim=True)
    return part.weight * ((x - mean) / torch.sqrt(variance + 1e-12)) + part.bias


def originals_header(model, frames, mask):
    """seqTransf from the modules the originals have: multi_head_attention, frames first."""
    heads = model.transformerClip.heads
    places = model.frame_position_embeddings.weight[: frames.shape[1]]
    x = (frames + places).permute(1, 0, 2)
    added = ((1.0 - mask[:, None].float()) * -1e6).expand(-1, mask.shape[1], -1)
    added = added.repeat_interleave(heads, dim=0)
    for block in model.transformerClip.resblocks:
        y, attn = originals_norm(x, block.ln_1), block.attn
        y, _ = functional.multi_head_attention_forward(
            *(y, y, y, y.shape[-1], heads),
            *(attn.in_proj_weight, attn.in_proj_bias, None, None, False, 0.0),
            *(attn.out_proj.weight, attn.out_proj.bias),
            training=False,
            need_weights=False,
            attn_mask=added,
        )
        x = x + y
        y = block.mlp.c_fc(originals_norm(x, block.ln_2))
        x = x + block.mlp.c_proj(y * torch.sigmoid(1.702 * y))
    return x.permute(1, 0, 2) + frames


def originals_way(model, sentence, words, frames, mask, *, block, sample, scores):
    """Seconds for all blocks, header, norms and all terms anew in each; largest difference.

    Every block is the same work, so the time of evenly chosen ones is scaled up.
    """
    tops, lefts = (range(0, len(x) - block + 1, block) for x in (sentence, frames))
    blocks = [(top, left) for top in tops for left in lefts]
    chosen = blocks[:: max(len(blocks) // sample, 1)]
    worst = 0.0

    def score(top, left):
        s, w = sentence[top : top + block], words[top : top + block]
        f, m = frames[left : left + block], mask[left : left + block]
        video = pool(originals_header(model, f, m), m)
        return plain_scores(Sides(unit(s), unit(w), video, unit(f)), model.matrices())

    spent = 0.0
    for top, left in chosen:
        seconds, found = cpu_seconds(lambda top=top, left=left: score(top, left))
        spent += seconds
        apart = (found - scores[top : top + block, left : left + block]).abs().max().item()
        worst = max(worst, apart)
    pairs = len(chosen) * block * block
    return spent * len(sentence) * len(frames) / pairs, worst


def our_features(model, sentence, words, frames, mask):
    """What the tables hold: headers, norms and means are done once, when a video is embedded.

    The header takes batches of 1024 frames at most: with 64 a video 16 videos, as the originals'.
    """
    batch = 1024 // frames.shape[1]
    videos = torch.cat(
        [
            pool(model.temporal(f, m), m)
            for f, m in zip(frames.split(batch), mask.split(batch), strict=True)
        ]
    )
    video = {"video": videos, "frames": unit(frames)}
    return {"sentence": unit(sentence), "words": unit(words)}, video


def our_scores(model, text, video):
    """`similarity` in blocks of texts as large as evaluation's from the tables."""
    scale, step = model.logit_scale.exp(), EvaluateConfig().block
    return torch.cat(
        [
            model.similarity({k: x[i : i + step] for k, x in text.items()}, video) / scale
            for i in range(0, len(text["words"]), step)
        ]
    )


def bare_product(words, frames):
    """[T L, D] x [D, V F] in blocks of 2048 rows, into one buffer."""
    left, right = words.flatten(0, 1), frames.flatten(0, 1).T.contiguous()
    buffer = torch.empty(2048, right.shape[1])
    for part in left.split(2048):
        torch.mm(part, right, out=buffer[: len(part)])


@torch.no_grad()
def compare(label, *, texts, videos, words, frames, blocks, sample):
    model = model_of("xclip", {"sim_header": "seqTransf"}, words=words, frames=frames)
    given = encoded(texts, videos, words=words, frames=frames)
    whole = [*given[:3], torch.ones_like(given[3])]
    longest, _ = cpu_seconds(lambda: our_features(model, *whole))
    once, features = cpu_seconds(lambda: our_features(model, *given))
    before = peak_mb()
    our_scores(model, *features)
    grown = peak_mb() - before
    (bare, _), (scoring, found) = side_by_side(
        lambda: bare_product(given[1], given[2]), lambda: our_scores(model, *features)
    )
    print(f"\nX-CLIP, {label}: {texts} texts x {videos} videos, {words} words, {frames} frames")
    print(f"  {'':<36} {'seconds':>8}   of bare   of ours   of ours with header")
    both = once + scoring

    def show(name, seconds):
        ratios = (seconds / bare, seconds / scoring, seconds / both)
        print("  {:<36} {:8.2f}   {:7.2f}   {:7.2f}   {:7.2f}".format(name, seconds, *ratios))

    show("bare matrix product", bare)
    show("ours: from tables, blockwise", scoring)
    show("ours, with the header, once", both)
    show("… of videos without padding", longest + scoring)
    worst = 0.0
    for block in blocks:
        theirs, apart = originals_way(model, *given, block=block, sample=sample, scores=found)
        show(f"originals' way, blocks of {block} x {block}", theirs)
        worst = max(worst, apart)
    pairs = found.numel() * words * frames * 4 / 1e6
    print(
        f"  largest difference of scores {worst:.1e}; ours grew memory by {grown:.0f} MB, where "
        f"the words x frames of all pairs are {pairs:.0f} MB"
    )


def main(arguments=()):
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.similarity")
    parser.add_argument(
        "--full",
        action="store_true",
        help="every block of the originals, and larger sizes",
    )
    full = parser.parse_args(list(arguments)).full
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        sample = 10**9 if full else 12
        compare(
            "short videos",
            texts=1000,
            videos=1000,
            words=32,
            frames=12,
            blocks=(16, 40, 64),
            sample=sample,
        )
        size = 512 if full else 192
        compare(
            "long videos",
            texts=size,
            videos=size,
            words=64,
            frames=64,
            blocks=(16,),
            sample=sample,
        )
    finally:
        torch.set_num_threads(threads)


if __name__ == "__main__":
    import sys

    main(sys.argv[1:])
