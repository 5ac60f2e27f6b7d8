"""Training goldens: the same steps, the same losses, rates, gradients and parameters."""

from collections import defaultdict

import torch
from torch.nn.utils import clip_grad_norm_

from reelvec.models.conversion.names import transformers_names
from reelvec.models.noise import StepNoise
from reelvec.models.training.losses import weighted_symmetric_loss
from reelvec.models.training.optim import OptimizerOptions, build_optimizer, rates
from reelvec.models.training.parameters import clamp_logit_scale, freeze
from tests.parity import distillation
from tests.parity.common import DTYPES, FP64, RELEASED, ROUNDING, Line, distance

FP32 = {
    "train_loss": 1e-4,
    "train_gt_loss": 1e-4,
    "train_distill_loss": 1e-5,
    "train_fine_loss": 1e-5,
    "train_cdcr": 1e-4,
    "train_grad_norm": 1e-3,
    "grad_first_step/": 1e-4,
    "final/": 1e-6,
}
"""Floors in float32; four times the file's own float32-float64 distance where that is more."""

OPTIMIZERS = {"BertAdam": "bert_adam", "AdamW": "transformers_adamw"}
SCHEDULES = {"cosine_with_warmup": "rebased_cosine"}
"""Their names in a golden, and ours."""

TAUGHT_PARTS = ("frameLinear.", "frameLinear2.")
"""Parameter groups of a rate of their own."""

NO_GRADIENT = 1e-12
"""What float64 leaves of a gradient that is zero; float64 compares such parameters too."""


def check(golden):
    for name, dtype in DTYPES.items():
        found, frozen = run(golden, dtype)
        yield judge(golden, name, found, frozen)


def run(golden, dtype):
    """Everything the file's outputs name, from our own training steps."""
    how = golden.json("training")
    model = golden.model(dtype, **RELEASED.get(golden.metadata["family"], {})).train()
    if "tau" in how:
        model.temperature = how["tau"]
    if "frame_linear_lr" in how:
        factor = how["frame_linear_lr"] / how["lr"]
        model.rate_factors = dict.fromkeys(model.rate_factors, factor)
    frozen = freeze(model, freeze_layers=how["freeze_layer_num"])
    optimizer = build_optimizer(model, options=optimizer_options(how))
    trained = [p for p in model.parameters() if p.requires_grad]
    found = defaultdict(list)
    for step in range(how["steps"]):
        optimizer.zero_grad(set_to_none=True)
        loss, parts = step_loss(golden, model, step, dtype)
        loss.backward()
        if step == 0:
            found |= gradients(golden, model)
        norm = clip_grad_norm_(trained, how["max_grad_norm"])
        rate = rates(optimizer)  # a part without parameters has none: the other tells it
        for key, value in (
            ("train_loss", loss.item()),
            ("train_grad_norm", norm.item()),
            ("train_lr", rate.get("other", rate["clip"] / how["coef_lr"])),
            ("train_lr_clip", rate.get("clip")),
            *((f"train_{name}", part.item()) for name, part in parts.items()),
            *(("train_lr_frame_linear", rate[part]) for part in rate if part in TAUGHT_PARTS),
        ):
            found[key].append(value)
        optimizer.step()
        clamp_logit_scale(model)
    final = as_the_original(model, model.state_dict())
    for key in golden.group("output/final/"):
        found[f"final/{key}"] = final[key.removesuffix("64")].detach().clone()
    return found, set(frozen)


