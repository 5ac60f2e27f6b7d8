"""Every command of `reelvec`, gathered from the modules beside this one."""

from __future__ import annotations

import os
from typing import Annotated

import typer

__all__ = ["app"]

# Set before Prefect and Dask are imported: their own log lines are for servers, not for a person's
# terminal. A Prefect server is still told all of them.
os.environ.setdefault("DASK_LOGGING__DISTRIBUTED", "warning")
os.environ.setdefault("PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL", "WARNING")

from reelvec.flows.commands import (
    aliases,
    corpora,
    deploying,
    encoders,
    exporting,
    forgetting,
    history,
    indexing,
    keeping,
    looking,
    migrating,
    running,
    runs,
    searching,
    serving,
    sweeping,
    timing,
    training,
    weights,
)
from reelvec.flows.console.output import say
from reelvec.tasks.imports import leave_pandas

app = typer.Typer(
    name="reelvec",
    help="Turn videos and captions into retrieval-ready embedding tables, and keep them true.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for group in (
    running,
    sweeping,
    searching,
    indexing,
    serving,
    exporting,
    looking,
    runs,
    aliases,
    history,
    migrating,
    training,
    corpora,
    keeping,
    forgetting,
    deploying,
    weights,
    encoders,
    timing,
):
    group.register(app)


def _print_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        from reelvec.storage.store_format import FORMAT

        say(f"reelvec {version('reelvec')} (store format {FORMAT})")
        raise typer.Exit


@app.callback()
def _before_every_command(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_print_version, is_eager=True, help="Show the version."),
    ] = False,
) -> None:
    """Turn videos and captions into retrieval-ready embedding tables, and keep them true."""
    del version  # said by its callback
    leave_pandas()
