"""The migration to another model as a flow: each stage of both runs is a flow of its own in it."""

from __future__ import annotations

from prefect import flow, get_run_logger
from prefect.artifacts import create_markdown_artifact

from reelvec.flows.console.logs import keep_logs_printable
from reelvec.flows.migrating import Migration, MigrationOptions
from reelvec.flows.migrating import migrate as migrate_store
from reelvec.flows.pipeline import pipeline
from reelvec.flows.showing import key_of, plain
from reelvec.tasks.artifacts import Session
from reelvec.tasks.migration.errors import GateRefusedError
from reelvec.tasks.runs.outcome import RunSummary

__all__ = ["migrate"]


@flow(name="migrate", flow_run_name="migrate to {weights}")
def migrate(
    store: str,
    weights: str,
    run: str | None = None,
    name: str | None = None,
    plan: bool = False,
) -> Migration:
    """Build the tables of another model beside those there are, and search these if they are good.

    Args:
        store: root of the store.
        weights: file of the new model, or hf:FOLDER_OR_NAME.
        run: whose place the new one takes; None: what is searched.
        name: of the new run; None: that of the old one and of the weights.
        plan: only say what it costs.

    Raises:
        GateRefusedError: the new tables are not good enough; what is searched stays as it was.
    """
    keep_logs_printable()
    options = MigrationOptions(weights=weights, run=run, name=name, plan=plan)
    try:
        done = migrate_store(store, options=options, run=_run, say=get_run_logger().info)
    except GateRefusedError as error:
        _publish(f"Refused: {error}", store=store)
        raise
    _publish(f"{done.words}. Price: {done.price.words}", store=store)
    return done


def _run(session: Session, stages: list[str]) -> RunSummary:
    return pipeline(
        session.config,
        only=stages,
        accept_losses=session.accepts_losses,
        rehash=session.rehash,
        refresh=session.refreshes,
    )


def _publish(words: str, *, store: str) -> None:
    key = key_of("migration", run=store)
    create_markdown_artifact(plain(words), key=key, description=f"Another model for {store}")
