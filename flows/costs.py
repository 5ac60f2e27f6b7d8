"""What each stage's seconds went to, and how near that is to the fastest it could have been."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

from reelvec.tasks.runs.receipts import StageReceipt
from reelvec.tasks.spending import DATA, STEP

__all__ = ["TrainingCost", "cost_rows", "cost_words"]


def cost_rows(stages: Sequence[StageReceipt]) -> list[dict[str, Any]]:
    """A row a stage that worked: its seconds, those of each resource, and the ceiling.

    The ceiling is what the busiest resource alone takes when all workers share it evenly: no stage
    is faster. What is missing to it was spent waiting, starting and publishing.
    """
    rows = [_row(stage) for stage in stages if stage.spent]
    names = list(dict.fromkeys(name for row in rows for name in row))
    return [{name: row.get(name, "") for name in names} for row in rows]


def cost_words(stages: Sequence[StageReceipt]) -> str:
    """What held each stage back, on one line."""
    said = [
        f"{stage.stage}: {_busiest(stage.spent)[0]}, {_reached(stage):.0%} of the time"
        for stage in stages
        if stage.spent
    ]
    return "What held each stage back: " + "; ".join(said)


def _row(stage: StageReceipt) -> dict[str, Any]:
    busiest, seconds = _busiest(stage.spent)
    return {
        "stage": stage.stage,
        "seconds": round(stage.seconds, 2),
        "ceiling": round(seconds / stage.slots, 2),
        "reached": f"{_reached(stage):.0%}",
        "held back by": busiest,
        "workers": stage.slots,
    } | {f"{name}, s": round(spent, 2) for name, spent in stage.spent.items()}


def _busiest(spent: Mapping[str, float]) -> tuple[str, float]:
    return max(spent.items(), key=lambda pair: pair[1])


def _reached(stage: StageReceipt) -> float:
    """Part of the stage's seconds in which its busiest resource was at work."""
    _, seconds = _busiest(stage.spent)
    return min(1.0, seconds / stage.slots / stage.seconds) if stage.seconds else 1.0


class TrainingCost:
    """What a training's seconds went to, by the events it sends: a step's share is waiting."""

    def __init__(self) -> None:
        self._last: float | None = None
        self.spent: dict[str, float] = {}

    def follow(self, event: Mapping[str, Any]) -> None:
        """Hear an event of tasks.training.train."""
        now = time.monotonic()
        if event["event"] == "step" and self._last is not None:
            passed = now - self._last
            for what, share in ((STEP, 1 - event["data_wait"]), (DATA, event["data_wait"])):
                self.spent[what] = self.spent.get(what, 0.0) + passed * share
        if event["event"] in ("start", "step"):
            self._last = now
