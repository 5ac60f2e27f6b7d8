"""From the command line into a flow: say what is to be done, do it, show what came of it."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

from rich.console import Console

from configs import PipelineConfig
from flows.commands.options import print_table

__all__ = ["launch", "retry_failed", "show"]


def launch(config: PipelineConfig, *, stages: Sequence[str] | None = None) -> dict[str, Any]:
    """Run the pipeline, or find in seconds that a finished run has nothing left to do.

    Without PREFECT_API_URL Prefect serves itself for the time of the run.
    """
    from tasks.plan import plan_pipeline
    from tasks.preflight import check_config, choose_stages
    from tasks.recording import finished_run

    check_config(config)
    chosen = choose_stages(stages)
    finished = finished_run(config, stages=chosen)
    if finished is not None and not plan_pipeline(config, stages=chosen):
        return finished | {"changed": False}
    _say(f"reelvec: {config.name} -> {config.store}")
    from flows.pipeline import pipeline

    return pipeline(config, only=chosen)


def retry_failed(store: str, *, reasons: Sequence[str], videos: Sequence[str]) -> dict[str, Any]:
    """Try failed videos of the last run again, and bring its tables up to date."""
    from tasks.recording import last_config
    from tasks.retrying import RetryFilter

    retry = RetryFilter(reasons=tuple(reasons), videos=tuple(videos)).check()
    config = last_config(store)
    from flows.pipeline import pipeline

    return pipeline(config, retry=retry)


def show(summary: dict[str, Any]) -> None:
    """The summary on stdout, for a person."""
    from flows.summary import describe

    console = Console(markup=False, highlight=False)
    if not summary["changed"]:
        console.print("Everything is up to date: nothing was done.")
    else:
        rows = [
            {"stage": s["stage"], "done": describe(s), "seconds": float(s["seconds"])}
            for s in summary["stages"]
        ]
        print_table(summary["name"], rows, ["stage", "done", "seconds"])
    coverage = ", ".join(f"{count} {name}" for name, count in summary["coverage"].items())
    console.print(
        f"\nVideos: {coverage}" + ("; see `reelvec failures`" if summary["failures"] else "")
    )
    if summary["notes"]:
        console.print(f"Note: {summary['notes']}")
    if summary.get("metrics"):
        console.print()
        columns = list(summary["metrics"][0])
        print_table("Metrics", summary["metrics"], columns)
    if summary.get("report"):
        console.print(f"\nReport: {summary['report']}")


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
