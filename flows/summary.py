"""What a run comes to, as artifacts of its flow run in the Prefect UI, and the state it ends in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any, TypeVar, cast

from prefect import State
from prefect.artifacts import (
    create_image_artifact,
    create_markdown_artifact,
    create_table_artifact,
)
from prefect.states import Completed

from reelvec.flows.costs import cost_rows, cost_words
from reelvec.flows.recall_curve import recall_picture
from reelvec.flows.showing import key_of, page_link, plain
from reelvec.storage.reasons import Reason
from reelvec.tasks.corpus.ledger import LedgerRow
from reelvec.tasks.corpus.remedies import REMEDIES
from reelvec.tasks.runs.outcome import RunSummary
from reelvec.tasks.runs.price import PricedPlan

__all__ = ["DEGRADED", "degraded", "ended", "publish_plan", "publish_summary"]

Result = TypeVar("Result")

DEGRADED = "Degraded"
"""Name of the state of a run that completed with more videos quarantined than is usual."""

_SHOWN_FAILURES = 200


def publish_plan(plan: PricedPlan) -> None:
    """What a run is going to do and what that takes, before it does it."""
    lines = [f"# {plain(plan.name)}", "", plain(plan.words)]
    if plan.work:
        lines += ["", "| stage | what | count |", "| --- | --- | --- |"]
        lines += [f"| {row.stage} | {row.why} | {row.count} |" for row in plan.work]
        lines += ["", "| stage | work | minutes | MiB to write | by |"]
        lines += ["| --- | --- | --- | --- | --- |"]
        for price in plan.prices:
            minutes = "?" if price.seconds is None else f"{price.seconds / 60:,.2f}"
            size = "" if price.bytes is None else f"{price.bytes / 2**20:,.1f}"
            work = f"{price.units} {price.unit}"
            lines.append(f"| {price.stage} | {work} | {minutes} | {size} | {price.basis} |")
    if plan.videos:
        lines += ["", "| video | why |", "| --- | --- |"]
        lines += [f"| {plain(video.video_id)} | {video.why} |" for video in plan.videos]
        more = sum(plan.counts.values()) - len(plan.videos)
        lines += ["", f"… and {more} more"] if more > 0 else []
    key = key_of("plan", run=plan.name)
    create_markdown_artifact("\n".join(lines), key=key, description="What is to be done")


def publish_summary(summary: RunSummary) -> None:
    """Artifacts of the flow run: a summary, the failures, the metrics, the cost of each stage."""
    outcome = summary.outcome
    name = outcome.name
    markdown = _markdown(summary)
    words = f"{name}: what each stage did"
    create_markdown_artifact(markdown, key=key_of("summary", run=name), description=words)
    failed = [_failure(row) for row in outcome.failures[:_SHOWN_FAILURES]]
    if failed:
        words = f"Videos that failed, {len(failed)} of {len(outcome.failures)}"
        create_table_artifact(failed, key=key_of("failures", run=name), description=words)
    if outcome.metrics:
        metrics = [_rounded(asdict(row)) for row in outcome.metrics]
        create_table_artifact(metrics, key=key_of("metrics", run=name), description="Scores")
    picture = recall_picture(outcome.metrics, title=f"Recall of {name}")
    if picture:
        key = key_of("recall", run=name)
        create_image_artifact(picture, key=key, description="Recall at k, percent")
    costs = cost_rows(summary.stages)
    if costs:
        words = cost_words(summary.stages)
        create_table_artifact(costs, key=key_of("cost", run=name), description=words)


def ended(summary: RunSummary) -> RunSummary:
    """What a flow returns: the summary, in a state that stands out where many videos failed."""
    if not summary.outcome.degraded:
        return summary
    videos = summary.outcome.coverage
    return degraded(summary, words=f"{videos.quarantined} of {videos.planned} videos")


def degraded(result: Result, *, words: str) -> Result:
    """`result` in a state called Degraded.

    Prefect takes a state that is returned for the flow run's own, and gives callers its data.

    Args:
        result: of the flow.
        words: which videos failed.
    """
    message = f"{words} are quarantined, more than extract.warn_failed_fraction: see the failures"
    state: State[Result] = Completed(name=DEGRADED, message=message, data=result)
    return cast(Result, state)


def _failure(row: LedgerRow) -> dict[str, Any]:
    """The columns of a table that is wider than its page: what a person looks for comes first."""
    return {
        "video": row.video_id,
        "reason": str(row.reason),
        "remedy": REMEDIES[Reason(row.reason)],
        "what": row.message,
        "file": row.path,
        "stage": row.stage,
        "status": str(row.status),
    }


def _rounded(row: Mapping[str, Any]) -> dict[str, Any]:
    """For a person: the tables in the store keep every digit."""
    return {k: round(v, 2) if isinstance(v, float) else v for k, v in row.items()}


def _markdown(summary: RunSummary) -> str:
    outcome = summary.outcome
    lines = [f"# {plain(outcome.name)}", ""]
    for note in summary.notes:
        lines += [f"> {plain(note)}", ""]
    links = [
        page_link("search it", run=outcome.name),
        page_link("its failures", run=outcome.name, view="failures"),
    ]
    lines += [" · ".join(links), ""] if all(links) else []
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
