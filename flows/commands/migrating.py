"""The command that brings another model into force."""

from __future__ import annotations

from typing import Annotated

import typer

from reelvec.flows.console.options import JsonFlag, RunOption, StoreOption
from reelvec.flows.console.output import complain, print_json, say
from reelvec.flows.console.stores import known_store

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Add this command to `app`."""
    app.command()(migrate)


def migrate(
    weights: Annotated[
        str, typer.Option("--weights", help="Checkpoint, CLIP archive or hf:FOLDER_OR_NAME.")
    ],
    store: StoreOption = None,
    run: RunOption = None,
    name: Annotated[
        str | None, typer.Option(help="Of the new run [the old one's name and the weights'].")
    ] = None,
    plan: Annotated[bool, typer.Option("--plan", help="Only say what it costs.")] = False,
    as_json: JsonFlag = False,
) -> None:
    """Build the tables of another model beside those that are searched; switch if they are good.

    Given again it goes on where it was. `reelvec rollback` takes the switch back. Exit code 5 where
    the gate refuses: then nothing has changed.
    """
    from reelvec.flows.launch import stage_runner
    from reelvec.flows.migrating import MigrationOptions
    from reelvec.flows.migrating import migrate as migrate_store

    options = MigrationOptions(weights=weights, run=run, name=name, plan=plan)
    done = migrate_store(known_store(store), options=options, run=stage_runner(), say=complain)
    if as_json:
        print_json(done.to_json())
        return
    say(done.words)
    if done.switched and done.switched.gate:
        say(f"Gate: {done.switched.gate.report.words}; {done.switched.gate.page}")
