"""Several runs in one store, each recorded as the pipeline records it, without an engine."""

from datetime import UTC, datetime

from reelvec.tasks.artifacts import Session
from reelvec.tasks.embedding.sources import sources_of
from reelvec.tasks.reports.report import report
from reelvec.tasks.reports.sources import report_sources
from reelvec.tasks.runs.recording import record_run
from reelvec.tasks.scoring.evaluate import evaluate
from tests.support.engine_free import run_all, stage_receipts


def named(config, name, **model):
    """The same run under another name, and with other keys of its model."""
    document = config.model_dump(mode="json")
    return type(config).model_validate(
        {**document, "name": name, "model": {**document["model"], **model}}
    )


def run_named(config, *, refreshes=False):
    """Every stage of this run, and its record; answers for the snapshots by stage."""
    started = datetime.now(UTC)
    run_all(config)
    session = Session(config, refreshes=refreshes)
    sources = sources_of(session)
    options = config.evaluate
    scored = evaluate(session, sources.embeddings, corpus=sources.corpus, options=options)
    made = {
        "ingest": session.latest(session.corpus),
        "extract": session.latest(session.frames),
        "train": sources.trained.snapshot,
        "embed": sources.embeddings,
        "evaluate": scored.snapshot,
    }
    record_run(session, stage_receipts(made), started=started)
    report(session, report_sources(session))
    return made
