"""What a run comes to, as artifacts of its flow run in the Prefect UI."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from prefect.artifacts import create_markdown_artifact, create_table_artifact

from reelvec.tasks.runs.outcome import RunSummary

__all__ = ["publish_summary"]

_SHOWN_FAILURES = 200
_COLUMNS = ("video_id", "stage", "status", "reason", "message")


def publish_summary(summary: RunSummary) -> None:
    """Artifacts of the flow run: a summary, the failures, the metrics."""
    outcome = summary.outcome
    create_markdown_artifact(markdown=_markdown(summary), key="summary", description=outcome.name)
    failed = [asdict(row) for row in outcome.failures[:_SHOWN_FAILURES]]
    if failed:
        table = [{column: row[column] for column in _COLUMNS} for row in failed]
        create_table_artifact(table=table, key="failures", description="Videos that failed")
    if outcome.metrics:
        metrics = [_rounded(asdict(row)) for row in outcome.metrics]
        create_table_artifact(table=metrics, key="metrics", description="Metrics")


def _rounded(row: Mapping[str, Any]) -> dict[str, Any]:
    """For a person: the tables in the store keep every digit."""
    return {k: round(v, 2) if isinstance(v, float) else v for k, v in row.items()}


def _markdown(summary: RunSummary) -> str:
    outcome = summary.outcome
    lines = [f"# {outcome.name}", ""]
    for note in summary.notes:
        lines += [f"> {note}", ""]
    lines += [
        f"Videos: {outcome.coverage.words}",
        "",
        "| stage | done | seconds |",
        "| --- | --- | --- |",
    ]
    for stage in summary.stages:
        lines.append(f"| {stage.stage} | {stage.words} | {stage.seconds:.1f} |")
    if outcome.report:
        lines += ["", f"Report: `{outcome.report}`"]
    return "\n".join(lines)
