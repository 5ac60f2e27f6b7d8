"""Progress a person can watch: lines or a bar on stderr, and wherever the engine shows it.

That may cost a call of an API each time, so it is told every few seconds at most.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Protocol

from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from reelvec.flows.console.output import progress_console
from reelvec.flows.engine import ShowProgress

__all__ = ["StageProgress", "TrainingNumbers", "stage_progress"]

_SECONDS_BETWEEN_UPDATES = 3.0
_SECONDS_BETWEEN_LINES = 30.0


class StageProgress:
    """One stage's counter: `total` units of `unit`, `done` so far."""

    def __init__(self, title: str, *, total: int, unit: str, show: ShowProgress) -> None:
        self._show = show
        self.title = title
        self.total = total
        self.unit = unit
        self.done = 0
        self.failed = 0
        self._last = 0.0
        self._console = progress_console()
        self._bar: Progress | None = None
        self._bar_task: TaskID | None = None

    def start(self) -> None:
        if self._console.is_terminal:
            columns = (
                TextColumn("{task.description:<9}"),
                BarColumn(),
                TextColumn("{task.completed:.0f}/{task.total:.0f} {task.fields[unit]}"),
                TimeElapsedColumn(),
                TextColumn("{task.fields[note]}"),
            )
            self._bar = Progress(*columns, console=self._console)
            self._bar.start()
            self._bar_task = self._bar.add_task(
                self.title, total=self.total, unit=self.unit, note=""
            )

    def advance(self, count: int, *, failed: int = 0) -> None:
        """`count` more units are done, `failed` of them quarantined."""
        self.failed += failed
        note = f"{self.failed} quarantined" if self.failed else ""
        self.update(self.done + count, note=note)

    def update(self, done: int, *, total: int | None = None, note: str = "") -> None:
        """`done` units of `total` are done in all; `note` is shown beside them."""
        self.done = done
        self.total = self.total if total is None else total
        if self._bar is not None and self._bar_task is not None:
            self._bar.update(self._bar_task, completed=done, total=self.total, note=note)
        now = time.monotonic()
        if now - self._last < _SECONDS_BETWEEN_UPDATES and self.done < self.total:
            return
        self._last = now
        if self._bar is None:
            self._console.print(self._text(note), soft_wrap=True)
        self._show(min(100.0 * self.done / max(self.total, 1), 100.0))

    def follow_training(self, event: Mapping[str, Any]) -> None:
        """Show an event of tasks.training.train: steps, epochs, restarts, notes."""
        name = event["event"]
        if name == "step":
            note = f"epoch {event['epoch']}  loss {event['loss']:.3f}"
            note += f"  {event['samples_per_second']:.0f} pairs/s"
            self.update(int(event["step"]), total=int(event["steps"]), note=note)
        elif name == "epoch":
            self._console.print(f"{self.title}: {epoch_words(event)}", soft_wrap=True)
        elif name == "restart":
            words = f"{self.title}: {event['message']}; restarted from the last checkpoint"
            self._console.print(words, soft_wrap=True)
        elif name == "note":
            self._console.print(f"{self.title}: {event['text']}", soft_wrap=True)

    def stop(self) -> None:
        if self._bar is not None:
            self._bar.stop()

    def _text(self, note: str) -> str:
        text = f"{self.title:<9} {self.done}/{self.total} {self.unit}"
        return f"{text}  {note}" if note else text


class ShowNumbers(Protocol):
    """An engine's `numbers`."""

    def __call__(
        self, title: str, line: str, *, rows: Sequence[Mapping[str, float | str]] = ()
    ) -> None: ...


class TrainingNumbers:
    """Passes a training's numbers on to the engine: steps now and then, each epoch as a row.

    Args:
        title: of the stage.
        show: the engine's `numbers`.
    """

    def __init__(self, title: str, *, show: ShowNumbers) -> None:
        self._title = title
        self._show = show
        self._rows: list[dict[str, float | str]] = []
        self._last = time.monotonic()

    def follow(self, event: Mapping[str, Any]) -> None:
        """Hear an event of tasks.training.train."""
        name, now = event["event"], time.monotonic()
        if name == "step" and now - self._last >= _SECONDS_BETWEEN_LINES:
            self._last = now
            line = f"step {event['step']} of {event['steps']}: loss {event['loss']:.4f}"
            line += f", lr {event['lr']:.3g}, {event['samples_per_second']:.0f} pairs/s"
            self._show(self._title, f"{line}, waited for data {event['data_wait']:.0%}")
        elif name == "epoch":
            hidden = ("event", "stopped")
            self._rows.append({k: _short(v) for k, v in event.items() if k not in hidden})
            self._show(self._title, epoch_words(event), rows=self._rows)


def epoch_words(event: Mapping[str, Any]) -> str:
    """An epoch on one line."""
    words = f"epoch {event['epoch']:.0f}: loss {event['loss']:.4f}"
    if "R@1" in event:
        words += f", R@1 {event['R@1']:.1f}, best epoch {event['best_epoch']}"
    return f"{words}; it stops here" if event.get("stopped") else words


def _short(value: float) -> float:
    return float(f"{value:.5g}")


@contextmanager
def stage_progress(
    title: str, *, total: int, unit: str, show: ShowProgress
) -> Iterator[StageProgress]:
    """Show `title` while the block runs, and tell `show`; its end is shown whatever happens."""
    progress = StageProgress(title, total=total, unit=unit, show=show)
    progress.start()
    try:
        yield progress
    finally:
        progress.stop()
