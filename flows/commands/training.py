"""The command that shows how a training went."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from reelvec.flows.console.folders import made_folder
from reelvec.flows.console.options import JsonFlag, RunOption, StoreOption
from reelvec.flows.console.output import print_json, print_table, say
from reelvec.flows.console.stores import opened_store

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Add this command to `app`."""
    app.command()(curves)


def curves(
    store: StoreOption = None,
    run: RunOption = None,
    out: Annotated[
        Path | None,
        typer.Option(help="Folder for steps and epochs, each as .csv and .parquet."),
    ] = None,
    tensorboard: Annotated[
        Path | None, typer.Option(help="Folder for event files that `tensorboard --logdir` reads.")
    ] = None,
    as_json: JsonFlag = False,
) -> None:
    """Show how a run's training went: an epoch a line; --out writes every step."""
    from reelvec.tasks.training.exports import write_curves, write_events
    from reelvec.tasks.training.watching import check_watchers

    found = opened_store(store).run(run)
    if tensorboard is not None:
        check_watchers(("tensorboard",))
    trained = found.curves
    epochs = trained.epochs.to_pylist()
    files = [] if out is None else write_curves(trained, made_folder(out, option="--out"))
    if tensorboard is not None:
        write_events(trained, made_folder(tensorboard, option="--tensorboard"))
    if as_json:
        steps = trained.steps.to_pylist()
        print_json({"run": found.name, "steps": steps, "epochs": epochs})
        return
    for point in epochs:
        point["epoch"], point["step"] = int(point["epoch"]), int(point["step"])
    if not epochs and not trained.points:
        say(f"Nothing was trained in the run ({found.name}): it has no curve")
        return
    title = f"{found.name}: {len(trained.points):,} steps kept"
    print_table(title, epochs, list(trained.epochs.column_names))
    for file in files:
        say(f"Written: {file}")
    if tensorboard is not None:
        say(f"Written: {tensorboard}; tensorboard --logdir {tensorboard}")
