"""Learning-rate schedules as the originals compute them.

Sources: specs/clip4clip-clip2video.md 3.3, specs/xclip-adaclip.md A2.2, specs/more-heads.md 2.4.

A schedule maps progress x = step / total_steps (the step *before* it is taken, from 0) and the
warm-up fraction to a multiplier. They are kept as they are: the first step has rate 0, and
warmup_cosine is not re-based, so it falls from 1 to 0.9755 where a warm-up of 0.1 ends.
rebased_cosine (X-Pool's, transformers' own) begins its fall there, and warms up over whole steps.
"""

from __future__ import annotations

import math
from collections.abc import Callable

__all__ = [
    "SCHEDULES",
    "multiplier",
]


def _constant(x: float, warmup: float) -> float:  # noqa: ARG001 - one signature for all
    return 1.0


def _warmup_constant(x: float, warmup: float) -> float:
    return x / warmup if x < warmup else 1.0


def _warmup_cosine(x: float, warmup: float) -> float:
    return x / warmup if x < warmup else 0.5 * (1.0 + math.cos(math.pi * x))


def _warmup_linear(x: float, warmup: float) -> float:
    return x / warmup if x < warmup else max((x - 1.0) / (warmup - 1.0), 0)


def _rebased_cosine(x: float, warmup: float) -> float:
    return (
        x / warmup if x < warmup else 0.5 * (1.0 + math.cos(math.pi * (x - warmup) / (1 - warmup)))
    )


SCHEDULES: dict[str, Callable[[float, float], float]] = {
    "constant": _constant,
    "warmup_constant": _warmup_constant,
    "warmup_cosine": _warmup_cosine,
    "warmup_linear": _warmup_linear,
    "rebased_cosine": _rebased_cosine,
}


def multiplier(schedule: str, *, step: int, total_steps: float, warmup: float) -> float:
    """What the peak rate is multiplied with in the optimizer step number ``step`` (from 0).

    Args:
        schedule: A name of `SCHEDULES`.
        step: Steps already taken.
        total_steps: Steps of the whole run; may be a fraction (the originals divide floats);
            -1: the rate is constant.
        warmup: Fraction of the run, 0 <= warmup < 1.

    Raises:
        ValueError: An unknown schedule, or a warm-up or total outside its range.
    """
    if schedule not in SCHEDULES:
        raise ValueError(f"schedule={schedule!r} is unknown; use one of {', '.join(SCHEDULES)}")
    if not 0 <= warmup < 1:
        raise ValueError(f"warmup={warmup}; it is a fraction of the run, 0 <= warmup < 1")
    if total_steps == -1:
        return 1.0
    if total_steps <= 0:
        raise ValueError(
            f"total_steps={total_steps}; it must be above 0, or -1 for a constant rate"
        )
    if schedule == "rebased_cosine":
        warmup = int(warmup * total_steps) / total_steps
    return SCHEDULES[schedule](step / total_steps, warmup)
