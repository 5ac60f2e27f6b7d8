"""The command that runs a sweep."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from reelvec.configs import ConfigError
from reelvec.flows.console.folders import made_folder
from reelvec.flows.console.options import JsonFlag, StoreOption, named_store
from reelvec.flows.console.output import complain, print_json, print_table, say

if TYPE_CHECKING:
    from reelvec.configs.sweeps import Sweep

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Add this command to `app`."""
    app.command()(sweep)


def sweep(
    file: Annotated[str, typer.Argument(metavar="FILE.yaml")],
    store: StoreOption = None,
    out: Annotated[
        Path | None,
        typer.Option(help="Folder of sweep.csv and sweep.html [FILE without .yaml]."),
    ] = None,
    plan: Annotated[bool, typer.Option("--plan", help="Only list the runs.")] = False,
    as_json: JsonFlag = False,
) -> None:
    """Run one configuration with some keys varied, as a grid or at random, and compare the runs.

    Runs share corpus and frames where these agree. The same file goes on where it was. A run that
    fails is a row of the table; then the exit code is 1.
    """
    from reelvec.configs.sweeps import load_sweep

    path = Path(file)
    if path.suffix not in (".yaml", ".yml"):
        raise ConfigError(f"({file}) must be a file of a sweep that ends in .yaml or .yml")
    found = load_sweep(path, store=named_store(store))
    if plan:
        _show_plan(found, as_json=as_json)
        return
    from reelvec.flows.launch import launch
    from reelvec.flows.sweep import run_sweep, write_comparison
    from reelvec.tasks.reports.rendering.comparison import Comparison

    folder = made_folder(out or path.with_suffix(""), option="--out")

    def done(rows: Any) -> None:
        """Written after each run: what is finished can be looked at."""
        compared = Comparison(found.name, found.keys, tuple(rows), planned=len(found.runs))
        write_comparison(compared, folder)
        if rows[-1].error:
            complain(f"reelvec: {rows[-1].name} failed: {rows[-1].error}")

    rows = run_sweep(found, run=launch, done=done)
    failed = sum(bool(row.error) for row in rows)
    if as_json:
        print_json({"sweep": found.name, "failed": failed, "runs": [row.cells() for row in rows]})
    else:
        compared = Comparison(found.name, found.keys, tuple(rows), planned=len(rows))
        print_table(found.name, compared.brief_rows(), compared.brief_columns())
        say(f"Written: {folder}/sweep.csv, {folder}/sweep.html")
    if failed:
        complain(f"reelvec: {failed} of {len(rows)} runs failed; give the command again to retry")
        raise typer.Exit(1)


def _show_plan(found: Sweep, *, as_json: bool) -> None:
    rows = [{"run": one.config.name, **one.values} for one in found.runs]
    if as_json:
        print_json({"sweep": found.name, "runs": rows})
    else:
        print_table(f"{found.name}: {len(rows)} runs", rows, ["run", *found.keys])
