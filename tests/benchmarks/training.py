"""A training step: ours against the originals' step written plainly, on the same batch.

``python -m tests.benchmarks.training [small] [b32] [--batch N] [--device cuda] [--precision bf16]
[--compile] [--original fp16]``. Both start from a batch on the host and end with moved parameters.
Theirs after specs/clip4clip-clip2video.md 1.1, 3.3 and 3.5 (CLIP4Clip, meanP): pixels as float32,
every padded frame and token encoded, all tokens through the last block and projection, gradients
limited and BertAdam's moments moved parameter by parameter. Times are CPU seconds of one thread,
least of the rounds; on a GPU seconds between synchronisations, with the peak of memory and the
share of the card's peak that useful work reaches (MFU: real frames and tokens, thrice the forward
pass). ``--peak`` gives the card's TFLOP/s where it is not known here. Without CUDA every option but
``--device`` runs too, and the text tower is timed by itself as well. "apart": how far the gradients
(there: the captions' features) differ, as a share of their length.
"""

import argparse
import math
import time

import torch
from torch import nn
from torch.nn import functional
from torch.nn.utils import clip_grad_norm_

from reelvec.configs.schema import TrainConfig
from reelvec.models.clip.architecture import Architecture, architecture
from reelvec.models.clip.packing import caption_lengths
from reelvec.models.conversion.weights import to_legacy_fp16
from reelvec.models.registry import build
from reelvec.models.temporal import pool
from reelvec.models.training.parameters import clamp_logit_scale
from reelvec.models.training.schedules import multiplier
from reelvec.tasks.training.data import ClipBatch
from reelvec.tasks.training.processes import Group
from reelvec.tasks.training.starting import make_optimizer, make_trainable
from reelvec.tasks.training.step import PairBatch, StepOptions, contrastive_backward

WORDS, FRAMES = 32, 12
SMALL = Architecture(
    embed_dim=192,
    image_size=64,
    vision_layers=4,
    vision_width=192,
    patch_size=16,
    text_width=192,
    text_layers=4,
    vocab_size=1000,
)
FORMS = {"small": (SMALL, 16, 3), "b32": (architecture("ViT-B/32"), 2, 1)}
"""Towers, pairs of a batch on a CPU, and rounds."""
REAL = (3, 8, 12)
"""Frames of twelve that are real."""
PEAK = {"H100": 989.0, "H200": 989.0, "A100": 312.0}
"""Dense TFLOP/s in half precision, by a part of the card's name."""
TOTAL = 1000


def drawn_batch(sizes, *, pairs, real):
    """Frames of which `real` of twelve are there, and captions of 4 to 17 tokens."""
    draw = torch.Generator().manual_seed(0)
    shape = (pairs, FRAMES, sizes.image_size, sizes.image_size, 3)
    frames = torch.randint(0, 256, shape, dtype=torch.uint8, generator=draw)
    mask = (torch.arange(FRAMES) < real).long().expand(pairs, -1).contiguous()
    frames[:, real:] = 0
    tokens = torch.zeros(pairs, WORDS, dtype=torch.int64)
    for row, length in enumerate(torch.randint(4, 18, (pairs,), generator=draw).tolist()):
        tokens[row, :length] = torch.randint(1, 900, (length,), generator=draw)
        tokens[row, length - 1] = sizes.vocab_size - 1
    return PairBatch(tokens, ClipBatch(frames, mask), pairs)


def fresh(sizes, *, device, config):
    """Model and optimizer: the same for both."""
    torch.manual_seed(0)
    model = build("clip4clip", options={}, architecture=sizes, max_words=WORDS, max_frames=FRAMES)
    make_trainable(model, config, device=device)
    return model


# ours


def our_step(model, batch, *, config, device):
    """What a step of `tasks/training/loop.py` does, as a function."""
    optimizer = make_optimizer(model, config, total_steps=TOTAL)
    group = Group(device=device)
    options = StepOptions(bf16=config.precision == "bf16")

    def step(number):
        optimizer.zero_grad(set_to_none=True)
        contrastive_backward(model, batch, group=group, step=number, options=options)
        clip_grad_norm_([p for p in model.parameters() if p.grad is not None], 1.0)
        optimizer.step()
        clamp_logit_scale(model)

    return step


# theirs


def originals_stack(stack, x, added):
    """Blocks over [L, B, W], tokens first, by `multi_head_attention_forward`."""
    for block in stack.resblocks:
        y, attn = block.ln_1(x), block.attn
        y, _ = functional.multi_head_attention_forward(
            *(y, y, y, y.shape[-1], stack.heads),
            *(attn.in_proj_weight, attn.in_proj_bias, None, None, False, 0.0),
            *(attn.out_proj.weight, attn.out_proj.bias),
            need_weights=False,
            attn_mask=added,
        )
        x = x + y
        y = block.mlp.c_fc(block.ln_2(x))
        x = x + block.mlp.c_proj(y * torch.sigmoid(1.702 * y))
    return x


