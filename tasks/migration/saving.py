"""The report of a gate: one record and one page in the store, both tables side by side."""

from __future__ import annotations

import dataclasses
import secrets
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from reelvec.storage import layout
from reelvec.storage.roots import Root
from reelvec.storage.sealing import seal
from reelvec.tasks.migration.gate import Check, GateReport, GateTables
from reelvec.tasks.reports.rendering.document import document
from reelvec.tasks.reports.rendering.markup import Markup, tag
from reelvec.tasks.scoring.evaluate import read_metrics

__all__ = ["SavedGate", "save_gate"]

_STAMP = "%Y%m%dT%H%M%S%f"


@dataclass(frozen=True, kw_only=True)
class SavedGate:
    """A report, and where it lies."""

    report: GateReport
    record: str
    """Below the root."""
    page: str
    """A local path, or below the root of an object store."""

    def to_json(self) -> dict[str, Any]:
        """As `--json` prints it, and as an event carries it."""
        report = dataclasses.asdict(self.report)
        return {
            **report,
            "passed": self.report.passed,
            "words": self.report.words,
            "record": self.record,
            "page": self.page,
        }


def save_gate(root: Root, report: GateReport, *, old: GateTables, new: GateTables) -> SavedGate:
    """Write the report, whatever it says; nothing of the store follows from it.

    Raises:
        StoreError: the store cannot be written.
    """
    now, identifier = datetime.now(UTC), secrets.token_hex(4)
    stamp = now.strftime(_STAMP)
    record, page = layout.gate(stamp, identifier), layout.gate(stamp, identifier, suffix=".html")
    body = {
        "made": now.isoformat(timespec="seconds"),
        "tables": [_named(tables) for tables in (old, new)],
        "passed": report.passed,
        "report": dataclasses.asdict(report),
    }
    root.put_new(record, seal(body))
    root.put_new(page, render_gate(report, old=old, new=new))
    local = root.local_folder / page
    return SavedGate(report=report, record=record, page=str(local) if local.exists() else page)


def _named(tables: GateTables) -> dict[str, Any]:
    return {
        "run": tables.identifier,
        "name": tables.name,
        "embeddings": [tables.embeddings.artifact.fingerprint, tables.embeddings.number],
        "evaluation": tables.evaluation
        and [tables.evaluation.artifact.fingerprint, tables.evaluation.number],
    }


def render_gate(report: GateReport, *, old: GateTables, new: GateTables) -> bytes:
    """The whole page, UTF-8; it loads nothing."""
    verdict = "may take its place" if report.passed else "may not take its place"
    header = [
        tag("h1", f"{new.name} beside {old.name}"),
        tag("p", f"The new tables {verdict}. {report.words}.", class_="subtitle"),
    ]
    sections = [_checks(report), *_metrics(old, new)]
    footer = "Made by Reelvec's gate from the tables of both runs."
    return document(f"{new.name} · Reelvec gate", header, sections, footer=footer)


def _checks(report: GateReport) -> Markup:
    heads = ("", report.old, report.new, "95 % of the difference", "over", "rule", "")
    body = [tag("tr", [tag("td", cell) for cell in _cells(check)]) for check in report.checks]
    head = tag("tr", [tag("th", cell) for cell in heads])
    table = tag("div", tag("table", tag("thead", head), tag("tbody", body)), class_="scroll")
    return tag("section", tag("h2", "Checks"), table)


def _cells(check: Check) -> list[str | Markup]:
    bounds = f"{check.low:+.2f} – {check.high:+.2f}" if check.low is not None else ""
    kind = "pill" if check.passed else "pill miss"
    measured = "passed" if check.new is not None else "not measured"
    return [
        check.name,
        _number(check.old),
        _number(check.new),
        bounds,
        f"{check.count:,}" if check.count else "",
        check.rule,
        tag("span", measured if check.passed else "failed", class_=kind),
    ]


def _metrics(old: GateTables, new: GateTables) -> list[Markup]:
    """None where neither was scored."""
    found: dict[str, list[float | None]] = {}
    for place, tables in enumerate((old, new)):
        for row in read_metrics(tables.evaluation) if tables.evaluation else ():
            if not row.subset and "+" not in row.protocol:
                name = f"{row.direction}/{row.metric}"
                found.setdefault(name, [None, None])[place] = row.value
    if not found:
        return []
    body = [
        tag("tr", tag("td", name), [tag("td", _number(value), class_="n") for value in values])
        for name, values in found.items()
    ]
    head = tag("tr", tag("th", ""), [tag("th", one.name, class_="n") for one in (old, new)])
    table = tag("div", tag("table", tag("thead", head), tag("tbody", body)), class_="scroll")
    return [tag("section", tag("h2", "What each scored"), table)]


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:,.4g}"
