"""Distillation goldens: the losses of a student beside its teachers, and their gradients."""

import torch

from reelvec.configs.training import DistillationConfig
from reelvec.models.training.distillation import Scores, distilled_loss
from tests.parity.common import DTYPES, FP64, ROUNDING, Line, distance

FP32 = 1e-5
PARTS = {"gt_loss": "pairs", "distill_loss": "scores", "fine_loss": "frames", "loss": "total"}


def options(how):
    """Of a golden's words."""
    return DistillationConfig(
        scores=how["distill_method"], frames=how["fine_method"], temperature=how["beta"]
    )


def losses(sim, frame_weights, given, *, how, dtype):
    """The loss of a whole batch, its teachers as the file gives them: [K, B, B] and [K, B, F]."""
    q, p = given["teacher_sim"].to(dtype), given["teacher_frame_weights"].to(dtype)
    teachers = [Scores([(1.0, x)], [(1.0, x.T)], weights) for x, weights in zip(q, p, strict=True)]
    student = Scores([(1.0, sim)], [(1.0, sim.T)], frame_weights)
    return distilled_loss(student, teachers, options=options(how))


def check(golden):
    """Lines for both precisions over all cases of a file without a model."""
    for name, dtype in DTYPES.items():
        worst, problems = 0.0, []
        for i, case in enumerate(golden.json("options")["cases"]):
            for key, error, limit in compared(golden, i, case, dtype):
                worst = max(worst, error)
                if not error <= limit:
                    problems.append(f"case{i} {key} off by {error:.1e}")
        yield Line(golden.name, name, not problems, worst, None, "; ".join(problems))


def compared(golden, i, case, dtype):
    """(what, distance, allowed) of one case; what a file does not name is not compared."""
    given, wanted = golden.group(f"input/case{i}/"), golden.group(f"output/case{i}/")
    sim = given["sim"].to(dtype).requires_grad_()
    scores = given["frame_scores"].to(dtype).requires_grad_()
    weights = torch.softmax(scores, dim=1)
    found = losses(sim, weights, given, how=case, dtype=dtype)
    found.total.backward()
    ours = {name: getattr(found, part).detach() for name, part in PARTS.items()}
    ours |= {"grad_sim": sim.grad, "grad_frame_scores": scores.grad}
    is_exact = dtype == torch.float64
    rounding = ROUNDING * golden.json("accuracy", {}).get(f"case{i}", 0.0)
    for key, value in ours.items():
        exact = wanted[f"{key}64" if is_exact and f"{key}64" in wanted else key]
        limit = FP64 if is_exact and f"{key}64" in wanted else max(FP32, rounding)
        yield key, distance(value.double(), exact.double()), limit
