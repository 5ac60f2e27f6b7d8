"""The command `report`: the page of a run, beside another run if asked for, under its last name."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from reelvec.configs import PipelineConfig
from reelvec.errors import RequestError
from reelvec.flows.launch import launch
from reelvec.storage.errors import MissingArtifactError
from reelvec.storage.kept_pages import LATEST, kept_page
from reelvec.storage.roots import open_root
from reelvec.tasks.artifacts import Session
from reelvec.tasks.reports.report import report
from reelvec.tasks.reports.sources import Against, against_run, report_sources
from reelvec.tasks.runs.outcome import RunSummary

__all__ = ["draw_report", "latest_report"]


def draw_report(config: PipelineConfig, *, against: str | None = None) -> RunSummary:
    """Score the tables of a run where they are not, and draw its page where it is not there.

    Args:
        config: of the run.
        against: a run, an identifier or a tag to compare with; None: none.

    Raises:
        MissingArtifactError: there is no such run, or one of them has no tables.
        RequestError: `against` is not scored.
    """
    other = None if against is None else _scored(config, against)
    summary = launch(config, stages=["evaluate", "report"])
    session = Session(config)
    made = report(session, report_sources(session, against=other))
    outcome = dataclasses.replace(summary.outcome, report=str(made.path))
    return dataclasses.replace(summary, outcome=outcome)


def _scored(config: PipelineConfig, against: str) -> Against:
    other = against_run(open_root(config.store), against)
    if other.evaluation is None:
        raise RequestError(
            f"the run ({against}) is not scored; `reelvec evaluate --run {against}` scores it"
        )
    return other


def latest_report(store: str) -> Path:
    """Where the page that was drawn last is kept.

    Raises:
        MissingArtifactError: none was drawn yet.
    """
    page = kept_page(open_root(store), LATEST)
    if not page.is_file():
        raise MissingArtifactError(f"no report is at {page}; `reelvec report` draws one")
    return page
