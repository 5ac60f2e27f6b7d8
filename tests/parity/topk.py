"""Hard-Top-k goldens: which frames are chosen, and the gradient of choosing them."""

import torch

from reelvec.models.adaclip.policy import hard_top_k
from tests.parity.common import DTYPES, Line, distance


def check(golden):
    for name, dtype in DTYPES.items():
        worst, problems = 0.0, []
        for i, case in enumerate(golden.json("cases")):
            error, problem = run(golden, i, case, dtype)
            worst = max(worst, error)
            problems += problem
        yield Line(golden.name, name, not problems, worst, None, "; ".join(problems))


def run(golden, i, case, dtype):
    """Largest distance of actions and gradients of one case, and what is wrong with it."""
    given, wanted = golden.group(f"input/case{i}/"), golden.group(f"output/case{i}/")
    scores = given["scores"].to(dtype).requires_grad_()
    actions, selected = hard_top_k(
        scores, k=case["top_k"], temperature=case["tau"], noise=given["gumbel"].to(dtype)
    )
    (actions * given["upstream"].to(dtype)).sum().backward()
    exact = wanted["grad_scores64" if dtype == torch.float64 else "grad_scores"]
    gradient = distance(scores.grad, exact)
    limit = 1e-9 if dtype == torch.float64 else max(1e-6, 4 * golden.json("accuracy")[f"case{i}"])
    problems = []
    if not torch.equal(selected, wanted["selected"]):
        problems.append(f"case{i} selects other frames")
    if not gradient <= limit:
        problems.append(f"case{i} gradient off by {gradient:.1e}")
    if not distance(actions, wanted["actions"]) <= 1e-5:
        problems.append(f"case{i} actions differ")
    return gradient, problems