def originals_frames(visual, pixels):
    """Features [N, D] of frames [N, 3, S, S]: all tokens are projected, the first is taken."""
    x = visual.conv1(pixels.to(visual.conv1.weight.dtype)).flatten(2).permute(0, 2, 1)
    start = visual.class_embedding.to(x.dtype).expand(len(x), 1, -1)
    x = torch.cat([start, x], dim=1) + visual.positional_embedding.to(x.dtype)
    x = originals_stack(visual.transformer, visual.ln_pre(x).permute(1, 0, 2), None)
    return (visual.ln_post(x.permute(1, 0, 2)) @ visual.proj.to(x.dtype))[:, 0]


def originals_texts(clip, tokens):
    """Features [T, D] of whole captions: all tokens are projected, the end is taken."""
    x = clip.token_embedding(tokens).to(clip.text_projection.dtype)
    x = x + clip.positional_embedding[: tokens.shape[1]].to(x.dtype)
    length = tokens.shape[1]
    added = torch.full((length, length), -math.inf, device=x.device, dtype=x.dtype).triu_(1)
    x = originals_stack(clip.transformer, x.permute(1, 0, 2), added).permute(1, 0, 2)
    x = clip.ln_final(x) @ clip.text_projection.to(x.dtype)
    return x[torch.arange(len(x)), tokens.argmax(dim=-1)]


def originals_loss(model, tokens, pixels, mask):
    """The symmetric loss of the batch, as their forward pass gives it."""
    frames = originals_frames(model.clip.visual, pixels.flatten(0, 1)).float()
    text = originals_texts(model.clip, tokens).float()
    text = text / text.norm(dim=-1, keepdim=True)
    video = pool(frames.view(*mask.shape, -1), mask)
    sim = model.clip.logit_scale.float().exp() * text @ video.T
    across = -functional.log_softmax(sim, dim=-1).diag().mean()
    return (across - functional.log_softmax(sim.T, dim=-1).diag().mean()) / 2


def originals_adam(groups, moments, number):
    """BertAdam, parameter by parameter (specs/clip4clip-clip2video.md 3.3)."""
    factor = multiplier("warmup_cosine", step=number, total_steps=TOTAL, warmup=0.1)
    for group in groups:
        for p in group["params"]:
            if p.grad is None:
                continue
            m, v = moments.setdefault(p, (torch.zeros_like(p), torch.zeros_like(p)))
            clip_grad_norm_(p, 1.0)
            m.mul_(0.9).add_(p.grad, alpha=1 - 0.9)
            v.mul_(0.98).addcmul_(p.grad, p.grad, value=1 - 0.98)
            update = m / (v.sqrt() + 1e-6)
            if group["weight_decay"] > 0:
                update += group["weight_decay"] * p
            p.add_(-(group["lr"] * factor * update))


def originals_step(model, batch, *, config, device, precision):
    """Their step from pixels as float32 on the host."""
    if precision == "fp16":
        to_legacy_fp16(model)
    groups = make_optimizer(model, config, total_steps=TOTAL).param_groups
    moments: dict[nn.Parameter, tuple[torch.Tensor, torch.Tensor]] = {}
    pixels = model.prepare(batch.clips.frames, batch.clips.mask)["frames"]
    if device.type == "cuda":
        pixels = pixels.pin_memory()
    cast = torch.autocast(device.type, dtype=torch.bfloat16, enabled=precision == "bf16")

    def step(number):
        for p in model.parameters():
            p.grad = None
        here = pixels.to(device, non_blocking=True)
        tokens, mask = batch.tokens.to(device), batch.clips.mask.to(device)
        with cast:
            loss = originals_loss(model, tokens, here, mask)
        loss.backward()
        clip_grad_norm_(model.parameters(), 1.0)
        with torch.no_grad():
            originals_adam(groups, moments, number)
        model.clip.logit_scale.data.clamp_(max=math.log(100))

    return step


# both


def useful_flop(sizes, batch):
    """Floating-point operations of real frames and tokens, forward and backward."""

    def stack(tokens, width, layers):
        return layers * (12 * width**2 * tokens + 2 * tokens**2 * width)

    patches = sizes.grid**2
    frame = stack(patches + 1, sizes.vision_width, sizes.vision_layers)
    frame += patches * 3 * sizes.patch_size**2 * sizes.vision_width
    lengths = caption_lengths(batch.tokens).tolist()
    words = sum(stack(n, sizes.text_width, sizes.text_layers) for n in lengths)
    return 6 * (int(batch.clips.mask.sum()) * frame + words)


def measured(step, *, device, rounds):
    """Least seconds of a step, and the peak of MiB (on a GPU, where the first is not timed)."""
    if device.type != "cuda":
        least = math.inf
        for number in range(rounds):
            started = time.process_time()
            step(number)
            least = min(least, time.process_time() - started)
        return least, math.nan
    step(0)
    torch.cuda.reset_peak_memory_stats(device)
    least = math.inf
    for number in range(1, rounds + 1):
        torch.cuda.synchronize(device)
        started = time.perf_counter()
        step(number)
        torch.cuda.synchronize(device)
        least = min(least, time.perf_counter() - started)
    return least, torch.cuda.max_memory_allocated(device) / 2**20


