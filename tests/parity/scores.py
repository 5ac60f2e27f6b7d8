"""Evaluation goldens: encode, score, compare logits."""

from dataclasses import replace

import torch

from tests.parity.common import DTYPES, FP32_COSINE, FP64, ROUNDING, Line, distance


def check(golden):
    """Lines for every mask layout the file has and both precisions."""
    outputs = golden.group("output/")
    layouts = [name for name in ("legacy", "fixed") if f"sim64_{name}" in outputs]
    for layout in layouts or [None]:
        suffix = f"_{layout}" if layout else ""
        options = {"mask_layout": layout} if layout else {}
        for name, dtype in DTYPES.items():
            sim, video = similarity(golden, dtype, **options)
            line = judge(golden, name, sim, outputs, suffix)
            if "selected" in outputs and not torch.equal(video["selected"], outputs["selected"]):
                line = replace(line, ok=False, note="other frames selected")
            yield line


@torch.no_grad()
def similarity(golden, dtype, **options):
    """Scores and video features, in the groups the file names (they matter in legacy masks)."""
    model = golden.model(dtype, **options).eval()
    inputs = golden.group("input/")
    texts, frames = inputs["text_ids"], inputs["video"].to(dtype)
    text = [model.encode_text(texts[rows]) for rows in text_groups(golden, len(texts))]
    extra = golden.extra_inputs(dtype)
    video = [
        model.encode_video(
            frames[rows], inputs["video_mask"][rows], **{k: v[rows] for k, v in extra.items()}
        )
        for rows in video_groups(golden, len(frames))
    ]
    listed = torch.tensor([row for rows in video_groups(golden, len(frames)) for row in rows])
    videos = type(video[0]).cat(video).index(listed.argsort())  # columns follow the inputs
    return model.similarity(type(text[0]).cat(text), videos), videos


def text_groups(golden, count):
    """Texts are scored in blocks of `sim_block` where the file says so."""
    block = (golden.json("batch_grouping") or {}).get("sim_block") or count
    return [list(range(i, min(i + block, count))) for i in range(0, count, block)]


def video_groups(golden, count):
    return golden.json("video_groups") or [list(range(count))]


def judge(golden, dtype, sim, outputs, suffix):
    """float64 against float64 on logits; float32 against float32 on cosine.

    Where the file's own float32 is off its float64 by more than a quarter of the tolerance, four
    times that is allowed, but never more than four tolerances: a wrong reference must be seen.
    """
    exact = outputs.get(f"sim64{suffix}", outputs.get("sim64"))
    scale = float(golden.metadata["logit_scale_exp"])
    if dtype == "float64":
        error = distance(sim, exact)
        return Line(golden.name + suffix, dtype, error <= FP64, error, error / scale)
    reference = outputs.get(f"sim{suffix}", outputs["sim"])
    blurred = quantised(golden, suffix, reference, exact, scale)
    kept = [i for i in range(sim.shape[1]) if i not in blurred]
    error = distance(sim[:, kept], reference[:, kept])
    note = f"videos {sorted(blurred)} in float64 only: fully masked keys" if blurred else ""
    own = distance(reference[:, kept], exact[:, kept]) / scale
    ok = error / scale <= FP32_COSINE * min(max(ROUNDING * own / FP32_COSINE, 1), ROUNDING)
    return Line(golden.name + suffix, dtype, ok, error, error / scale, note)


def quantised(golden, suffix, reference, exact, scale):
    """Videos float32 cannot tell apart: those the file names (tests/resources/goldens/README.md).

    Also those of a frame or less (their differences are masked whole) where the reference itself
    is off. With the legacy mask they spoil their whole group.
    """
    named = set((golden.json("accuracy") or {}).get("videos_with_a_fully_masked_key_set") or [])
    off = (reference.double() - exact).abs().amax(dim=0) / scale > FP32_COSINE
    short = golden.tensors["input/video_mask"].sum(dim=1) <= 1
    groups = video_groups(golden, reference.shape[1])
    if suffix != "_legacy":
        return named | set((off & short).nonzero().flatten().tolist())
    spoilt = [
        group for group in groups if named & set(group) or bool((off[group] & short[group]).any())
    ]
    return {video for group in spoilt for video in group}
