"""The results of a run, read from the store: coverage, failures, notes, metrics, report."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from reelvec.models.ranking.moments import MomentMetric
from reelvec.storage.errors import MissingArtifactError
from reelvec.tasks.artifacts import Session
from reelvec.tasks.corpus.ledger import LedgerCounts, LedgerRow, summary
from reelvec.tasks.reports.notes import notes_of
from reelvec.tasks.reports.report import report_in_force
from reelvec.tasks.reports.sources import report_sources
from reelvec.tasks.runs.receipts import StageReceipt
from reelvec.tasks.scoring.evaluate import read_coverage, read_metrics, read_moments
from reelvec.tasks.scoring.rows import MetricRow

__all__ = ["RunOutcome", "RunSummary", "summary_of"]


@dataclass(frozen=True, kw_only=True)
class RunOutcome:
    """What the store says of a run, as far as it has come."""

    name: str
    store: str
    coverage: LedgerCounts
    failures: tuple[LedgerRow, ...]
    """Videos that are quarantined or salvaged."""
    degraded: bool = False
    """Whether a larger part is quarantined than extract.warn_failed_fraction."""
    notes: tuple[str, ...] = ()
    metrics: tuple[MetricRow, ...] = ()
    """Empty: not scored."""
    moments: tuple[MomentMetric, ...] = ()
    """Empty: no windows, or no captions of pieces."""
    report: str | None = None
    """Path of the page; None: not drawn."""


@dataclass(frozen=True, kw_only=True)
class RunSummary:
    """A run's outcome, and what its stages did for it; no stages: nothing was to do."""

    outcome: RunOutcome
    stages: tuple[StageReceipt, ...] = ()

    @property
    def changed(self) -> bool:
        """Whether any stage did anything."""
        return any(stage.changed for stage in self.stages)

    @property
    def notes(self) -> tuple[str, ...]:
        """What a reader should know: of the outcome, then of the stages, each once."""
        said = [note for stage in self.stages for note in stage.notes]
        return tuple(dict.fromkeys([*self.outcome.notes, *said]))

    def to_json(self) -> dict[str, Any]:
        """As `reelvec run --json` prints it."""
        outcome = self.outcome
        return {
            "name": outcome.name,
            "store": outcome.store,
            "coverage": outcome.coverage.to_json(),
            "failures": [dataclasses.asdict(row) for row in outcome.failures],
            "notes": list(self.notes),
            "metrics": [dataclasses.asdict(row) for row in outcome.metrics],
            "moments": [dataclasses.asdict(row) for row in outcome.moments],
            "report": outcome.report,
            "changed": self.changed,
            "stages": [stage.to_json() for stage in self.stages],
        }


def summary_of(session: Session, stages: Sequence[StageReceipt] = ()) -> RunSummary:
    """The outcome of a run after these stages."""
    return RunSummary(outcome=outcome_of(session), stages=tuple(stages))


def outcome_of(session: Session) -> RunOutcome:
    """Coverage, failures, notes, metrics and where the report is, as far as they exist."""
    config = session.config
    videos = summary(session.latest(session.corpus), frames=session.latest(session.frames))
    coverage = videos.counts
    outcome = RunOutcome(
        name=config.name,
        store=config.store,
        coverage=coverage,
        degraded=coverage.quarantined > config.extract.warn_failed_fraction * coverage.planned,
        failures=videos.failures,
        notes=(config.notes,) if config.notes else (),
    )
    try:
        sources = report_sources(session)
    except MissingArtifactError:  # not embedded or not scored: there is nothing more to say
        return outcome
    page = report_in_force(sources.evaluation)
    return dataclasses.replace(
        outcome,
        notes=notes_of(sources, read_coverage(sources.evaluation)),
        metrics=tuple(read_metrics(sources.evaluation)),
        moments=tuple(read_moments(sources.evaluation)),
        report=None if page is None else str(page),
    )
