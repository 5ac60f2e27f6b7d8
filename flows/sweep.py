"""A sweep: its runs one after the other, on the runner at hand; a failed run is a row."""

from __future__ import annotations

import csv
from collections.abc import Callable, Sequence
from pathlib import Path

from reelvec.configs import PipelineConfig
from reelvec.configs.sweeps import Sweep, SweepRun
from reelvec.tasks.reports.rendering.comparison import ComparedRun, Comparison, render_comparison
from reelvec.tasks.runs.outcome import RunSummary

__all__ = ["run_sweep", "write_comparison"]

RunOne = Callable[[PipelineConfig], RunSummary]


def run_sweep(
    sweep: Sweep, *, run: RunOne, done: Callable[[Sequence[ComparedRun]], None]
) -> list[ComparedRun]:
    """Run what is missing of every run; what is finished is found in the store.

    Args:
        sweep: its runs.
        run: runs one, or finds that nothing is left to do.
        done: is told after each run what all have come to so far.
    """
    rows: list[ComparedRun] = []
    for one in sweep.runs:
        try:
            rows.append(_compared(one, run(one.config)))
        except Exception as error:  # noqa: BLE001 - the others are run all the same
            rows.append(_failed(one, error))
        done(rows)
    return rows


def _compared(one: SweepRun, summary: RunSummary) -> ComparedRun:
    return ComparedRun(
        name=one.config.name,
        label=one.label,
        values=one.values,
        metrics=tuple(row for row in summary.outcome.metrics if not row.subset),
        seconds=sum(stage.seconds for stage in summary.stages),
        report=summary.outcome.report or "",
    )


def _failed(one: SweepRun, error: Exception) -> ComparedRun:
    words = str(error) or type(error).__name__
    return ComparedRun(name=one.config.name, label=one.label, values=one.values, error=words)


def write_comparison(comparison: Comparison, folder: Path) -> tuple[Path, Path]:
    """Write sweep.csv and sweep.html into a folder; those that are there are replaced."""
    table, page = folder / "sweep.csv", folder / "sweep.html"
    page.write_bytes(render_comparison(comparison))
    with table.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, comparison.columns)
        writer.writeheader()
        writer.writerows(run.cells() for run in comparison.runs)
    return table, page