def compare(form, given):
    """Rows of one size of towers: theirs and ours, for each share of real frames."""
    sizes, pairs, rounds = FORMS[form]
    device = torch.device(given.device)
    on_gpu = device.type == "cuda"
    pairs, rounds = (
        given.batch or (128 if on_gpu else pairs),
        given.rounds or max(rounds, 5 * on_gpu),
    )
    config = TrainConfig(precision=given.precision, compile=given.compile, learning_rate=1e-4)
    plain = TrainConfig(learning_rate=1e-4)
    how = f"theirs {given.original}, ours {given.precision}{', compiled' if given.compile else ''}"
    print(f"\n{form}: {pairs} pairs x {FRAMES} frames, {device}, {how}")
    print(f"  {'real frames':<12} {'theirs s':>9} {'ours s':>9} {'ratio':>6}", end="")
    print("   MiB theirs, ours   MFU theirs, ours" if device.type == "cuda" else "   apart")
    for real in REAL:
        batch = drawn_batch(sizes, pairs=pairs, real=real)
        ends, took = [], []
        for ours in (False, True):
            model = fresh(sizes, device=device, config=config if ours else plain)
            if ours:
                step = our_step(model, batch, config=config, device=device)
            else:
                step = originals_step(
                    model, batch, config=plain, device=device, precision=given.original
                )
            took.append(measured(step, device=device, rounds=rounds))
            if device.type != "cuda":
                ends.append(torch.cat([p.grad.flatten().double() for p in model.parameters()]))
            del model, step
        (theirs, held), (mine, own) = took
        print(f"  {real:>2} of {FRAMES:<6} {theirs:9.2f} {mine:9.2f} {theirs / mine:6.2f}", end="")
        if device.type == "cuda":
            peak = given.peak or next(
                (t for n, t in PEAK.items() if n in torch.cuda.get_device_name(device)), math.nan
            )
            shares = [useful_flop(sizes, batch) / s / peak / 1e12 for s in (theirs, mine)]
            print(f"   {held:6.0f}, {own:6.0f}     {shares[0]:6.1%}, {shares[1]:6.1%}")
        else:
            print(f"   {(ends[1] - ends[0]).norm() / ends[0].norm():.0e}")


def captions_alone(form, given, *, longest):
    """The text tower forward and backward: theirs over all places, ours to the longest caption."""
    sizes, pairs, _ = FORMS[form]
    model = build("clip4clip", options={}, architecture=sizes, max_words=WORDS, max_frames=FRAMES)
    tokens = drawn_batch(sizes, pairs=8 * pairs, real=1).tokens
    tokens[:, longest - 1] = tokens.amax(dim=1)
    tokens[:, longest:] = 0
    features = {}

    def theirs(_):
        features["theirs"] = functional.normalize(originals_texts(model.clip, tokens), dim=-1)
        features["theirs"].square().sum().backward()

    def ours(_):
        features["ours"] = model.encode_text(tokens)["embedding"]
        features["ours"].square().sum().backward()

    cpu = torch.device("cpu")
    (slow, _), (fast, _) = (measured(step, device=cpu, rounds=3) for step in (theirs, ours))
    apart = (features["ours"] - features["theirs"]).norm() / features["theirs"].norm()
    name = f"{longest} of {WORDS}"
    print(f"  {name:<12} {slow:9.2f} {fast:9.2f} {slow / fast:6.2f}   {apart:.0e}  (captions)")


def main(arguments=()):
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.training")
    parser.add_argument("forms", nargs="*", help=f"of {', '.join(FORMS)}; all")
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--precision", choices=["fp32", "bf16", "legacy_fp16"], default="fp32")
    parser.add_argument("--original", choices=["fp32", "bf16", "fp16"], default="fp32")
    parser.add_argument("--compile", action="store_true", help="torch.compile our towers")
    parser.add_argument("--batch", type=int, help="pairs (128 on a GPU, as published)")
    parser.add_argument("--rounds", type=int)
    parser.add_argument("--peak", type=float, help="the card's TFLOP/s, for MFU")
    given = parser.parse_args(list(arguments))
    for form in given.forms:
        if form not in FORMS:
            parser.error(f"no towers are called {form}; there are {', '.join(FORMS)}")
    if given.device == "cuda" and not torch.cuda.is_available():
        parser.error("there is no CUDA device here; leave --device out")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        for form in given.forms or FORMS:
            compare(form, given)
            if given.device == "cpu":
                for longest in (8, 16, 24):
                    captions_alone(form, given, longest=longest)
    finally:
        torch.set_num_threads(threads)


if __name__ == "__main__":
    import sys

    main(sys.argv[1:])
