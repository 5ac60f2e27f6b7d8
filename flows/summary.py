"""The summary of a run, in one dict: for the terminal and as artifacts in the Prefect UI."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from prefect.artifacts import create_markdown_artifact, create_table_artifact

from reelvec.configs import PipelineConfig
from reelvec.tasks.runs.outcome import outcome_of

__all__ = ["publish_summary", "summarise"]

Summary = dict[str, Any]
_SHOWN_FAILURES = 200


def summarise(config: PipelineConfig, stages: Sequence[dict[str, Any]]) -> Summary:
    """Stage receipts, and what the store says the run has come to."""
    outcome = outcome_of(config)
    said = [note for stage in stages for note in stage.get("notes", ())]
    notes = list(dict.fromkeys([*outcome["notes"], *said]))
    changed = any(_did_something(stage) for stage in stages)
    return {**outcome, "notes": notes, "changed": changed, "stages": list(stages)}


def _did_something(stage: dict[str, Any]) -> bool:
    return any(stage.get("done", {}).values())


def publish_summary(summary: Summary) -> None:
    """Artifacts of the flow run: a summary, the failures, the metrics."""
    create_markdown_artifact(
        markdown=_markdown(summary), key="summary", description=summary["name"]
    )
    listed = summary["failures"][:_SHOWN_FAILURES]
    if listed:
        columns = ("video_id", "stage", "status", "reason", "message")
        table = [{column: row[column] for column in columns} for row in listed]
        create_table_artifact(table=table, key="failures", description="Videos that failed")
    if summary.get("metrics"):
        create_table_artifact(table=summary["metrics"], key="metrics", description="Metrics")


def _markdown(summary: Summary) -> str:
    lines = [f"# {summary['name']}", ""]
    for note in summary["notes"]:
        lines += [f"> {note}", ""]
    coverage = ", ".join(f"{count} {name}" for name, count in summary["coverage"].items())
    lines += [f"Videos: {coverage}", "", "| stage | done | seconds |", "| --- | --- | --- |"]
    for stage in summary["stages"]:
        lines.append(f"| {stage['stage']} | {describe(stage)} | {stage['seconds']:.1f} |")
    if summary.get("report"):
        lines += ["", f"Report: `{summary['report']}`"]
    return "\n".join(lines)


def describe(stage: dict[str, Any]) -> str:
    """What a stage did, in a few words."""
    done = [f"{count} {what}" for what, count in stage.get("done", {}).items() if count]
    return ", ".join(done) or "nothing to do"