def step_loss(golden, model, step, dtype):
    """The loss of a step, and the parts it is made of where there are several."""
    inputs = {key: tensor[step] for key, tensor in golden.group("input/").items()}
    extra = {key: tensor[step] for key, tensor in golden.extra_inputs(dtype).items()}
    text = model.encode_text(inputs["text_ids"])
    video = model.encode_video(inputs["video"].to(dtype), inputs["video_mask"], **extra)
    if "teacher_sim" not in inputs:
        loss = weighted_symmetric_loss(model.score_terms(text, video))
        noise = StepNoise(0, step).of_rows(torch.arange(len(text)))
        beside = model.batch_loss(text, video, noise=noise)
        if beside is None:
            return loss, {}
        return loss + beside, {"cdcr": beside / model.options.cdcr_lambda}
    loss = distillation.losses(
        model.similarity(text, video),
        video["frame_weights"],
        inputs,
        how=golden.json("training"),
        dtype=dtype,
    )
    named = {name: getattr(loss, part) for name, part in distillation.PARTS.items()}
    return named.pop("loss"), named


def optimizer_options(how):
    return OptimizerOptions(
        name=OPTIMIZERS[how.get("optimizer", "BertAdam")],
        learning_rate=how["lr"],
        clip_rate_factor=how["coef_lr"],
        weight_decay=how["weight_decay"],
        schedule=SCHEDULES.get(how["schedule"], how["schedule"]),
        warmup=how["warmup_proportion"],
        total_steps=how["t_total"],
        betas=(how["b1"], how["b2"]),
        eps=how["e"],
        max_grad_norm=how["max_grad_norm"],
    )


def gradients(golden, model):
    held = {name: p.grad for name, p in model.named_parameters() if p.grad is not None}
    named = as_the_original(model, held)
    return {
        f"grad_first_step/{key}": named[key.removesuffix("64")].detach().clone()
        for key in golden.group("output/grad_first_step/")
    }


def as_the_original(model, tensors):
    """Tensors under the names of the original's checkpoints."""
    return transformers_names(tensors) if model.transformers_names else tensors


def judge(golden, dtype, found, frozen):
    """Every output of the file against ours: its float64 form where the file has one."""
    outputs, how = golden.group("output/"), golden.json("training")
    own = golden.json("accuracy", {})
    problems, worst = [], {}
    for key, wanted in outputs.items():
        base = key.removesuffix("64")
        exact = dtype == "float64" and (key.endswith("64") or base.startswith("train_lr"))
        if base not in found or (dtype == "float64" and not exact and f"{key}64" in outputs):
            continue
        if dtype == "float32" and key.endswith("64"):
            continue
        ours = torch.as_tensor(found[base], dtype=torch.float64)
        if dtype == "float32" and base.startswith("final/"):
            ours = without_noise(ours, wanted, outputs, base.removeprefix("final/"))
        error = distance(ours, wanted)
        if base == "train_grad_norm":  # it has no unit of its own: 40 and more are usual
            error /= max(1.0, wanted.abs().max().item())
        kind = base.partition("/")[0]
        worst[kind] = max(worst.get(kind, 0.0), error)
        if not error <= allowed(base, exact, own):
            problems.append(f"{base} off by {error:.1e}")
    if "frozen" in how and set(how["frozen"]) != frozen:
        problems.append(f"frozen differs: {sorted(set(how['frozen']) ^ frozen)[:4]}")
    unseen = [k for k in ("train_loss", "train_grad_norm") if k not in worst]
    problems += [f"{key} not compared" for key in unseen]
    note = "; ".join(problems) or ", ".join(f"{k} {v:.0e}" for k, v in sorted(worst.items()))
    return Line(golden.name, dtype, not problems, worst.get("train_loss"), None, note)


def without_noise(ours, wanted, outputs, key):
    """`ours`, but as `wanted` where the exact gradient is zero: a bias of keys or before a softmax.

    In float32 it is rounding there, and an optimizer that divides by its size makes steps of it.
    """
    gradient = outputs.get(f"grad_first_step/{key}64")
    if gradient is None:
        return ours
    return torch.where(gradient.abs() < NO_GRADIENT, wanted.double(), ours)


def allowed(key, exact, own):
    if exact:
        return FP64
    if key.startswith("train_lr"):
        return 1e-12
    floor = next(value for prefix, value in FP32.items() if key.startswith(prefix))
    return max(floor, ROUNDING * own.get(key, 0.0))
