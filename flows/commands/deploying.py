"""Commands for a Prefect server: bootstrap, deploy."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from reelvec.flows.console.options import JsonFlag, StoreOption, default_store, named_store
from reelvec.flows.console.output import print_json, say
from reelvec.flows.servers import needed_server

__all__ = ["register"]

_POOL = "reelvec"


def register(app: typer.Typer) -> None:
    """Add these commands to `app`."""
    app.command()(bootstrap)
    app.command()(deploy)


def bootstrap(
    pool: Annotated[str, typer.Option(help="Work pool to create.")] = _POOL,
    notify: Annotated[
        str,
        typer.Option(
            envvar="REELVEC_NOTIFY",
            help="Who is told of failed, crashed and late runs, refused tables and many failed"
            " videos: a notification block of the server as TYPE/NAME, or a webhook's https://…",
        ),
    ] = "",
) -> None:
    """Create the work pool, limits and automations on the Prefect server (PREFECT_API_URL)."""
    needed_server("bootstrap")  # said before Prefect's flows are read, which takes seconds
    from reelvec.flows.deployment.bootstrap import bootstrap_server

    for line in bootstrap_server(pool=pool, notify=notify):
        say(line)
    if not notify:
        say("whom to tell of failed runs: --notify (docs/deploy.md)")


def deploy(
    corpus: Annotated[
        list[Path] | None,
        typer.Option(help="YAML file of a run, as `run` takes it: gets a nightly of its own."),
    ] = None,
    corpora: Annotated[
        Path | None, typer.Option(help="Folder of such files: a nightly for each.")
    ] = None,
    store: StoreOption = None,
    cron: Annotated[
        str, typer.Option(help='When the nightlies run, e.g. "30 1 * * 1-5" [as they are].')
    ] = "",
    timezone: Annotated[str, typer.Option(help="Of that time, e.g. Europe/Paris [UTC].")] = "",
    pool: Annotated[str, typer.Option(help="Work pool that runs them.")] = _POOL,
    as_json: JsonFlag = False,
) -> None:
    """Write the deployments on the Prefect server (PREFECT_API_URL): what is missing or differs.

    The store and the corpora's files are the worker's: a relative store lies in its folder.
    """
    needed_server("deploy")  # as above
    from reelvec.flows.deployment.deploy import Place, deploy
    from reelvec.flows.deployment.table import corpus_files, deployments, of_corpora

    rows = deployments(store=default_store() if store is None else store)
    rows += of_corpora(corpus_files(corpus or (), corpora), store=named_store(store))
    place = Place(pool=pool, cron=cron, timezone=timezone)
    done = []
    for one in deploy(rows, place=place):
        done.append(one)
        if not as_json:
            say(one.words)
    if as_json:
        listed = [
            {"deployment": one.name, "made": one.made, "changed": list(one.changed)} for one in done
        ]
        print_json({"pool": pool, "deployments": listed})
    elif not any(one.made or one.changed for one in done):
        say("Nothing was to do.")
