"""Evaluation goldens: encode, score, compare logits."""

from dataclasses import replace

import torch

from reelvec.models.registry import family_class
from reelvec.models.temporal import unit
from tests.parity.common import DTYPES, FP32_COSINE, FP64, RELEASED, ROUNDING, Line, distance

LEGACY = ("mask_layout", "weight_mask")
"""Options that name a defect of the originals: `legacy` or `fixed`."""


def check(golden):
    """Lines for every mask layout the file has and both precisions."""
    outputs = golden.group("output/")
    layouts = [name for name in ("legacy", "fixed") if f"sim64_{name}" in outputs]
    known = family_class(golden.metadata["family"]).options_class.model_fields
    for layout in layouts or [None]:
        suffix = f"_{layout}" if layout else ""
        options = {name: layout for name in LEGACY if layout and name in known}
        options = options or RELEASED.get(golden.metadata["family"], {})
        for name, dtype in DTYPES.items():
            sim, video = similarity(golden, dtype, **options)
            line = judge(golden, name, sim, outputs, suffix)
            if "selected" in outputs and not torch.equal(video["selected"], outputs["selected"]):
                line = replace(line, ok=False, note="other frames selected")
            yield replace(line, **besides(line, video, outputs, suffix))
    if "sim_coarse64" in outputs:
        yield from coarse(golden, outputs)


def besides(line, video, outputs, suffix):
    """What is wrong with a student's frame weights and, as released, with its stored vectors."""
    if "frame_weights" not in video:
        return {}
    wanted = {"frame_weights": outputs.get(f"frame_weights{suffix}")}
    if suffix == "_legacy" and "video_output" in outputs:
        wanted["embedding"] = unit(outputs["video_output"].double())
    off = {key: distance(video[key], x.double()) for key, x in wanted.items() if x is not None}
    problems = [f"{key} off by {error:.1e}" for key, error in off.items() if not error <= 1e-5]
    return {"ok": False, "note": "; ".join(problems)} if problems else {}


@torch.no_grad()
def coarse(golden, outputs):
    """The plain mean of frames that stays behind a student's weights: CLIP4Clip's."""
    for name, dtype in DTYPES.items():
        sim, _ = scored(golden, golden.model(dtype, family="clip4clip").eval(), dtype)
        yield judge(golden, name, sim, outputs, "_coarse")


def similarity(golden, dtype, **options):
    """Scores and video features of the file's model."""
    return scored(golden, golden.model(dtype, **options).eval(), dtype)


@torch.no_grad()
def scored(golden, model, dtype):
    """Scores and video features, in the groups the file names (they matter in legacy masks)."""
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
    exact = outputs.get(f"sim64{suffix}", outputs.get(f"sim{suffix}64", outputs.get("sim64")))
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
