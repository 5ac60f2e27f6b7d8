"""The command that takes a run's tables elsewhere."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Annotated, Any

import typer

from reelvec.configs import ConfigError
from reelvec.errors import RequestError
from reelvec.flows.console.options import JsonFlag, RunOption, StoreOption
from reelvec.flows.console.output import print_json, say
from reelvec.flows.console.stores import opened_store

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Add this command to `app`."""
    app.command()(export)


def export(  # noqa: PLR0913, PLR0917 - the options of a command are its parameters
    out: Annotated[Path, typer.Argument(metavar="OUT", help="The folder to write.")],
    to: Annotated[
        str,
        typer.Option(
            "--to",
            help="parquet, numpy, faiss, lancedb, hf-dataset, webdataset, atlas (Embedding Atlas),"
            " fiftyone-json or mteb (results).",
        ),
    ],
    store: StoreOption = None,
    run: RunOption = None,
    frames: Annotated[
        bool | None,
        typer.Option(
            "--frames/--no-frames",
            help="Take frames along as JPEGs: hf-dataset, webdataset, atlas [they are].",
        ),
    ] = None,
    projection: Annotated[
        str | None, typer.Option(help="Of atlas: pca, or umap (package umap-learn) [pca].")
    ] = None,
    neighbours: Annotated[
        int | None, typer.Option(help="Of atlas: nearest videos named for each [15].")
    ] = None,
    force: Annotated[
        bool, typer.Option("--force", help="Replace OUT where an export wrote it.")
    ] = False,
    as_json: JsonFlag = False,
) -> None:
    """Write the tables of a run as another tool opens them, ids and identity with them."""
    given: dict[str, Any] = {"frames": frames, "projection": projection, "neighbours": neighbours}
    settings = {name: value for name, value in given.items() if value is not None}
    chosen = opened_store(store).run(run)
    try:
        done = chosen.export(out, to=to, force=force, **settings)
    except RequestError as error:
        raise ConfigError(str(error), key="export") from None
    if as_json:
        print_json(dataclasses.asdict(done))
        return
    rows = ", ".join(f"{count:,} {table}" for table, count in done.rows.items())
    say(f"{done.out}: {rows}, {done.bytes:,} bytes")
    say(f"open it: {done.opened_by}")
