"""The results of a run, read from the store: coverage, failures, notes, metrics, report."""

from __future__ import annotations

from typing import Any

from reelvec.configs import PipelineConfig
from reelvec.storage.errors import MissingArtifactError
from reelvec.tasks.corpus.ingest import corpus_artifact, read_corpus
from reelvec.tasks.corpus.ledger import counts, failures, ledger
from reelvec.tasks.frames.extract import frames_artifact
from reelvec.tasks.reports.facts import notes_of
from reelvec.tasks.reports.report import report_in_force
from reelvec.tasks.reports.sources import report_sources
from reelvec.tasks.scoring.evaluate import Evaluation, read_coverage

__all__ = ["outcome_of"]


def outcome_of(config: PipelineConfig) -> dict[str, Any]:
    """Coverage, failures, notes, metrics and where the report is, as far as they exist."""
    corpus = read_corpus(corpus_artifact(config))
    rows = list(ledger(corpus, frames=frames_artifact(config).latest()))
    outcome: dict[str, Any] = {
        "name": config.name,
        "store": config.store,
        "coverage": counts(rows),
        "failures": failures(rows),
        "notes": [config.notes] if config.notes else [],
        "metrics": [],
        "report": None,
    }
    try:
        sources = report_sources(config)
    except MissingArtifactError:  # not embedded or not scored: there is nothing more to say
        return outcome
    coverage = read_coverage(sources.evaluation)
    outcome["notes"] = list(notes_of(sources, coverage))
    outcome["metrics"] = Evaluation(sources.evaluation, fresh=False).metrics
    page = report_in_force(sources.evaluation.artifact.latest() or sources.evaluation)
    outcome["report"] = None if page is None else str(page)
    return outcome
