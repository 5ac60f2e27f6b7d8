"""The JSON tables: tokenizer, frame rules, metrics, schedules, starting weights."""

import json

import numpy as np
import torch
from torch import nn

from reelvec.models.adaclip.policy import annealed_k, temperature
from reelvec.models.clip.tokenizer import encode, tokenize
from reelvec.models.ranking.metrics import MetricOptions
from reelvec.models.sampling.originals import (
    adaclip_segment,
    adaclip_subset,
    adaclip_uniform,
    clip2video_jitter,
    clip2video_two_stage,
    clip4clip_cv2,
)
from reelvec.models.sampling.rules import limit, pick_stored
from reelvec.models.training.optim import BertAdam, OptimizerOptions
from reelvec.models.training.schedules import multiplier
from tests.parity.common import Line
from tests.parity.init import init_mapping
from tests.support.matrices import evaluate_matrix

SLICE = ("head", "tail", "linspace")


def check(path):
    """One line a table; a table nobody knows fails."""
    table = json.loads(path.read_text(encoding="utf-8"))
    name = "init_mapping" if path.stem.startswith("init_mapping_") else path.stem
    if name not in TABLES:
        return Line(path.stem, "table", False, note="no such table is known")
    count, problems = 0, []
    for label, right in TABLES[name](table):
        count += 1
        if not right:
            problems.append(label)
    ok = count > 0 and not problems
    note = f"{count} comparisons" + (f"; wrong: {', '.join(problems[:6])}" if problems else "")
    return Line(path.stem, "table", ok, note=note)


def tokenizer(table):
    """Both truncations; where the text spells a special token, ours is text on purpose."""
    for i, case in enumerate(table["cases"]):
        if "<|" in case["text"]:
            continue
        for key in case:
            if not key.startswith("ids"):
                continue
            words = int(key.removeprefix("ids").partition("_")[0])
            ids = case[key]
            found = tokenize([case["text"]], max_words=words)[0]
            yield f"{key} of {i}", found.tolist() == ids + [0] * (words - len(ids))
        if "bpe" in case:
            found = encode(case["text"])
            yield f"bpe of {i}", found[: len(case["bpe"])] == case["bpe"]


def frame_sampling(table):
    for i, case in enumerate(table["clip4clip_cv2"]):
        yield from _clip4clip(i, case)
    for i, case in enumerate(table["slice"]):
        how = SLICE[case["slice_framepos"]]
        found = pick_stored(case["n_frames"], case["max_frames"], how)
        yield f"slice {i}", found.tolist() == case["index"]
    for key in ("clip2video", "clip2video_train_jitter"):
        for i, case in enumerate(table[key]):
            found = clip2video_two_stage(
                case["n_jpeg"], framerate=case["framerate"], max_frames=case["max_frames"]
            )
            if "numpy_seed" in case:
                found = clip2video_jitter(found, random=np.random.RandomState(case["numpy_seed"]))
            yield f"{key} {i}", found.tolist() == case["index"]
    rules = {"uniform": adaclip_uniform, "segment": adaclip_segment}
    for i, case in enumerate(table["adaclip"]):
        found = rules[case["rule"]](case["n_jpeg"], count=case["num_frm"])
        if case["num_frm_subset"]:
            found = adaclip_subset(found, size=case["num_frm_subset"])
        yield f"adaclip {i}", found.tolist() == case["index"]


def _clip4clip(i, case):
    window = None if case["start"] is None else (case["start"], case["end"])
    try:
        frames = clip4clip_cv2(
            case["frame_count"],
            fps=case["fps"],
            readable=case["readable"],
            rate=case["framerate"],
            window=window,
        )
    except ValueError:
        yield f"clip4clip {i} refused", "error" in case
        return
    yield f"clip4clip {i}", frames.tolist() == case.get("frames")
    for loader in case.get("sampled", []):
        kept = limit(frames, loader["max_frames"], SLICE[loader["slice_framepos"]]).tolist()
        kept = kept[::-1] if loader["frame_order"] == 1 else kept
        yield f"clip4clip {i} sampled", kept == loader["frames"]


def retrieval_metrics(table):
    for i, case in enumerate(table["single"]):
        yield from _metrics(f"single {i}", case, "videos", ("t2v", "v2t"))
    for i, case in enumerate(table["multi"]):
        yield from _metrics(f"multi {i}", case, "videos", ("t2v", "v2t"))
        yield from _metrics(f"multi {i}", case, "captions", ("adaclip_t2v", "adaclip_v2t"))


def _metrics(label, case, rivals, keys):
    sim = np.array(case["sim"], dtype=np.float64)
    counts = case.get("captions_per_video", [1] * sim.shape[1])
    found = evaluate_matrix(
        torch.from_numpy(sim),
        text_to_video=np.repeat(np.arange(len(counts)), counts),
        options=MetricOptions(rivals=rivals),
    )
    for key, direction in zip(keys, (found.t2v, found.v2t), strict=True):
        ours = {"MR": direction.median_rank, "MeanR": direction.mean_rank}
        ours |= {f"R{k}": value for k, value in direction.recall.items()}
        for name, wanted in case[key].items():
            yield f"{label} {key} {name}", abs(ours[name] - wanted) < 1e-4


def schedules(table):
    for i, case in enumerate(table["lr"]):
        for step, wanted in zip(case["steps"], case["multiplier"], strict=True):
            found = multiplier(
                case["schedule"], step=step, total_steps=case["t_total"], warmup=case["warmup"]
            )
            yield f"lr {i} step {step}", abs(found - wanted) <= 1e-12
    for i, case in enumerate(table["bertadam"]):
        yield f"bertadam {i}", _bertadam(case)
    for case in table["adaclip_tau"]:
        for epoch, wanted in zip(case["epochs"], case["tau"], strict=True):
            found = temperature(
                epoch,
                initial=case["init_tau"],
                decay=case["exp_decay_factor"],
                least=case["min_tau"],
            )
            yield f"tau {epoch}", abs(found - wanted) <= 1e-12
    for case in table["adaclip_k"]:
        for epoch, (wanted, used) in enumerate(zip(case["k"], case["used"], strict=True)):
            found = annealed_k(
                epoch,
                n_frames=case["num_frm"],
                top_k=case["top_k"],
                warmup_epochs=case["warmup_epochs"],
            )
            yield f"k {epoch}", abs(found - wanted) <= 1e-12 and int(found) == used


def _bertadam(case):
    dtype = getattr(torch, case["dtype"])
    parameter = nn.Parameter(torch.tensor(case["start"], dtype=dtype))
    options = OptimizerOptions(
        learning_rate=case["lr"],
        weight_decay=case["weight_decay"],
        schedule=case["schedule"],
        warmup=case["warmup"],
        total_steps=case["t_total"],
        betas=(case["b1"], case["b2"]),
        eps=case["e"],
        max_grad_norm=case["max_grad_norm"],
    )
    optimizer = BertAdam([parameter], options=options)
    limit_ = 1e-12 if dtype == torch.float64 else 1e-7
    for gradient, wanted in zip(case["grads"], case["values_after_step"], strict=True):
        parameter.grad = torch.tensor(gradient, dtype=dtype)
        optimizer.step()
        if not (parameter.detach() - torch.tensor(wanted, dtype=dtype)).abs().max() <= limit_:
            return False
    return True


TABLES = {
    "tokenizer": tokenizer,
    "frame_sampling": frame_sampling,
    "retrieval_metrics": retrieval_metrics,
    "schedules": schedules,
    "init_mapping": init_mapping,
}
